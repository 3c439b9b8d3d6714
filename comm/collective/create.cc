#include <algorithm>
#include <chrono>
#include <utility>

#include "comm/collective/probe.h"
#include "comm/group/formation.h"
#include "rondo/comm/group.h"

namespace rondo::comm {
namespace {

Result<Group> form(GroupFormation& formation, Env& env, Deadline deadline) {
  const TimePoint begin = env.now();
  for (;;) {
    const TimePoint now = env.now();
    switch (formation.advance(now)) {
      case Progress::kDone:
        return formation.take();
      case Progress::kFailed:
        return formation.status();
      case Progress::kProgressed:
        break;
      case Progress::kBlocked:
        if (deadline.passed(now)) return formation.timed_out(now - begin);
        env.idle(formation.wait_handles(), std::min<Duration>(deadline.left(now), std::chrono::milliseconds(5)));
    }
  }
}

/// The first group of a job is not handed out before its links were timed.
Status time_links(const Endpoint& endpoint, Group& group, Deadline deadline) {
  const GroupState& state = *group.state();
  const std::string key =
      "measured/" + std::to_string(endpoint.state()->options().generation) + "/" + std::to_string(state.identity().id);
  auto measured = probe_links(group, key, deadline);
  if (!measured.ok()) {
    const Status why = measured.status().at({.rank = state.job_rank(group.rank()), .operation = "group creation"});
    group.state()->end(why, why.where().peer);
    return why;
  }
  group.state()->learn(*measured);
  endpoint.state()->set_measured(*std::move(measured));
  return {};
}

}  // namespace

Result<Group> Group::create(const Endpoint& endpoint, GroupOptions options, Deadline deadline) {
  GroupFormation formation(endpoint.state(), std::move(options));
  auto group = form(formation, endpoint.env(), deadline);
  RONDO_TRY(group);
  if (formation.probes()) RONDO_TRY(time_links(endpoint, *group, deadline));
  return group;
}

}  // namespace rondo::comm
