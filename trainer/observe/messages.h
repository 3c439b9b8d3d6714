/// The worker's side of the messages connection: what it tells the agent that started it.
///
/// Frames of proto/worker.proto over the inherited descriptor RONDO_MESSAGES_FD. This header knows neither Protobuf nor
/// LibTorch, because their headers may not meet; the sources behind it know Protobuf.
///
/// Threading: any thread; frames are never torn. Waits: a frame that the agent does not take within 2 s closes the
/// connection, and the worker goes on without it. Nothing here throws.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace rondo::trainer {

struct WorkerHello {
  int rank = 0;
  std::string program;
  std::string torch_version;
  std::string joined;  // how it found its place
};

/// Where training stands.
struct TrainingProgress {
  int epoch = 0, epochs = 0;    // from 1
  int64_t step = 0, steps = 0;  // of this epoch, from 1
  double loss = 0;
  double learning_rate = 0;
  double samples_per_second = 0;
  std::string phase;  // "training", "evaluation"
};

struct WorkerFailure {
  std::string code;  // comm's code name, else "exception"
  std::string text;
  int culprit_rank = 0;
  int exit_code = 1;
};

class MessageSender {
 public:
  /// Takes `descriptor` over. -1: there is no agent; every call does nothing.
  explicit MessageSender(int descriptor);
  ~MessageSender();
  MessageSender(const MessageSender&) = delete;
  MessageSender& operator=(const MessageSender&) = delete;

  /// Whether an agent listens (or did until now).
  bool connected() const;

  void hello(const WorkerHello& hello);
  /// Dropped when the agent is behind: the next one says more.
  void progress(const TrainingProgress& progress);
  /// A line for people, which the agent prints bare.
  void say(const std::string& line);
  void failure(const WorkerFailure& failure);
  void goodbye(int exit_code);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rondo::trainer
