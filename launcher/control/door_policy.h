/// What a door decides about those who have not proved themselves. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace rondo::launcher {

/// Which connection makes room for one more: the oldest of the host that has the most, by its position in `addresses`
/// ("10.0.0.2:40112" each), which are in the order of their age and not empty.
size_t who_makes_room(std::span<const std::string> addresses);

/// Whether the refusal of this number, from 1, is told: the first ten, then the 100th, the 1000th and so on.
bool worth_telling(uint64_t number);

}  // namespace rondo::launcher
