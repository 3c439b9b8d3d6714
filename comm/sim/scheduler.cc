#include "comm/sim/scheduler.h"

#include <algorithm>
#include <utility>

namespace rondo::comm {

Scheduler::Scheduler(std::shared_ptr<SimWorld> world, SchedulerOptions options, std::shared_ptr<Trace> trace)
    : world_(std::move(world)), options_(options), trace_(std::move(trace)), random_(options.seed) {}

int Scheduler::add(Cursor cursor) {
  order_.push_back(seats_.size());
  seats_.push_back({.cursor = std::move(cursor)});
  ++left_;
  return static_cast<int>(seats_.size()) - 1;
}

void Scheduler::remove(int cursor) {
  Seat& seat = seats_[static_cast<size_t>(cursor)];
  if (!seat.done && !seat.removed) --left_;
  seat.removed = true;
}

void Scheduler::at(TimePoint at, std::function<void()> what) { alarms_.push_back({at, std::move(what)}); }

std::vector<int> Scheduler::unfinished() const {
  std::vector<int> left;
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (!seats_[i].done && !seats_[i].removed) left.push_back(static_cast<int>(i));
  }
  return left;
}

void Scheduler::ring_alarms() {
  // One at a time: what it does may set another one.
  for (;;) {
    const auto due =
        std::find_if(alarms_.begin(), alarms_.end(), [&](const Alarm& alarm) { return alarm.at <= world_->now(); });
    if (due == alarms_.end()) return;
    const auto what = std::move(due->what);
    alarms_.erase(due);
    what();
  }
}

/// True when it moved.
bool Scheduler::turn(size_t index) {
  Seat& seat = seats_[index];
  if (seat.removed || world_->now() < seat.starved_until) return false;
  if (options_.starve_per_thousand > 0 && draw(1000) < static_cast<uint64_t>(options_.starve_per_thousand)) {
    seat.starved_until =
        world_->now() + Duration(1 + static_cast<int64_t>(draw(static_cast<uint64_t>(options_.starve_most.count()))));
    return false;
  }
  const uint64_t most = 1 + draw(static_cast<uint64_t>(options_.burst_most));
  bool moved = false;
  for (uint64_t asked = 0; asked < most && !seat.removed; ++asked) {
    const Progress progress = seat.cursor(world_->now());
    ++turns_;
    if (trace_) trace_->note(Event::kTurn, {index, static_cast<uint64_t>(progress)});
    const bool ended = progress == Progress::kDone || progress == Progress::kFailed;
    if (ended && !seat.done && !seat.removed) {
      seat.done = true;
      moved = true;
      --left_;
    }
    if (progress != Progress::kProgressed) break;
    moved = true;
  }
  return moved;
}

Scheduler::Outcome Scheduler::run(Duration limit) {
  const TimePoint end = world_->now() + limit;
  Duration tick = options_.tick;
  while (left_ > 0) {
    ring_alarms();
    if (options_.order == SchedulerOptions::Order::kDrawn) {
      for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[draw(i)]);
    }
    bool moved = false;
    for (const size_t index : order_) moved = turn(index) || moved;
    tick = moved ? options_.tick : std::min(tick * 2, options_.tick_most);
    if (left_ > 0) world_->advance(tick);
    if (world_->now() > end) return left_ == 0 ? Outcome::kAllDone : Outcome::kHang;
  }
  return Outcome::kAllDone;
}

}  // namespace rondo::comm
