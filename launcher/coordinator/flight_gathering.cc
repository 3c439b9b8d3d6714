#include "launcher/coordinator/flight_gathering.h"

#include <algorithm>

namespace rondo::launcher {

uint64_t FlightGathering::order(const std::string& cause, std::set<int> ranks, comm::Deadline by) {
  orders_[++last_number_] = {
      .gathered = {.cause = cause, .recorded = {}, .missing = {}, .errors = {}}, .awaited = std::move(ranks), .by = by};
  return last_number_;
}

void FlightGathering::not_kept(const comm::Status& why) {
  for (auto& [number, order] : orders_) order.gathered.errors.push_back(why.message());
}

void FlightGathering::taken(uint64_t number, const std::vector<int>& recorded, const std::vector<int>& silent) {
  const auto found = orders_.find(number);
  if (found == orders_.end()) return;  // too late
  Order& order = found->second;
  for (const int rank : recorded)
    if (order.awaited.erase(rank) > 0) order.gathered.recorded.push_back(rank);
  for (const int rank : silent) order.awaited.erase(rank);
}

void FlightGathering::lost(const std::vector<int>& ranks) {
  for (auto& [number, order] : orders_) {
    for (const int rank : ranks)
      if (order.awaited.erase(rank) > 0) order.gathered.missing.push_back(rank);
  }
}

std::vector<FlightGathering::Gathered> FlightGathering::take_settled(comm::TimePoint now) {
  std::vector<Gathered> settled;
  for (auto at = orders_.begin(); at != orders_.end();) {
    Order& order = at->second;
    if (!order.awaited.empty() && !order.by.passed(now)) {
      ++at;
      continue;
    }
    order.gathered.missing.insert(order.gathered.missing.end(), order.awaited.begin(), order.awaited.end());
    std::ranges::sort(order.gathered.recorded);
    std::ranges::sort(order.gathered.missing);
    settled.push_back(std::move(order.gathered));
    at = orders_.erase(at);
  }
  return settled;
}

std::optional<comm::TimePoint> FlightGathering::next_moment() const {
  std::optional<comm::TimePoint> next;
  for (const auto& [number, order] : orders_) next = next ? std::min(*next, order.by.at) : order.by.at;
  return next;
}

void FlightGathering::renew(comm::Deadline by) {
  for (auto& [number, order] : orders_) order.by = by;
}

}  // namespace rondo::launcher
