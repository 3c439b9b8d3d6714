/// torchrun's error file: why a worker failed, for the launcher that asked for it in TORCHELASTIC_ERROR_FILE.
#pragma once

#include <chrono>
#include <string>

#include "trainer/observe/messages.h"

namespace rondo::trainer {

/// The file's JSON. torchrun shows `failure.text`, and takes the file with the earliest second for the root cause: so
/// the one of a rank that blames another (`own_rank` is not the culprit) is dated a second later.
std::string error_file_text(const WorkerFailure& failure, int own_rank, std::chrono::system_clock::time_point now);

/// Writes it to `path`; nothing if that is empty. What goes wrong is ignored: the process is failing already.
void write_error_file(const std::string& path, const WorkerFailure& failure, int own_rank) noexcept;

}  // namespace rondo::trainer
