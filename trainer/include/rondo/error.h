/// The exception at the user's border: a sentence, the exit code that a program should end with, and whom to blame.
///
/// It needs no LibTorch, so that readers of files and settings can throw it too. `rondo/rondo.h` includes it.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace rondo {

/// What the process ends with when nobody catches the error.
enum class ExitCode : int {
  kFailure = 1,
  kUsage = 2,       // flags, recipe, keys, values
  kPreflight = 3,   // something needed is missing: data, devices
  kRendezvous = 4,  // not all ranks came
  kHang = 5,
  kCorrupt = 6,  // data or checkpoint
  kDiverged = 7,
};

class Error : public std::runtime_error {
 public:
  struct Details {
    ExitCode exit_code = ExitCode::kFailure;
    int culprit_rank = -1;           // whom it is about; -1: nobody else
    std::string code = "exception";  // comm's code name ("kPeerLost"), else "exception"
  };
  explicit Error(const std::string& message) : std::runtime_error(message) {}
  Error(const std::string& message, ExitCode exit_code)
      : std::runtime_error(message), details_{.exit_code = exit_code} {}
  Error(const std::string& message, Details details) : std::runtime_error(message), details_(std::move(details)) {}

  ExitCode exit_code() const { return details_.exit_code; }
  int culprit_rank() const { return details_.culprit_rank; }
  const std::string& code() const { return details_.code; }

 private:
  Details details_;
};

}  // namespace rondo
