/// CRC32C (Castagnoli) of a run of bytes: what every frame, control frame and page carries against accidents.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace rondo::comm {

/// The usual convention (RFC 3720): starts from all ones and is inverted at the end; of "123456789" it is 0xE3069283.
/// By ISA-L, with the processor's CRC instruction where there is one. With the value of the bytes `before`, the value
/// of both runs together: crc32c(b, crc32c(a)) == crc32c(ab).
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t before = 0);

}  // namespace rondo::comm
