/// One rank of a story as a state machine: forms the group, issues its lines, checks what comes back, closes.
///
/// Whatever happens, it ends: with right results, or with errors that it keeps. Threading: one thread, the world's.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/collective/group_split.h"
#include "comm/group/formation.h"
#include "tests/comm/sim/story.h"
#include "tests/support/fake_world.h"

namespace rondo::comm {

/// How something that a rank did ended.
struct Ending {
  int rank = 0;   // of the job
  int group = 0;  // 0: all ranks
  std::string what;
  Status status;
  TimePoint begun, ended;
};

class RankProgram {
 public:
  RankProgram(const Story& story, int rank, test::FakeWorld& world);

  Progress advance();
  /// Gives up the group of all ranks, if it is formed.
  void abort();
  const std::vector<Ending>& endings() const { return endings_; }
  /// Right results would be empty.
  const std::vector<std::string>& wrong() const { return wrong_; }
  /// For a hang: what it is waiting for.
  std::string where() const;

 private:
  struct Issued {
    std::unique_ptr<Called> called;
    TimePoint begun;
  };
  struct Member {
    Group group;
    std::unique_ptr<GroupSplit> splitting;
    TimePoint splitting_since;
    std::vector<Issued> in_flight;
    int calls_left = 0;  // not issued yet
    std::optional<TimePoint> closing_since;
    bool closed = false;
  };

  Progress form();
  bool issue_lines();
  bool issue_line(const Line& line);
  bool collect();
  bool close_groups();
  bool close(size_t index);
  size_t in_flight() const;
  void keep(size_t group, std::string what, const Status& status, TimePoint begun);

  const Story& story_;
  const int rank_;
  test::FakeWorld& world_;
  EndpointState& endpoint_;
  GroupFormation formation_;
  std::optional<TimePoint> formation_since_;
  const std::vector<Line> lines_;
  size_t next_line_ = 0;
  std::vector<Member> members_;  // by group; [0] once formed
  bool formed_ = false;
  bool done_ = false;
  std::vector<Ending> endings_;
  std::vector<std::string> wrong_;
};

}  // namespace rondo::comm
