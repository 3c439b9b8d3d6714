/// What the other ranks and the agent learn when this process ends by an exception that nobody catches.
///
/// C++ need not unwind the stack then, so no destructor tells anybody: a std::terminate handler does, and goes on with
/// the one that was there before. Threading: any thread may be the one that ends; the first of several speaks.
#pragma once

#include <memory>
#include <string>

#include "trainer/observe/messages.h"

namespace rondo::trainer {

class JobState;

class LastWords {
 public:
  /// Installs the handler, once a process. `messages_descriptor`: of the agent, -1 without; stays the caller's.
  /// `error_file`: where torchrun looks for the reason; may be empty.
  LastWords(JobState& job, int messages_descriptor, std::string error_file);
  ~LastWords();
  LastWords(const LastWords&) = delete;
  LastWords& operator=(const LastWords&) = delete;

  /// In the handler.
  void say() noexcept;

 private:
  JobState& job_;
  MessageSender agent_;
  const std::string error_file_;
};

}  // namespace rondo::trainer
