#include "comm/bench/ordinary_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace rondo::bench {

OrdinaryMemory::~OrdinaryMemory() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

comm::Result<OrdinaryMemory> OrdinaryMemory::allocate(size_t byte_count) {
  OrdinaryMemory memory;
  if (byte_count == 0) return memory;
  void* at = ::mmap(nullptr, byte_count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    return comm::Status(comm::Code::kResource,
                        "no memory for a buffer of " + std::to_string(byte_count) + " bytes: " + std::strerror(errno));
  }
  ::madvise(at, byte_count, MADV_HUGEPAGE);  // a wish: a kernel without them refuses
  memory.bytes_ = {static_cast<std::byte*>(at), byte_count};
  std::fill(memory.bytes_.begin(), memory.bytes_.end(), std::byte{0});
  return memory;
}

}  // namespace rondo::bench
