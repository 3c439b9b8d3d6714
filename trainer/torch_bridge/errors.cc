#include "trainer/torch_bridge/errors.h"

#include <string>

namespace rondo::trainer {

ExitCode exit_code_of(comm::Code code) {
  switch (code) {
    case comm::Code::kTimeout:
      return ExitCode::kHang;
    case comm::Code::kCorrupt:
      return ExitCode::kCorrupt;
    case comm::Code::kInvalidArgument:
      return ExitCode::kUsage;
    default:
      return ExitCode::kFailure;
  }
}

void throw_if_error(const comm::Status& status, ExitCode exit_code) {
  if (status.ok()) return;
  throw Error(
      status.text(),
      {.exit_code = exit_code, .culprit_rank = status.where().peer, .code = std::string(comm::name(status.code()))});
}

void throw_if_error(const comm::Status& status) { throw_if_error(status, exit_code_of(status.code())); }

}  // namespace rondo::trainer
