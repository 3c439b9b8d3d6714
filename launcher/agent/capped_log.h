/// A file for a rank's output that cannot fill the disk: above its cap the beginning and the end are kept.
///
/// While the rank runs, what is above half of the cap goes to FILE.tail, and from there in turn to FILE.tail.old;
/// finish() puts them behind a line that says how much is missing. So a launcher that is killed leaves everything
/// readable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "launcher/base/descriptor.h"

namespace rondo::launcher {

class CappedLog {
 public:
  /// `cap_bytes` 0: no cap.
  static comm::Result<CappedLog> open(const std::string& path, uint64_t cap_bytes);
  ~CappedLog() { finish(); }
  CappedLog(CappedLog&&) = default;
  CappedLog& operator=(CappedLog&& other) noexcept;

  /// A full disk does not end the run: what cannot be written is lost.
  void write(std::string_view bytes);
  /// Puts the parts together and closes.
  void finish();

 private:
  CappedLog() = default;
  void write_tail(std::string_view bytes);

  std::string path_;
  Descriptor head_, tail_;
  uint64_t half_bytes_ = 0;  // of the cap; 0: none
  uint64_t head_bytes_ = 0;
  uint64_t tail_bytes_ = 0;   // in FILE.tail
  uint64_t old_bytes_ = 0;    // in FILE.tail.old
  uint64_t above_bytes_ = 0;  // all that did not fit into the head
};

}  // namespace rondo::launcher
