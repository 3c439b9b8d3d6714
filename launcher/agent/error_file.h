/// What a program that knows torchrun's rules leaves behind when it fails: TORCHELASTIC_ERROR_FILE.
#pragma once

#include <optional>
#include <string>

#include "launcher/agent/failure.h"

namespace rondo::launcher {

/// The report in `path`: {"message": "text", ...} or {"message": {"message": "text", "extraInfo": ...}}. Empty when
/// there is none, or it is something else. It blames nobody but its writer.
std::optional<FailureReport> read_error_file(const std::string& path, int rank);

}  // namespace rondo::launcher
