/// What will be measured, made of a Request: pure functions, and the same on every rank and for every contender.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/bench/operations.h"
#include "comm/bench/request.h"
#include "rondo/comm/endpoint.h"

namespace rondo::bench {

/// One row of a sweep.
struct Point {
  int64_t byte_count = 0;
  int64_t element_count = 0;  // of all ranks together
  int warm_up = 0;            // calls before the timed ones
  int iterations = 0;
};

/// Whether every rank has a cpu of its own. If not, waiters yield, and the rows say so.
enum class Cores : uint8_t { kOwn, kShared };

/// Among whom and on what the plan is carried out.
struct Surroundings {
  int world_size = 1;
  Cores cores = Cores::kOwn;
};

struct Plan {
  const Collective* collective = nullptr;  // null: `operation` is a study of its own, and `points` is empty
  std::string operation;
  comm::DType dtype = comm::DType::kFloat32;
  std::optional<comm::DType> wire;  // what sums travel in, if not in their own type
  std::vector<Point> points;
  int rounds = 1;
  int first_round = 1;
  int trials = 0;  // of mismatch and create, a round

  int most_iterations() const;
  int64_t most_bytes() const;
};

/// kInvalidArgument names the flag, what it said and what was expected.
comm::Result<Plan> make_plan(const Request& request, Surroundings surroundings);
/// One JSON object: what the launcher wants to know before it starts ranks on `cpus`.
std::string plan_json(const Plan& plan, std::span<const int> cpus);

/// All operations, a line each: name, tab, what it measures.
std::string operation_list();

/// "64KiB" -> 65536. Units B, KiB, MiB, GiB; none means bytes.
comm::Result<int64_t> parse_size(const std::string& text);
/// 65536 -> "64 KiB"; whole units only, else bytes.
std::string size_text(int64_t bytes);

/// Timed calls of a point: many of the small, at least 5 of the large.
enum class Tempo : uint8_t { kFull, kQuick };
int iterations_for(int64_t byte_count, Tempo tempo, Cores cores);

}  // namespace rondo::bench
