#include "rondo/comm/work.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "comm/collective/collective_state.h"

namespace rondo::comm {
namespace {

// A waiter first keeps looking and gives its core away between looks, then sleeps in slices: a sleeping process takes
// tens of microseconds to wake, a busy one must not starve a peer that shares its core.
constexpr auto kYieldFor = std::chrono::microseconds(100);
constexpr int kLooksPerRound = 8;  // at the awaited group for one at all the others
constexpr auto kSlice = std::chrono::milliseconds(10);

}  // namespace

Work Work::finished(const Status& status) { return Work(std::make_shared<FinishedCollective>(status)); }

Work& Work::operator=(Work&& other) noexcept {
  if (this != &other) {
    const Work dropped(std::move(state_));
    state_ = std::move(other.state_);
  }
  return *this;
}

Work::~Work() {
  if (state_ == nullptr || state_->done()) return;
  GroupState& group = *state_->group();
  const int me = group.job_rank(group.at().rank);
  group.end(Status(Code::kAborted, "rank " + std::to_string(me) + " dropped unfinished work", {.rank = me, .peer = me}),
            me);
}

bool Work::done() const { return state_ == nullptr || state_->done(); }

Status Work::status() const {
  if (state_ == nullptr) return {};
  return state_->done() ? state_->outcome() : Status::pending();
}

bool Work::progress() {
  if (done()) return true;
  state_->group()->endpoint().progress();
  return done();
}

/// Ends the wait for most of what was called just before, without a look at a clock.
bool Work::ends_at_once() {
  if (!done()) (void)state_->group()->progress_after_call();
  return done();
}

Status Work::wait(Deadline deadline) {
  if (ends_at_once()) return status();
  GroupState& group = *state_->group();
  EndpointState& endpoint = group.endpoint();
  const EndpointState::Waiting waiting(endpoint);
  Env& env = endpoint.env();
  TimePoint now = env.now();
  TimePoint quiet_since = now;
  for (int look = 1;; ++look) {
    // This group first: most waits end here. Then the others, so that two groups waited for in different order on two
    // ranks cannot block each other.
    bool moved = group.progress(now, Patience::kSpin);
    if (state_->done()) return state_->outcome();
    if (!moved && (look % kLooksPerRound == 0 || now - quiet_since >= kYieldFor)) {
      moved = endpoint.progress();
      if (state_->done()) return state_->outcome();
    }
    now = env.now();
    if (deadline.passed(now)) return Status::pending();
    if (moved) {
      quiet_since = now;
    } else if (now - quiet_since < kYieldFor) {
      sched_yield();
    } else {
      endpoint.idle(std::min<Duration>(deadline.left(now), kSlice));
      now = env.now();
    }
  }
}

Status Work::wait() {
  if (ends_at_once()) return status();
  Env& env = state_->group()->endpoint().env();
  for (;;) {
    // The group's own timeout ends the work; a slice of this loop never does.
    const Status status = wait({env.now() + std::chrono::seconds(60)});
    if (!status.is_pending()) return status;
  }
}

}  // namespace rondo::comm
