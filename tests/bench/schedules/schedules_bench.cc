/// What making a schedule costs, and what proving one costs. A group makes a schedule once a shape, at the first call.
///
/// Up to kProven ranks each schedule is proven before it is timed.
#include <benchmark/benchmark.h>

#include <array>
#include <string>

#include "comm/schedule/checker.h"
#include "comm/schedule/schedule.h"

namespace rondo::comm {
namespace {

constexpr int kProven = 16;

struct Maker {
  const char* name;
  Goal goal;
  Schedule (*make)(const ScheduleRequest& request);
};
constexpr std::array kMakers{
    Maker{"ring_all_reduce", Goal::kAllReduce, ring_all_reduce},
    Maker{"direct_all_reduce", Goal::kAllReduce, direct_all_reduce},
    Maker{"ring_all_gather", Goal::kAllGather, ring_all_gather},
    Maker{"chain_broadcast", Goal::kBroadcast,
          [](const ScheduleRequest& request) { return chain_broadcast(request, 0); }},
};

struct Shape {
  int ranks;
  int64_t elements;
};
constexpr std::array kShapes{Shape{2, 256},    Shape{2, 16 << 20},  Shape{8, 256},       Shape{8, 16 << 20},
                             Shape{64, 65536}, Shape{64, 16 << 20}, Shape{1024, 1 << 20}};
constexpr std::array kProvenShapes{Shape{2, 1000}, Shape{8, 1 << 20}, Shape{16, 1 << 20}};

/// Blocks of an all-gather are equal.
ScheduleRequest request_of(Shape shape, int rank) {
  return {.at = {.rank = rank, .world_size = shape.ranks},
          .element_count = shape.elements - shape.elements % shape.ranks};
}

Status prove(const Maker& maker, Shape shape) {
  CheckRequest request{.goal = maker.goal};
  for (int rank = 0; rank < shape.ranks; ++rank) request.ranks.push_back(maker.make(request_of(shape, rank)));
  return check(request);
}

void make_one(benchmark::State& state, const Maker& maker, Shape shape) {
  if (shape.ranks <= kProven) {
    if (const Status proven = prove(maker, shape); !proven.ok()) return state.SkipWithError(proven.text().c_str());
  }
  size_t actions = 0;
  for ([[maybe_unused]] auto _ : state) {
    const Schedule schedule = maker.make(request_of(shape, shape.ranks / 2));
    actions = schedule.actions.size();
    benchmark::DoNotOptimize(schedule.actions.data());
  }
  state.counters["actions"] = static_cast<double>(actions);
  state.counters["actions/s"] =
      benchmark::Counter(static_cast<double>(actions), benchmark::Counter::kIsIterationInvariantRate);
}

void prove_one(benchmark::State& state, const Maker& maker, Shape shape) {
  for ([[maybe_unused]] auto _ : state) {
    if (const Status proven = prove(maker, shape); !proven.ok()) return state.SkipWithError(proven.text().c_str());
  }
}

std::string label(const char* what, const Maker& maker, Shape shape) {
  return std::string(what) + "/" + maker.name + "/ranks:" + std::to_string(shape.ranks) +
         "/elements:" + std::to_string(shape.elements);
}

void register_all() {
  for (const Maker& maker : kMakers) {
    for (const Shape shape : kShapes) {
      benchmark::RegisterBenchmark(label("make", maker, shape).c_str(), make_one, maker, shape);
    }
    for (const Shape shape : kProvenShapes) {
      benchmark::RegisterBenchmark(label("prove", maker, shape).c_str(), prove_one, maker, shape)
          ->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace
}  // namespace rondo::comm

int main(int argc, char** argv) {
  rondo::comm::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
