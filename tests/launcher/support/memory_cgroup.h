/// A memory cgroup for a test, where this process may make one: version 1 or 2.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace rondo::test {

class MemoryCgroup {
 public:
  /// Nothing where cgroups cannot be written to.
  static std::optional<MemoryCgroup> make(uint64_t limit_bytes);
  ~MemoryCgroup();
  MemoryCgroup(MemoryCgroup&& other) noexcept : folder_(std::move(other.folder_)) { other.folder_.clear(); }
  MemoryCgroup& operator=(MemoryCgroup&&) = delete;

  /// A process that writes its id into it is in the cgroup.
  std::string join_file() const { return (folder_ / "cgroup.procs").string(); }

 private:
  explicit MemoryCgroup(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path folder_;
};

}  // namespace rondo::test
