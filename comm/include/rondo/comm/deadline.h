/// Points in time. Decisions use the monotonic clock only; every wait takes a Deadline.
#pragma once

#include <chrono>

namespace rondo::comm {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

/// The moment at which a wait gives up.
struct Deadline {
  TimePoint at;
  bool passed(TimePoint now) const { return now >= at; }
  Duration left(TimePoint now) const { return passed(now) ? Duration::zero() : at - now; }
};

/// A deadline on the real clock. Code that may run in simulated time asks its Env for `now()` instead.
inline Deadline after(Duration timeout) { return {Clock::now() + timeout}; }
inline Deadline in_seconds(double seconds) {
  return after(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds)));
}

}  // namespace rondo::comm
