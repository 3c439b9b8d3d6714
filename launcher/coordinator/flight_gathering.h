/// Which flight records the coordinator has ordered and not got yet: the agents of other hosts send theirs, and may be
/// slow or lost. Pure; one thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "rondo/comm/deadline.h"
#include "rondo/comm/status.h"

namespace rondo::launcher {

class FlightGathering {
 public:
  /// An order, carried out as far as it went.
  struct Gathered {
    std::string cause;                // "failure", "signal", "request"
    std::vector<int> recorded;        // whose records are there
    std::vector<int> missing;         // whose are not: their host is lost, or did not send them in time
    std::vector<std::string> errors;  // of records that could not be kept
  };

  /// Orders the records of `ranks`. The result is the order's number.
  uint64_t order(const std::string& cause, std::set<int> ranks, comm::Deadline by);
  /// A record that came could not be kept.
  void not_kept(const comm::Status& why);
  /// The host of these ranks has carried out order `number`: `recorded` have sent their records, `silent` have none.
  void taken(uint64_t number, const std::vector<int>& recorded, const std::vector<int>& silent);
  /// From these nothing will come any more.
  void lost(const std::vector<int>& ranks);
  void forget_all() { orders_.clear(); }

  /// Takes out the orders that are complete, or whose deadline has passed; in their order.
  std::vector<Gathered> take_settled(comm::TimePoint now);
  std::optional<comm::TimePoint> next_moment() const;
  bool empty() const { return orders_.empty(); }
  /// Everybody stood still, and goes on: what is awaited may come until then.
  void renew(comm::Deadline by);

 private:
  struct Order {
    Gathered gathered;
    std::set<int> awaited;
    comm::Deadline by;
  };
  std::map<uint64_t, Order> orders_;  // by number
  uint64_t last_number_ = 0;
};

}  // namespace rondo::launcher
