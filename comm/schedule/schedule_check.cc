// The second half of the checker: do the schedules fit one another, and is what their symbolic run ends with what the
// goal asks for?
#include "rondo/comm/schedule_check.h"

#include <algorithm>
#include <string>
#include <utility>

#include "comm/schedule/split.h"
#include "comm/schedule/symbolic_run.h"

namespace rondo::comm {
namespace {

Status wrong(int rank, const std::string& what) {
  return {Code::kInvalidArgument, "rank " + std::to_string(rank) + ": " + what, {.rank = rank}};
}

/// Every peer of `rank` is named in `side` once, ascending, and names it back in its `other_side`.
struct PeerSide {
  std::vector<int> Schedule::*side;
  std::vector<int> Schedule::*other_side;
  const char* side_name;
  const char* other_name;
};
Status check_peers(const std::vector<Schedule>& ranks, int rank, const PeerSide& names) {
  const int n = static_cast<int>(ranks.size());
  const auto& peers = ranks[static_cast<size_t>(rank)].*names.side;
  if (!std::ranges::is_sorted(peers, std::less_equal<>())) {
    return wrong(rank, std::string(names.side_name) + " is not ascending");
  }
  for (const int peer : peers) {
    const std::string peer_text = std::to_string(peer);
    if (peer < 0 || peer >= n || peer == rank) {
      return wrong(rank, std::string(names.side_name) + " names the wrong peer " + peer_text);
    }
    if (std::ranges::find(ranks[static_cast<size_t>(peer)].*names.other_side, rank) ==
        (ranks[static_cast<size_t>(peer)].*names.other_side).end()) {
      return wrong(rank, std::string(names.side_name) + " names rank " + peer_text + ", whose " + names.other_name +
                             " does not name it");
    }
  }
  return {};
}

Status check_headers(const ScheduleCheck& request) {
  const auto& ranks = request.ranks;
  const int n = static_cast<int>(ranks.size());
  if (!request.host_of_rank.empty() && request.host_of_rank.size() != ranks.size()) {
    return wrong(0, "hosts of " + std::to_string(request.host_of_rank.size()) + " ranks are given, but there are " +
                        std::to_string(n));
  }
  for (int rank = 0; rank < n; ++rank) {
    const Schedule& schedule = ranks[static_cast<size_t>(rank)];
    if (schedule.at != Position{.rank = rank, .world_size = n}) {
      return wrong(rank, "its schedule was made for rank " + std::to_string(schedule.at.rank) + " of " +
                             std::to_string(schedule.at.world_size));
    }
    const auto same = [&](const auto Schedule::*field) { return schedule.*field == ranks[0].*field; };
    if (!same(&Schedule::element_count) || !same(&Schedule::order) || !same(&Schedule::goal) ||
        !same(&Schedule::wire) || !same(&Schedule::algorithm)) {
      return wrong(rank, "its schedule has another algorithm, goal, element count, order or wire than that of rank 0");
    }
    if (schedule.slots < 1) return wrong(rank, "its schedule has no slot for messages");
    const int64_t result =
        schedule.goal == Goal::kReduceScatter ? chunk_of(schedule.element_count, n, rank).count() : 0;
    if (schedule.result_elements != result) {
      return wrong(rank, "its result has " + std::to_string(schedule.result_elements) + " elements where " +
                             std::to_string(result) + " belong");
    }
    RONDO_TRY(check_peers(ranks, rank, {&Schedule::sends_to, &Schedule::receives_from, "sends_to", "receives_from"}));
    RONDO_TRY(check_peers(ranks, rank, {&Schedule::receives_from, &Schedule::sends_to, "receives_from", "sends_to"}));
  }
  return {};
}

class Verdict {
 public:
  Verdict(const ScheduleCheck& request, const SymbolicRun& run)
      : request_(request),
        run_(run),
        n_(static_cast<int>(request.ranks.size())),
        goal_(request.ranks[0].goal),
        narrow_(request.ranks[0].wire == Wire::kNarrow) {}

  Status judge() const {
    for (int rank = 0; rank < n_; ++rank) {
      if (goal_ == Goal::kReduceScatter) RONDO_TRY(check_result(rank));
      RONDO_TRY(check_data(rank));
      RONDO_TRY(check_left_alone(rank));
    }
    return goal_ == Goal::kAllReduce ? check_equal_everywhere() : Status();
  }

 private:
  using Cell = TracedMemory::Cell;

