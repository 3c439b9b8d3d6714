/// The records of all ranks, arranged by group: what the findings are read from, and the words they share. Pure.
///
/// Lifetime: a View borrows its RunRecord.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "launcher/explain/findings.h"

namespace rondo::launcher {

/// One rank in one group.
struct Member {
  const RankRecord* rank;
  comm::FlightGroup group;
  bool in_table = true;                               // false: the group's place in the table went to another one
  const comm::FlightRecord* current = nullptr;        // the oldest that is not finished
  const comm::FlightRecord* last_finished = nullptr;  // the youngest that is
  /// What it finishes or calls next.
  uint64_t front() const { return current != nullptr ? current->sequence : group.finished; }
  /// Orders members by how far they are: in a call is further than before it.
  uint64_t place() const { return 2 * front() + (current != nullptr ? 1 : 0); }
  bool left() const { return !group.open && group.code == comm::Code::kClosed; }
};
using Members = std::vector<Member>;

class View {
 public:
  explicit View(const RunRecord& run);

  const RunRecord& run() const { return run_; }
  const std::map<uint64_t, Members>& groups() const { return groups_; }
  /// Ended by a signal, or first of all without a word; without a launcher: gone, and blamed by the others.
  bool died(const RankRecord& rank) const;
  /// One of two forms of a verb: a run that is over is spoken of in the past.
  std::string verb(const char* present, const char* past) const { return past_ ? past : present; }
  bool past() const { return past_; }

 private:
  void add_rank(const RankRecord& rank);

  const RunRecord& run_;
  const bool past_;
  std::map<uint64_t, Members> groups_;  // by id
  std::set<int> blamed_;
};

/// "rank 2 (pid 4711)".
std::string person(const RankRecord& rank);
std::string quoted(const std::string& name);
/// "sequence 811 of group "world" (all_reduce of 4 float32, sum, tag "bucket 4")".
std::string call_text(const Member& member, const comm::FlightRecord& record);
std::vector<int> ranks_of(const Members& members);
constexpr uint64_t since(uint64_t begin, uint64_t now) { return now > begin ? now - begin : 0; }

/// Deaths, silences, group creations.
std::vector<Finding> rank_findings(const View& view);
/// Mismatches, who is behind, who left, or that all are in one call.
std::vector<Finding> group_findings(const View& view);

}  // namespace rondo::launcher
