/// The algorithms by name: what each serves, needs and promises, and the one function that makes their schedules.
///
/// Pure: equal queries give equal answers on every rank and machine. Any thread.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "rondo/comm/schedule.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

inline constexpr int64_t kMostElements = int64_t{1} << 40;

/// What is wanted, apart from goal, algorithm and element type.
struct ScheduleRequest {
  Position at;
  int64_t element_count = 0;             // of kData, 0..kMostElements; of all_gather: of the output
  int64_t segment_elements = 64 * 1024;  // grows for huge buffers, so that the list of actions stays bounded
  /// Segments never grow beyond this: 64 MiB of the widest elements, since streams carry no longer message.
  int64_t most_message_elements = int64_t{8} << 20;
  Wire wire = Wire::kSame;
  int root = 0;                        // broadcast
  std::vector<int> host_of_rank = {};  // hierarchical: a number for each host; empty: all ranks on one
};

struct ScheduleQuery {
  Goal goal = Goal::kAllReduce;
  std::string_view algorithm = "ring";
  ScheduleRequest shape = {};
};

/// What elements are moved with.
enum class Means : uint8_t {
  kMessages,  // any transport
  kRegions,   // ranks read and write each other's registered memory
};

struct Algorithm {
  std::string_view name;     // as users write it
  std::string_view summary;  // one line
  Means means = Means::kMessages;
  Wire narrowest = Wire::kSame;  // kNarrow: its partial sums never travel, so that a narrow wire may be asked for
  std::span<const Goal> goals;   // what it serves
  bool serves(Goal goal) const;
};

/// All of them, in the order in which they are listed to users.
std::span<const Algorithm> algorithms();
/// Null for an unknown name.
const Algorithm* find_algorithm(std::string_view name);

/// What the bits of the result depend on: fixed by goal, algorithm, world size and layout of hosts. Errors as
/// make_schedule.
Result<Order> order_of(const ScheduleQuery& query);

/// What rank `query.shape.at.rank` does. Errors: kInvalidArgument for a name that does not exist (lists those that do),
/// a goal that the algorithm does not serve, numbers out of range; kUnsupported for a wire that it cannot use.
Result<Schedule> make_schedule(const ScheduleQuery& query);

}  // namespace rondo::comm