  // `index`: of the element in the whole buffer.
  Status check_reduced(const Cell& cell, int64_t index) const {
    const Expressions& sums = run_.sums();
    const Expression e = cell.expression;
    const std::string element = "element " + std::to_string(index);
    if (const int missing = sums.missing_rank(e); missing >= 0) {
      return run_.fail(cell.writer, element + " ends without the contribution of rank " + std::to_string(missing));
    }
    if (!sums.is_final(e)) return run_.fail(cell.writer, element + " ends without being final");
    if (narrow_ && !sums.is_narrowed(e)) {
      return run_.fail(cell.writer, element + " ends without having been rounded to the wire type");
    }
    return {};  // its order was looked at when it became final
  }

  Status check_copied(const Cell& cell, Range range) const {
    const int64_t count = request_.ranks[0].element_count;
    for (int64_t at = range.begin; at < range.end;) {
      int owner = request_.root;
      int64_t end = range.end;
      if (goal_ == Goal::kAllGather) {
        for (owner = 0; chunk_of(count, n_, owner).end <= at;) ++owner;
        end = std::min(end, chunk_of(count, n_, owner).end);
      }
      if (cell.expression != Expressions::leaf(owner)) {
        return run_.fail(cell.writer,
                         "element " + std::to_string(at) + " is not that of rank " + std::to_string(owner));
      }
      at = end;
    }
    return {};
  }

  Status check_cell(int rank, const Cell& cell, int64_t index) const {
    const std::string element = "element " + std::to_string(index);
    if (cell.expression == kNothing) return run_.fail(rank, element + " is never written");
    if (cell.first_index == index) return {};
    return run_.fail(cell.writer, element + " ends as element " + std::to_string(cell.first_index));
  }

  Status check_data(int rank) const {
    if (goal_ == Goal::kReduceScatter) return {};  // any store was refused
    for (const auto& [begin, cell] : run_.memory(rank, Space::kData).cells()) {
      RONDO_TRY(check_cell(rank, cell, begin));
      RONDO_TRY(goal_ == Goal::kAllReduce ? check_reduced(cell, begin) : check_copied(cell, {begin, cell.end}));
    }
    return {};
  }

  Status check_result(int rank) const {
    const int64_t first = chunk_of(request_.ranks[0].element_count, n_, rank).begin;
    for (const auto& [begin, cell] : run_.memory(rank, Space::kResult).cells()) {
      RONDO_TRY(check_cell(rank, cell, first + begin));
      RONDO_TRY(check_reduced(cell, first + begin));
    }
    return {};
  }

  // A rank that has finished may give its memory away: nobody may touch it any more.
  Status check_left_alone(int rank) const {
    for (const auto& [begin, cell] : run_.memory(rank, Space::kData).cells()) {
      if (!run_.has_happened(cell.writer, rank)) {
        return run_.fail(cell.writer,
                         "writes to rank " + std::to_string(rank) + ", which may have left: a wait is missing");
      }
      for (const Reader& reader : cell.readers) {
        if (reader.message >= 0 || run_.has_happened(reader.event, rank)) continue;
        return run_.fail(reader.event,
                         "reads from rank " + std::to_string(rank) + ", which may have left: a wait is missing");
      }
    }
    return {};
  }

  Status check_equal_everywhere() const {
    const auto& expected = run_.memory(0, Space::kData).cells();
    for (int rank = 1; rank < n_; ++rank) {
      auto other = expected.begin();
      for (const auto& [begin, cell] : run_.memory(rank, Space::kData).cells()) {
        while (other->second.end <= begin) ++other;
        for (auto at = other; at != expected.end() && at->first < cell.end; ++at) {
          if (at->second.expression == cell.expression) continue;
          return run_.fail(cell.writer,
                           "element " + std::to_string(std::max(begin, at->first)) + " has other bits than on rank 0");
        }
      }
    }
    return {};
  }

  const ScheduleCheck& request_;
  const SymbolicRun& run_;
  const int n_;
  const Goal goal_;
  const bool narrow_;
};

}  // namespace

Result<Proof> check_schedules(const ScheduleCheck& request) {
  if (request.ranks.empty()) {
    return Status(Code::kInvalidArgument, "schedules of zero ranks: give one a rank");
  }
  RONDO_TRY(check_headers(request));
  SymbolicRun run(request);
  RONDO_TRY(run.run());
  RONDO_TRY(Verdict(request, run).judge());
  return run.proof();
}

}  // namespace rondo::comm
