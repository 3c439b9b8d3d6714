#include "rondo/comm/group.h"

#include <chrono>
#include <utility>

#include "comm/group/formation.h"
#include "comm/group/group_state.h"

namespace rondo::comm {

Result<Group> Group::create(const Endpoint& endpoint, GroupOptions options, Deadline deadline) {
  Env& env = endpoint.env();
  const TimePoint begin = env.now();
  GroupFormation formation(endpoint.state(), std::move(options));
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

int Group::rank() const { return state_->at().rank; }
int Group::world_size() const { return state_->at().world_size; }
const std::string& Group::name() const { return state_->identity().options.name; }

std::string Group::description() const {
  const auto& options = state_->identity().options;
  const bool push = options.algorithm == "push";
  return (push ? std::string("push") : std::string("ring")) + " over " +
         std::string(comm::name(state_->endpoint().options().transport)) +
         (push ? ", canonical order" : ", order by chunk");
}

Result<Region> Group::allocate(size_t byte_count, const std::string& purpose) {
  return state_->allocate(byte_count, purpose);
}

void Group::abort(const std::string& reason) {
  const int me = state_->job_rank(rank());
  state_->end(Status(Code::kAborted, "rank " + std::to_string(me) + " aborted group \"" + name() + "\": " + reason,
                     {.rank = me, .peer = me}),
              me);
}

Status Group::close(Deadline deadline) { return state_->close(deadline); }

}  // namespace rondo::comm
