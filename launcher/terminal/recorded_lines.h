/// The lines of a run that has ended, from the files that its folder keeps.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/agent/console.h"
#include "rondo/comm/status.h"

namespace rondo::launcher {

struct RecordedWish {
  std::vector<int> ranks;   // empty: all
  std::optional<int> tail;  // of each file; empty: all
};
/// Tells the lines of logs/rank-0000.out, .err, rank-0001.out and so on, of the last generation that has files: rank by
/// rank, because the files do not know the order in which ranks wrote. `ranks`: one above the highest that has files.
/// kInvalidArgument: there are none.
struct RecordedLine {
  int rank = 0, ranks = 1;
  Channel channel = Channel::kOutput;
};
comm::Status tell_recorded_lines(const std::string& folder, const RecordedWish& wish,
                                 const std::function<void(const RecordedLine&, std::string_view)>& tell);

}  // namespace rondo::launcher
