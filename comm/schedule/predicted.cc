#include "comm/schedule/predicted.h"

#include <bit>

namespace rondo::comm {

std::optional<double> predicted_us(std::string_view algorithm, const Exchange& exchange, const LinkCost& cost) {
  const double peers = exchange.world_size - 1;
  const auto bytes = static_cast<double>(exchange.byte_count);
  const double slices = bytes * peers / exchange.world_size;  // all but the own
  const auto total = [&](double messages, double sent, double added) {
    return messages * cost.alpha_us + (sent * cost.beta_ns + added * cost.gamma_ns) / 1000;
  };
  if (algorithm == "one-shot") return total(peers, peers * bytes, peers * bytes);
  if (algorithm == "direct") return total(2 * peers, 2 * slices, slices);
  const auto ranks = static_cast<unsigned>(exchange.world_size);
  if (algorithm == "halving" && std::has_single_bit(ranks))
    return total(2.0 * std::countr_zero(ranks), 2 * slices, slices);
  return std::nullopt;
}

}  // namespace rondo::comm
