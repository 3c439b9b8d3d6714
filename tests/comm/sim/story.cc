#include "tests/comm/sim/story.h"

#include <array>
#include <chrono>
#include <deque>
#include <utility>

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

/// Nothing, a little, or a lot.
int drawn_rate(Draws& draws, int most) { return draws.one_of<int>({0, 0, most / 20, most}); }

/// Delays and storms, a random part of them at random rates.
void draw_noise(Draws& draws, Story& story) {
  FaultPlan& plan = story.faults;
  plan.rate(FaultKind::kDelay) = drawn_rate(draws, 1000);
  plan.rate(FaultKind::kAgain) = drawn_rate(draws, 1000);
  plan.rate(FaultKind::kStall) = drawn_rate(draws, 200);
  plan.rate(FaultKind::kShort) = drawn_rate(draws, 1000);
  plan.rate(FaultKind::kRefuse) = drawn_rate(draws, 5000);
  plan.delay_most = draws.one_of<Duration>({100us, 2ms, 20ms});
  plan.storm_most = draws.between(1, 20);
  story.sim.seed = draws.below(1 << 30);
  story.sim.most_bytes_per_call = draws.one_of<size_t>({1 << 16, 1 << 16, 1000, 100, 17});
  story.sim.would_block_percent = draws.one_of<int>({0, 10, 40});
  story.sim.stream_bytes = draws.one_of<size_t>({1 << 16, 4096, 300});
  story.sim.latency_max = draws.one_of<Duration>({0ms, 0ms, 50us, 2ms});
  story.sim.latency_min = story.sim.latency_max / 4;
  story.schedule = {.seed = draws.below(1 << 30),
                    .burst_most = draws.between(1, 8),
                    .starve_per_thousand = drawn_rate(draws, 20),
                    .starve_most = draws.one_of<Duration>({1ms, 10ms, 100ms}),
                    .tick = draws.one_of<Duration>({5us, 50us}),
                    .tick_most = 20ms};
}

void draw_trouble(Draws& draws, Story& story) {
  const bool streams = story.transport == TransportKind::kTcp;
  const int which = draws.between(0, 99);
  if (which < 45) return;
  if (streams && which < 60) {
    story.trouble = Trouble::kFlips;
    story.faults.rate(FaultKind::kFlip) = draws.one_of<int>({20, 100, 400});
  } else if (streams && which < 72) {
    story.trouble = Trouble::kDrops;
    story.faults.rate(FaultKind::kDrop) = draws.one_of<int>({5, 30, 100});
  } else if (streams && which < 76) {
    story.trouble = Trouble::kMutes;
    story.faults.rate(FaultKind::kMute) = draws.one_of<int>({5, 30});
  } else if (which < 88) {
    story.trouble = Trouble::kDeath;
    story.victim = draws.between(0, story.ranks - 1);
    story.death_known_after = draws.one_of<Duration>({1ms, 12ms, 20ms, 200ms});
    story.after_turns = draws.between(0, 60);
    if (story.transport == TransportKind::kShm || draws.chance(20)) return;  // dies between two turns
    FaultPlan::Planned death{.kind = FaultKind::kKill, .rank = story.victim};
    death.act = draws.one_of<Act>({Act::kSend, Act::kReceive});
    if (streams && draws.chance(50)) death.act = Act::kWrite;
    death.nth = draws.below(draws.one_of<uint64_t>({2, 10, 60}));
    story.faults.planned.push_back(death);
  } else {
    story.trouble = which < 91 ? Trouble::kFrozen : which < 95 ? Trouble::kAbort : Trouble::kMismatch;
    story.victim = draws.between(0, story.ranks - 1);
    story.after_turns = draws.between(0, 60);
  }
}

/// The victim's call differs in one thing.
void draw_other_call(Draws& draws, Story& story) {
  std::vector<Call> calls;
  for (const Line& line : story.lines) {
    if (line.split == 0) calls.push_back(line.call);
  }
  Call other = draws.one_of(calls);
  const Call drawn = draw_call(draws, other.group, other.number);
  switch (draws.between(0, 3)) {
    case 0:
      other.kind = drawn.kind;
      break;
    case 1:
      other.dtype = drawn.dtype;
      other.op = drawn.op;
      break;
    case 2:
      other.size = drawn.size;
      break;
    default:
      other.root = drawn.root;
  }
  story.other_call = other;
}

