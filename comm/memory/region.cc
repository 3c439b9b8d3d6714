#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "comm/memory/limits.h"
#include "rondo/comm/memory.h"

namespace rondo::comm {
namespace {

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

/// The Status of a system call that failed while allocating.
Status system_error(int error, const std::string& call, size_t byte_count, const std::string& purpose) {
  std::string message =
      call + " failed for " + purpose + " (" + std::to_string(byte_count) + " bytes): " + std::strerror(error);
  if (error == EMFILE) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    message += "; need 1 descriptor, free 0 of the limit " + std::to_string(limit.rlim_cur) +
               " (RLIMIT_NOFILE; raise it by ulimit -n)";
  }
  const bool short_of = error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOSPC;
  return {short_of ? Code::kResource : Code::kIo, std::move(message), {.operation = "allocation"}};
}

/// Makes the calling thread own every page: they come from its NUMA node, and no later write faults.
void touch(std::byte* data, size_t byte_count) {
#ifdef MADV_POPULATE_WRITE
  if (::madvise(data, byte_count, MADV_POPULATE_WRITE) == 0) return;
#endif
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  for (size_t at = 0; at < byte_count; at += page) static_cast<volatile std::byte*>(data)[at] = std::byte{0};
}

Result<std::byte*> map(int descriptor, size_t byte_count, const std::string& purpose) {
  void* data = ::mmap(nullptr, byte_count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (data == MAP_FAILED) return system_error(errno, "mmap", byte_count, purpose);
  return static_cast<std::byte*>(data);
}

}  // namespace

Region::Region(Region&& other) noexcept { *this = std::move(other); }

Region& Region::operator=(Region&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(byte_count_, other.byte_count_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

Region::~Region() {
  if (data_ != nullptr) ::munmap(data_, byte_count_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<Region> Region::allocate(size_t byte_count, const std::string& purpose) {
  Region region;
  if (byte_count == 0) return region;
  if (byte_count > static_cast<size_t>(std::numeric_limits<int64_t>::max()))
    return Status(Code::kInvalidArgument,
                  "no region can have " + std::to_string(byte_count) + " bytes (" + purpose + ")");
  auto limits = cgroup_limits(system_files());
  for (auto& limit : resource_limits(system_files())) limits.push_back(std::move(limit));
  RONDO_TRY(check_room(byte_count, purpose, limits));

  const auto size = static_cast<off_t>(byte_count);
  region.descriptor_ = ::memfd_create("rondo", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (region.descriptor_ < 0) return system_error(errno, "memfd_create", byte_count, purpose);
  if (::ftruncate(region.descriptor_, size) != 0) return system_error(errno, "ftruncate", byte_count, purpose);
  int error = 0;
  do {
    error = ::fallocate(region.descriptor_, 0, 0, size) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (error != 0 && error != EOPNOTSUPP) return system_error(error, "fallocate", byte_count, purpose);
  if (::fcntl(region.descriptor_, F_ADD_SEALS, kSizeSeals | F_SEAL_SEAL) != 0)
    return system_error(errno, "sealing the size", byte_count, purpose);
  const auto data = map(region.descriptor_, byte_count, purpose);
  RONDO_TRY(data);
  region.data_ = *data;
  region.byte_count_ = byte_count;
  touch(region.data_, byte_count);
  return region;
}

Result<Region> Region::adopt(int descriptor, size_t byte_count) {
  Region region;
  region.descriptor_ = descriptor;  // closed by the destructor on every way out
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0) {
    region.descriptor_ = -1;
    return Status(Code::kInvalidArgument, "descriptor " + std::to_string(descriptor) + " is not open");
  }
  if (byte_count == 0) return Region();
  if (static_cast<size_t>(facts.st_size) != byte_count)
    return Status(Code::kMismatch, "a region passed by another process has " + std::to_string(facts.st_size) +
                                       " bytes, expected " + std::to_string(byte_count));
  // Without the seals the other process could shrink it, and every access here would be a bus error.
  if (const int seals = ::fcntl(descriptor, F_GET_SEALS); seals < 0 || (seals & kSizeSeals) != kSizeSeals)
    return Status(Code::kInvalidArgument,
                  "a region passed by another process is not sealed against a change of its size");
  const auto data = map(descriptor, byte_count, "a region of another process");
  RONDO_TRY(data);
  region.data_ = *data;
  region.byte_count_ = byte_count;
  return region;
}

}  // namespace rondo::comm
