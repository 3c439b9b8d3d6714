/// RONDO_CHECK: a promise inside our own code. Bad input and a lost peer are never a check.
#pragma once

namespace rondo::comm {
/// Writes `sentence` to the log sink and aborts the process.
[[noreturn]] void check_failed(const char* condition, const char* sentence, const char* file, int line);
}  // namespace rondo::comm

/// Aborts the process with `sentence` when `condition` is false: a defect of Rondo, not of its user.
#define RONDO_CHECK(condition, sentence)                                                     \
  do {                                                                                       \
    if (!(condition)) ::rondo::comm::check_failed(#condition, sentence, __FILE__, __LINE__); \
  } while (false)