void draw_lines(Draws& draws, Story& story) {
  const int splits = draws.one_of<int>({0, 0, 1, 2});
  const int calls = draws.between(1, 8);
  int splits_made = 0;
  for (int number = 0; number < calls; ++number) {
    if (splits_made < splits && draws.chance(50)) {
      story.lines.push_back({.split = ++splits_made});
      Story::Split split;
      const int colors = draws.between(1, 3);
      for (int rank = 0; rank < story.ranks; ++rank) split.colors.push_back(draws.between(-1, colors - 1));
      split.close = draws.chance(50) ? Story::Split::Close::kEarly : Story::Split::Close::kAtTheEnd;
      story.splits.push_back(std::move(split));
    }
    story.lines.push_back({.call = draw_call(draws, draws.between(0, splits_made), number)});
  }
  story.window = draws.between(0, 4);
}

}  // namespace

std::string_view name(Trouble trouble) {
  constexpr std::array<std::string_view, kTroubleCount> kNames{"none",  "flips",  "drops", "mutes",
                                                               "death", "frozen", "abort", "mismatch"};
  return kNames[static_cast<size_t>(trouble)];
}

Story draw_story(uint64_t seed) {
  Draws draws(seed);
  Story story{.seed = seed};
  story.ranks = draws.between(2, 9);
  story.transport = draws.one_of<TransportKind>(
      {TransportKind::kTcp, TransportKind::kTcp, TransportKind::kInproc, TransportKind::kShm});
  // One that does not serve a call leaves it to the usual choice. Push needs registered memory, hosts are not
  // simulated.
  story.algorithm =
      draws.one_of<std::string>({"", "", "ring", "direct", "one-shot", "chain", "halving", "tree", "parameter-server"});
  story.segment_bytes = draws.one_of<int64_t>({8, 64, 256, 1000});
  story.faults.seed = seed;
  draw_noise(draws, story);
  draw_trouble(draws, story);
  draw_lines(draws, story);
  draw_other_call(draws, story);
  return story;
}

std::vector<Line> lines_of(const Story& story, int rank) {
  std::vector<Line> lines = story.lines;
  if (story.trouble == Trouble::kMismatch && rank == story.victim) {
    for (Line& line : lines) {
      if (line.split == 0 && line.call.number == story.other_call.number) line.call = story.other_call;
    }
  }
  if (story.window > 0) return lines;
  // Any merge that keeps the order of each group, and a split before the calls of what it makes.
  std::vector<std::deque<Line>> by_group(story.splits.size() + 1);
  for (const Line& line : lines) {
    by_group[static_cast<size_t>(line.split > 0 ? 0 : line.call.group)].push_back(line);
  }
  Draws draws(hash_words({story.seed, static_cast<uint64_t>(rank)}));
  std::vector<Line> merged;
  std::vector<bool> open(by_group.size());
  open[0] = true;
  while (merged.size() < story.lines.size()) {
    const size_t group = draws.below(by_group.size());
    if (!open[group] || by_group[group].empty()) continue;
    const Line& next = by_group[group].front();
    if (next.split > 0) open[static_cast<size_t>(next.split)] = true;
    merged.push_back(next);
    by_group[group].pop_front();
  }
  return merged;
}

std::string describe(const Story& story) {
  std::string text = std::to_string(story.ranks) + " ranks over " + std::string(name(story.transport)) +
                     ", algorithm \"" + story.algorithm + "\", segments of " + std::to_string(story.segment_bytes) +
                     " bytes, window " + std::to_string(story.window) +
                     ", trouble: " + std::string(name(story.trouble));
  if (story.victim >= 0) text += " of rank " + std::to_string(story.victim);
  if (story.trouble == Trouble::kMismatch) text += ": " + describe(story.other_call);
  text += "\n";
  for (const Line& line : story.lines) {
    text += "  ";
    if (line.split > 0) {
      text += "split into group " + std::to_string(line.split) + ", colors";
      for (const int color : story.splits[static_cast<size_t>(line.split) - 1].colors)
        text += " " + std::to_string(color);
    } else {
      text += describe(line.call);
    }
    text += "\n";
  }
  return text;
}

}  // namespace rondo::comm
