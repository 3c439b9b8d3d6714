/// What making a schedule costs, and what proving one costs. A group makes a schedule once a shape, at the first call.
///
/// Up to kProven ranks each schedule is proven before it is timed.
#include <benchmark/benchmark.h>

#include <array>
#include <string>

#include "rondo/comm/algorithms.h"
#include "rondo/comm/schedule_check.h"

namespace rondo::comm {
namespace {

constexpr int kProven = 16;

struct Made {
  const Algorithm* algorithm;
  Goal goal;
};

struct Shape {
  int ranks;
  int64_t elements;
};
constexpr std::array kShapes{Shape{2, 256},    Shape{2, 16 << 20},  Shape{8, 256},       Shape{8, 16 << 20},
                             Shape{64, 65536}, Shape{64, 16 << 20}, Shape{1024, 1 << 20}};
constexpr std::array kProvenShapes{Shape{2, 1000}, Shape{8, 1 << 20}, Shape{16, 1 << 20}};

/// Blocks of an all-gather are equal.
Result<Schedule> schedule_of(const Made& made, Shape shape, int rank) {
  return make_schedule({.goal = made.goal,
                        .algorithm = made.algorithm->name,
                        .shape = {.at = {.rank = rank, .world_size = shape.ranks},
                                  .element_count = shape.elements - shape.elements % shape.ranks}});
}

Status prove(const Made& made, Shape shape) {
  ScheduleCheck request;
  for (int rank = 0; rank < shape.ranks; ++rank) {
    auto schedule = schedule_of(made, shape, rank);
    RONDO_TRY(schedule);
    request.ranks.push_back(std::move(*schedule));
  }
  return check_schedules(request).status();
}

void make_one(benchmark::State& state, const Made& made, Shape shape) {
  if (shape.ranks <= kProven) {
    if (const Status proven = prove(made, shape); !proven.ok()) return state.SkipWithError(proven.text().c_str());
  }
  size_t actions = 0;
  for ([[maybe_unused]] auto _ : state) {
    const auto schedule = schedule_of(made, shape, shape.ranks / 2);
    if (!schedule.ok()) return state.SkipWithError(schedule.status().text().c_str());
    actions = schedule->actions.size();
    benchmark::DoNotOptimize(schedule->actions.data());
  }
  state.counters["actions"] = static_cast<double>(actions);
  state.counters["actions/s"] =
      benchmark::Counter(static_cast<double>(actions), benchmark::Counter::kIsIterationInvariantRate);
}

void prove_one(benchmark::State& state, const Made& made, Shape shape) {
  for ([[maybe_unused]] auto _ : state) {
    if (const Status proven = prove(made, shape); !proven.ok()) return state.SkipWithError(proven.text().c_str());
  }
}

std::string label(const char* what, const Made& made, Shape shape) {
  return std::string(what) + "/" + std::string(made.algorithm->name) + "/" + std::string(name(made.goal)) +
         "/ranks:" + std::to_string(shape.ranks) + "/elements:" + std::to_string(shape.elements);
}

void register_all() {
  for (const Algorithm& algorithm : algorithms()) {
    for (const Goal goal : algorithm.goals) {
      const Made made{&algorithm, goal};
      for (const Shape shape : kShapes) {
        benchmark::RegisterBenchmark(label("make", made, shape).c_str(), make_one, made, shape);
      }
      for (const Shape shape : kProvenShapes) {
        benchmark::RegisterBenchmark(label("prove", made, shape).c_str(), prove_one, made, shape)
            ->Unit(benchmark::kMicrosecond);
      }
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
