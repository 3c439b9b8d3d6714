/// How long an algorithm takes by the alpha-beta model: what the tuner compares. Pure; any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "comm/schedule/measured.h"

namespace rondo::comm {

struct Exchange {
  int world_size = 1;
  size_t byte_count = 0;
};

/// Microseconds of an all_reduce. A rank sends and takes its messages one after the other, so each costs alpha. Empty
/// for algorithms that are not modelled.
std::optional<double> predicted_us(std::string_view algorithm, const Exchange& exchange, const LinkCost& cost);

}  // namespace rondo::comm
