/// Bytes as lower-case hexadecimal digits and back.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace rondo::comm {

std::string to_hex(std::span<const std::byte> bytes);
/// Fills all of `into`; false unless `digits` are exactly twice as many hexadecimal digits (either case).
bool from_hex(std::string_view digits, std::span<std::byte> into);

}  // namespace rondo::comm
