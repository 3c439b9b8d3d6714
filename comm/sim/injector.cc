#include "comm/sim/injector.h"

#include <algorithm>
#include <utility>

namespace rondo::comm {
namespace {

constexpr uint64_t kChances = 10'000;
constexpr size_t kStoryLines = 40;

}  // namespace

std::string_view name(FaultKind kind) {
  constexpr std::array<std::string_view, kFaultKindCount> kNames{
      "delay", "short", "again", "refuse", "drop", "mute", "flip", "stall", "kill", "flip above", "lose", "repeat"};
  return kNames[static_cast<size_t>(kind)];
}

std::string_view name(Act act) {
  constexpr std::array<std::string_view, 6> kNames{"dial", "read", "write", "send", "receive", "signal"};
  return kNames[static_cast<size_t>(act)];
}

std::string describe(const FaultPoint& point) {
  std::string text = "rank " + std::to_string(point.rank) + " -> " + std::to_string(point.peer) + ", " +
                     std::string(name(point.act)) + ", ";
  if (point.act == Act::kDial) return text + "attempt " + std::to_string(point.nth);
  if (point.act == Act::kRead || point.act == Act::kWrite) {
    return text + "block " + std::to_string(point.nth) + " of connection " + std::to_string(point.sequence);
  }
  return text + "message " + std::to_string(point.nth) + " (group " + std::to_string(point.group) + ", sequence " +
         std::to_string(point.sequence) + ", hop " + std::to_string(point.hop) + ", segment " +
         std::to_string(point.segment) + ")";
}

Injector::Injector(FaultPlan plan, std::shared_ptr<Trace> trace) : plan_(std::move(plan)), trace_(std::move(trace)) {}

uint64_t Injector::hash(FaultKind kind, const FaultPoint& point, uint64_t salt) const {
  const auto number = [](int value) { return static_cast<uint64_t>(static_cast<int64_t>(value)); };
  return hash_words({plan_.seed, salt, static_cast<uint64_t>(kind), number(point.rank), number(point.peer),
                     static_cast<uint64_t>(point.act), point.nth, point.group, point.sequence,
                     uint64_t{point.hop} << 32 | point.segment});
}

bool Injector::would_strike(FaultKind kind, const FaultPoint& point) const {
  const bool planned = std::any_of(plan_.planned.begin(), plan_.planned.end(), [&](const FaultPlan::Planned& each) {
    return each.kind == kind && each.rank == point.rank && each.act == point.act && each.nth == point.nth &&
           (each.peer < 0 || each.peer == point.peer) && each.sequence.value_or(point.sequence) == point.sequence;
  });
  const auto rate = static_cast<uint64_t>(plan_.rates[static_cast<size_t>(kind)]);
  return planned || (rate > 0 && hash(kind, point, 0) % kChances < rate);
}

bool Injector::strikes(FaultKind kind, const FaultPoint& point) {
  if (!would_strike(kind, point)) return false;
  const MutexLock lock(mutex_);
  strikes_.push_back({kind, point});
  if (trace_) trace_->note(Event::kFault, {hash(kind, point, 0)});
  return true;
}

uint64_t Injector::draw(FaultKind kind, const FaultPoint& point, uint64_t below) const {
  return below <= 1 ? 0 : hash(kind, point, 1) % below;
}

Duration Injector::draw_duration(FaultKind kind, const FaultPoint& point) const {
  return Duration(1 + static_cast<int64_t>(draw(kind, point, static_cast<uint64_t>(plan_.delay_most.count()))));
}

int Injector::draw_calls(FaultKind kind, const FaultPoint& point) const {
  return 1 + static_cast<int>(draw(kind, point, static_cast<uint64_t>(plan_.storm_most)));
}

void Injector::kill(int rank) {
  {
    const MutexLock lock(mutex_);
    if (std::find(killed_.begin(), killed_.end(), rank) != killed_.end()) return;
    killed_.push_back(rank);
    if (trace_) trace_->note(Event::kDeath, {static_cast<uint64_t>(rank)});
  }
  any_killed_.store(true, std::memory_order_release);
  if (on_kill_) on_kill_(rank);
}

bool Injector::killed(int rank) const {
  if (!any_killed_.load(std::memory_order_acquire)) return false;
  const MutexLock lock(mutex_);
  return std::find(killed_.begin(), killed_.end(), rank) != killed_.end();
}

std::vector<Strike> Injector::strikes_so_far() const {
  const MutexLock lock(mutex_);
  return strikes_;
}

std::array<uint64_t, kFaultKindCount> Injector::counts() const {
  const MutexLock lock(mutex_);
  std::array<uint64_t, kFaultKindCount> counts{};
  for (const Strike& strike : strikes_) ++counts[static_cast<size_t>(strike.kind)];
  return counts;
}

std::string Injector::story() const {
  const MutexLock lock(mutex_);
  std::string text;
  for (size_t i = strikes_.size() - std::min(strikes_.size(), kStoryLines); i < strikes_.size(); ++i) {
    text += "  " + std::string(name(strikes_[i].kind)) + ": " + describe(strikes_[i].point) + "\n";
  }
  return text;
}

}  // namespace rondo::comm
