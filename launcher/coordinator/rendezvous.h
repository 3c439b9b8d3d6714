/// Which hosts take part in a job, and in which order. A pure state machine: agents come and go, time passes, and at
/// some moment the job is complete, or its deadline names who is absent.
///
/// Hosts that were given a node rank stand there; the others fill the gaps in the order in which they came. Ranks are
/// numbered host by host.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/agent/job_plan.h"
#include "rondo/comm/deadline.h"
#include "rondo/comm/status.h"

namespace rondo::launcher {

class Rendezvous {
 public:
  struct Wanted {
    int least = 1, most = 1;  // hosts: complete with `most`, or with `least` when the last call has passed
    comm::TimePoint last_call, join_by;
  };
  struct Attendee {
    int id = 0;                    // the caller's, for withdraw()
    std::optional<int> node_rank;  // that the user gave it
    int ranks = 1;
    std::string host;  // for messages: "a (10.0.0.1)"
  };
  explicit Rendezvous(const Wanted& wanted) : wanted_(wanted) {}

  /// kInvalidArgument: its node rank is taken, or there is none so high; kResource: all hosts are there already.
  comm::Status admit(const Attendee& attendee);
  /// Its agent is gone before the job began.
  void withdraw(int id);

  bool complete(comm::TimePoint now) const;
  bool expired(comm::TimePoint now) const { return now >= wanted_.join_by && !complete(now); }
  /// When complete() or expired() may change by time alone.
  comm::TimePoint next_moment(comm::TimePoint now) const;

  /// "node rank 2", "2 more hosts": who is not there yet.
  std::vector<std::string> absent() const;
  /// "here is a; absent: node ranks 1 and 2" in words, for an error or a line that says why nothing happens.
  std::string describe() const;

  struct Member {
    Attendee attendee;
    HostPlace place;
  };
  /// After complete(): in the order of their node ranks.
  std::vector<Member> members() const;

 private:
  int count() const { return static_cast<int>(attendees_.size()); }
  /// Attendees by node rank, as far as there are any: those without one in the gaps.
  std::vector<std::optional<Attendee>> seats() const;

  const Wanted wanted_;
  std::vector<Attendee> attendees_;  // as they came
};

}  // namespace rondo::launcher
