#include "comm/base/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace rondo::comm {

uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before) {
  constexpr size_t kMostPerCall = size_t{1} << 30;  // ISA-L counts bytes in an int
  uint32_t state = ~before;                         // ISA-L inverts neither at the start nor at the end
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), kMostPerCall));
    // ISA-L reads only, although its prototype lacks the const.
    auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(part.data()));
    state = crc32_iscsi(data, static_cast<int>(part.size()), state);
    bytes = bytes.subspan(part.size());
  }
  return ~state;
}

}  // namespace rondo::comm
