/// The only way from comm's Status to the exception at the user's border.
#pragma once

#include "rondo/comm/status.h"
#include "rondo/error.h"

namespace rondo::trainer {

/// What a program should end with: kTimeout is a hang, kCorrupt corrupt bytes, kInvalidArgument a usage error.
ExitCode exit_code_of(comm::Code code);

/// Throws the status as rondo::Error, naming its peer as culprit; returns when it is ok.
void throw_if_error(const comm::Status& status);
void throw_if_error(const comm::Status& status, ExitCode exit_code);

/// The value, or its error thrown.
template <typename T>
T value_or_throw(comm::Result<T> result) {
  throw_if_error(result.status());
  return std::move(result).value();
}

}  // namespace rondo::trainer
