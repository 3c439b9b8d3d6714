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

}  // namespace

/// Owns a descriptor and, once map() worked, the memory behind it.
class Region::Mapping {
 public:
  explicit Mapping(int descriptor) : descriptor_(descriptor) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (data_ != nullptr) ::munmap(data_, byte_count_);
    ::close(descriptor_);
  }

  Status map(size_t byte_count, const std::string& purpose) {
    void* data = ::mmap(nullptr, byte_count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
    if (data == MAP_FAILED) return system_error(errno, "mmap", byte_count, purpose);
    data_ = static_cast<std::byte*>(data);
    byte_count_ = byte_count;
    return {};
  }

  std::span<std::byte> bytes() const { return {data_, byte_count_}; }
  int descriptor() const { return descriptor_; }

 private:
  const int descriptor_;
  std::byte* data_ = nullptr;
  size_t byte_count_ = 0;
};

std::span<std::byte> Region::bytes() const { return mapping_ ? mapping_->bytes() : std::span<std::byte>(); }
bool Region::sole() const {
  // A handle made from a weak one acquires what the last drop of another released; a mere look at the count does not.
  const auto again = std::weak_ptr<const Mapping>(mapping_).lock();
  return again.use_count() <= 2;
}

Region::Life Region::life() const { return Life(mapping_); }

int Region::descriptor() const { return mapping_ ? mapping_->descriptor() : -1; }

Result<Region> Region::allocate(size_t byte_count, const std::string& purpose) {
  if (byte_count == 0) return Region();
  if (byte_count > static_cast<size_t>(std::numeric_limits<int64_t>::max()))
    return Status(Code::kInvalidArgument,
                  "no region can have " + std::to_string(byte_count) + " bytes (" + purpose + ")");
  auto limits = cgroup_limits(system_files());
  for (const auto& more : {machine_limits(system_files()), resource_limits(system_files())})
    limits.insert(limits.end(), more.begin(), more.end());
  RONDO_TRY(check_room(byte_count, purpose, limits));

  const auto size = static_cast<off_t>(byte_count);
  const int descriptor = ::memfd_create("rondo", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) return system_error(errno, "memfd_create", byte_count, purpose);
  auto mapping = std::make_shared<Mapping>(descriptor);  // closes it on every way out
  if (::ftruncate(descriptor, size) != 0) return system_error(errno, "ftruncate", byte_count, purpose);
  int error = 0;
  do {
    error = ::fallocate(descriptor, 0, 0, size) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (error != 0 && error != EOPNOTSUPP) return system_error(error, "fallocate", byte_count, purpose);
  if (::fcntl(descriptor, F_ADD_SEALS, kSizeSeals | F_SEAL_SEAL) != 0)
    return system_error(errno, "sealing the size", byte_count, purpose);
  RONDO_TRY(mapping->map(byte_count, purpose));
  touch(mapping->bytes().data(), byte_count);
  return Region(std::move(mapping));
}

Result<Region> Region::adopt(int descriptor, size_t byte_count) {
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0) {
    return Status(Code::kInvalidArgument, "descriptor " + std::to_string(descriptor) + " is not open");
  }
  auto mapping = std::make_shared<Mapping>(descriptor);  // closes it on every way out
  if (byte_count == 0) return Region();
  if (static_cast<size_t>(facts.st_size) != byte_count)
    return Status(Code::kMismatch, "a region passed by another process has " + std::to_string(facts.st_size) +
                                       " bytes, expected " + std::to_string(byte_count));
  // Without the seals the other process could shrink it, and every access here would be a bus error.
  if (const int seals = ::fcntl(descriptor, F_GET_SEALS); seals < 0 || (seals & kSizeSeals) != kSizeSeals)
    return Status(Code::kInvalidArgument,
                  "a region passed by another process is not sealed against a change of its size");
  RONDO_TRY(mapping->map(byte_count, "a region of another process"));
  return Region(std::move(mapping));
}

}  // namespace rondo::comm
