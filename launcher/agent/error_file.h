/// What a program that knows torchrun's rules leaves behind when it fails: TORCHELASTIC_ERROR_FILE.
#pragma once

#include <optional>
#include <string>

#include "launcher/agent/failure.h"

namespace rondo::launcher {

/// The report in `path`: {"message": "text", ...} or {"message": {"message": "text", "extraInfo": ...}}. Empty when
/// there is none, or it is something else. It names nobody: `culprit` is who is blamed by other evidence, else its
/// writer.
std::optional<FailureReport> read_error_file(const std::string& path, int culprit);

}  // namespace rondo::launcher
