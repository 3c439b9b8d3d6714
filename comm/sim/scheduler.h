/// Many ranks in one thread: asks cooperative state machines to go on, in an order drawn from a seed, while virtual
/// time passes.
///
/// A round asks every cursor once, in a drawn order: some several times in a row while they move (a burst), some not at
/// all for a while (starvation). Time moves by a tick a round, by longer ones while nobody moves. So every wait
/// ends: either all are done, or virtual time runs out, which is a hang. Threading: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "comm/sim/sim_env.h"
#include "comm/sim/trace.h"

namespace rondo::comm {

/// One rank's program. Asked again after kDone too, since peers may need its acknowledgements, until all are done.
using Cursor = std::function<Progress(TimePoint now)>;

struct SchedulerOptions {
  uint64_t seed = 1;
  enum class Order : uint8_t { kDrawn, kInTurn } order = Order::kDrawn;
  int burst_most = 1;           // asked up to so often in a row while it moves
  int starve_per_thousand = 0;  // turns that begin a starvation
  Duration starve_most{0};      // of virtual time
  Duration tick = std::chrono::microseconds(50);
  Duration tick_most = std::chrono::milliseconds(5);  // while nobody moves
};

class Scheduler {
 public:
  Scheduler(std::shared_ptr<SimWorld> world, SchedulerOptions options, std::shared_ptr<Trace> trace = nullptr);

  /// Returns its number, from 0.
  int add(Cursor cursor);
  /// Never asked again; counts as done.
  void remove(int cursor);
  /// Calls `what` once virtual time has come to `at`.
  void at(TimePoint at, std::function<void()> what);

  enum class Outcome : uint8_t { kAllDone, kHang };
  /// Until every cursor is done or `limit` of virtual time passed.
  Outcome run(Duration limit);
  /// The cursors that are not done.
  std::vector<int> unfinished() const;
  uint64_t turns() const { return turns_; }

 private:
  struct Seat {
    Cursor cursor;
    bool done = false;
    bool removed = false;
    TimePoint starved_until{};
  };
  struct Alarm {
    TimePoint at;
    std::function<void()> what;
  };
  uint64_t draw(uint64_t below) { return below <= 1 ? 0 : random_() % below; }
  bool turn(size_t seat);
  void ring_alarms();

  const std::shared_ptr<SimWorld> world_;  // shared with the ranks' envs
  const SchedulerOptions options_;
  const std::shared_ptr<Trace> trace_;  // shared with the world; may be null
  std::mt19937_64 random_;
  std::vector<Seat> seats_;
  std::vector<size_t> order_;
  std::vector<Alarm> alarms_;
  size_t left_ = 0;  // neither done nor removed
  uint64_t turns_ = 0;
};

}  // namespace rondo::comm
