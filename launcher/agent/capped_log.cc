#include "launcher/agent/capped_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace rondo::launcher {
namespace {

Descriptor fresh(const std::string& path) {
  return Descriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
}

void append_file(const Descriptor& to, const std::string& path) {
  const Descriptor from(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 64 * 1024> buffer;
  for (ssize_t count; from.open() && (count = ::read(from.get(), buffer.data(), buffer.size())) > 0;) {
    if (!write_all(to, {buffer.data(), static_cast<size_t>(count)}).ok()) return;
  }
}

}  // namespace

comm::Result<CappedLog> CappedLog::open(const std::string& path, uint64_t cap_bytes) {
  CappedLog log;
  log.path_ = path;
  log.half_bytes_ = cap_bytes == 0 ? 0 : std::max<uint64_t>(1, cap_bytes / 2);
  log.head_ = fresh(path);
  if (!log.head_.open()) return system_error("cannot write " + path);
  return log;
}

CappedLog& CappedLog::operator=(CappedLog&& other) noexcept {
  if (this == &other) return *this;
  finish();
  path_ = std::move(other.path_);
  head_ = std::move(other.head_);
  tail_ = std::move(other.tail_);
  half_bytes_ = other.half_bytes_;
  head_bytes_ = other.head_bytes_;
  tail_bytes_ = other.tail_bytes_;
  old_bytes_ = other.old_bytes_;
  above_bytes_ = other.above_bytes_;
  return *this;
}

void CappedLog::write(std::string_view bytes) {
  if (!head_.open()) return;
  const size_t fits = half_bytes_ == 0 ? bytes.size() : std::min<uint64_t>(bytes.size(), half_bytes_ - head_bytes_);
  [[maybe_unused]] const auto written = write_all(head_, bytes.substr(0, fits));
  head_bytes_ += fits;
  write_tail(bytes.substr(fits));
}

void CappedLog::write_tail(std::string_view bytes) {
  while (!bytes.empty()) {
    if (!tail_.open() || tail_bytes_ == half_bytes_) {  // two files of half the cap each hold at least its second half
      if (tail_.open() && std::rename((path_ + ".tail").c_str(), (path_ + ".tail.old").c_str()) == 0)
        old_bytes_ = tail_bytes_;
      tail_ = fresh(path_ + ".tail");
      tail_bytes_ = 0;
    }
    const size_t fits = std::min<uint64_t>(bytes.size(), half_bytes_ - tail_bytes_);
    [[maybe_unused]] const auto written = write_all(tail_, bytes.substr(0, fits));
    tail_bytes_ += fits;
    above_bytes_ += fits;
    bytes.remove_prefix(fits);
  }
}

void CappedLog::finish() {
  if (!head_.open()) return;
  if (const uint64_t lost = above_bytes_ - old_bytes_ - tail_bytes_; lost > 0) {
    [[maybe_unused]] const auto written =
        write_all(head_, "\n[rondo: " + std::to_string(lost) + " bytes left out here: --log-cap]\n");
  }
  for (const char* part : {".tail.old", ".tail"}) {
    if (above_bytes_ == 0) break;
    append_file(head_, path_ + part);
    ::unlink((path_ + part).c_str());
  }
  tail_.reset();
  head_.reset();
}

}  // namespace rondo::launcher
