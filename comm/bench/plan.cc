#include "comm/bench/plan.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "comm/bench/pattern.h"
#include "comm/bench/pinning.h"

namespace rondo::bench {
namespace {

using comm::Code;
using comm::DType;
using comm::Result;
using comm::Status;

constexpr int64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;
constexpr int64_t kMostBytes = 64 * kGiB;
constexpr const char* kFullSizes = "1KiB,64KiB,1MiB,16MiB,64MiB";
constexpr const char* kQuickSizes = "1KiB,64KiB,1MiB";
constexpr int kFullRounds = 9, kQuickRounds = 2;
constexpr int kFullTrials = 100, kQuickTrials = 5;

struct Unit {
  std::string_view name;
  int64_t bytes;
};
constexpr Unit kUnits[] = {{"GiB", kGiB}, {"MiB", kMiB}, {"KiB", kKiB}, {"B", 1}};

/// What is measured besides collectives.
struct Study {
  std::string_view name, purpose;
};
constexpr Study kStudies[] = {
    {"mismatch", "ranks call differing collectives: how long until every rank knows"},
    {"create", "how long a group takes to form, and what it asks of the store"},
};

Status wrong(std::string sentence) { return {Code::kInvalidArgument, std::move(sentence)}; }

bool has_blocks(const Collective& collective) {
  for (const Part part : {collective.input, collective.output}) {
    if (part == Part::kOwnBlock || part == Part::kBlockApart) return true;
  }
  return false;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, ',');) words.push_back(word);
  return words;
}

Result<DType> parse_dtype(const std::string& text) {
  std::string known;
  for (const DType type : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16, DType::kInt32,
                           DType::kInt64, DType::kUInt8}) {
    if (text == name(type)) return type;
    known += (known.empty() ? "" : ", ") + std::string(name(type));
  }
  return wrong("--dtype " + text + ": there are " + known);
}

/// A transport between processes; inproc joins fake ranks only.
Status check_transport(const std::string& text) {
  if (text.empty() || text == "auto" || text == "shm+mpi") return {};
  std::string known = "auto, shm+mpi";
  for (int number = 0;; ++number) {
    const auto kind = static_cast<comm::TransportKind>(number);
    if (name(kind).starts_with("unknown")) break;
    if (kind == comm::TransportKind::kInproc) continue;
    if (text == name(kind)) return {};
    known += ", " + std::string(name(kind));
  }
  return wrong("--transport " + text + ": between processes there are " + known);
}

Result<std::optional<DType>> parse_wire(const Request& request, const Collective* collective) {
  if (request.wire == "same") return std::optional<DType>();
  if (request.wire != "bf16" && request.wire != "fp16") return wrong("--wire " + request.wire + ": same, bf16 or fp16");
  if (collective == nullptr || collective->content != Content::kSum || request.dtype != name(DType::kFloat32)) {
    return wrong("--wire " + request.wire + ": only sums of float32 travel in another type");
  }
  return std::optional(request.wire == "bf16" ? DType::kBFloat16 : DType::kFloat16);
}

Result<std::vector<Point>> make_points(const Request& request, const Collective& collective, DType dtype,
                                       Surroundings surroundings) {
  const Tempo tempo = request.quick ? Tempo::kQuick : Tempo::kFull;
  std::vector<int64_t> sizes;
  if (collective.input == Part::kNone) {
    if (!request.sizes.empty()) return wrong("--sizes " + request.sizes + ": a " + request.operation + " has no size");
    sizes.push_back(0);
  } else {
    const std::string& given = request.sizes;
    for (const std::string& word : split(given.empty() ? (request.quick ? kQuickSizes : kFullSizes) : given)) {
      const auto bytes = parse_size(word);
      RONDO_TRY(bytes);
      sizes.push_back(*bytes);
    }
  }
  std::vector<Point> points;
  for (const int64_t bytes : sizes) {
    const auto width = static_cast<int64_t>(byte_width(dtype));
    int64_t elements = bytes / width;
    // Blocks are equal: what does not fill n of them is left out, as nccl-tests does.
    if (has_blocks(collective)) elements -= elements % surroundings.world_size;
    if (elements == 0 && bytes > 0) {
      return wrong("--sizes " + size_text(bytes) + ": too small for one " + std::string(name(dtype)) + " a rank");
    }
    const int iterations =
        request.iterations > 0 ? request.iterations : iterations_for(bytes, tempo, surroundings.cores);
    points.push_back({.byte_count = elements * width,
                      .element_count = elements,
                      .warm_up = std::clamp(iterations / 10, 2, 20),
                      .iterations = iterations});
  }
  return points;
}

Status check_numbers(const Request& request) {
  if (request.rounds < 0 || request.rounds > 10'000) return wrong("--rounds: a whole number from 1 to 10000");
  if (request.ranks < 1) return wrong("--ranks: a whole number from 1");
  if (request.first_round < 1) return wrong("--first-round: rounds count from 1");
  if (request.iterations < 0 || request.iterations > 1'000'000) {
    return wrong("--iterations: a whole number from 1 to 1000000");
  }
  return {};
}

}  // namespace

int Plan::most_iterations() const {
  int most = trials;
  for (const Point& point : points) most = std::max(most, point.iterations);
  return most;
}

int64_t Plan::most_bytes() const {
  int64_t most = 0;
  for (const Point& point : points) most = std::max(most, point.byte_count);
  return most;
}

Result<Plan> make_plan(const Request& request, Surroundings surroundings) {
  const int world_size = surroundings.world_size;
  Plan plan;
  plan.operation = request.operation;
  plan.collective = find_collective(request.operation);
  const auto names_it = [&](const Study& study) { return study.name == request.operation; };
  if (plan.collective == nullptr && std::none_of(std::begin(kStudies), std::end(kStudies), names_it)) {
    return wrong(request.operation.empty() ? "which operation? --list names them"
                                           : "unknown operation '" + request.operation + "'; --list names them");
  }
  RONDO_TRY(check_numbers(request));
  if (plan.operation == "mismatch" && world_size < 2) return wrong("a mismatch needs two ranks at least");

  const auto dtype = parse_dtype(request.dtype);
  RONDO_TRY(dtype);
  plan.dtype = *dtype;
  const auto wire = parse_wire(request, plan.collective);
  RONDO_TRY(wire);
  plan.wire = *wire;
  if (const int most = exact_ranks(period_for(plan.dtype, plan.wire)); world_size > most) {
    const std::string type(name(plan.wire.value_or(plan.dtype)));
    return wrong("results are checked exactly, which " + type + " allows for up to " + std::to_string(most) + " ranks");
  }
  RONDO_TRY(check_transport(request.transport));
  plan.rounds = request.rounds > 0 ? request.rounds : (request.quick ? kQuickRounds : kFullRounds);
  plan.first_round = request.first_round;
  if (plan.collective == nullptr) {
    if (!request.sizes.empty()) return wrong("--sizes: " + plan.operation + " has no size");
    plan.trials = request.iterations > 0 ? request.iterations : (request.quick ? kQuickTrials : kFullTrials);
    return plan;
  }
  auto points = make_points(request, *plan.collective, plan.dtype, surroundings);
  RONDO_TRY(points);
  plan.points = *std::move(points);
  return plan;
}

std::string plan_json(const Plan& plan, std::span<const int> cpus) {
  nlohmann::ordered_json json;
  json["operation"] = plan.operation;
  json["collective"] = plan.collective != nullptr;
  json["rounds"] = plan.rounds;
  json["cpus"] = cpus_text(cpus);
  return json.dump() + "\n";
}

std::string operation_list() {
  std::string list;
  for (const Collective& collective : collectives()) {
    list += std::string(collective.name) + "\ttime and bandwidth by size\n";
  }
  for (const Study& study : kStudies) list += std::string(study.name) + "\t" + std::string(study.purpose) + "\n";
  return list;
}

Result<int64_t> parse_size(const std::string& text) {
  const auto refuse = [&] {
    return wrong("size '" + text + "': expected a number and a unit, such as 64KiB, 1MiB or 4096, at most 64GiB");
  };
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 1) return refuse();
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  for (const Unit& known : kUnits) {
    if (unit != known.name && !(unit.empty() && known.bytes == 1)) continue;
    if (number > kMostBytes / known.bytes) return refuse();
    return number * known.bytes;
  }
  return refuse();
}

std::string size_text(int64_t bytes) {
  for (const Unit& unit : kUnits) {
    if (bytes >= unit.bytes && bytes % unit.bytes == 0) {
      return std::to_string(bytes / unit.bytes) + " " + std::string(unit.name);
    }
  }
  return "0 B";
}

int iterations_for(int64_t byte_count, Tempo tempo, Cores cores) {
  const bool full = tempo == Tempo::kFull;
  const int64_t budget = full ? 256 * kMiB : 8 * kMiB;
  const int64_t least = full ? 5 : 3;
  // Where ranks share cores a call may take a time slice of the scheduler.
  const int64_t most = !full ? 50 : (cores == Cores::kShared ? 100 : 2000);
  return static_cast<int>(std::clamp(budget / std::max<int64_t>(byte_count, 1), least, most));
}

}  // namespace rondo::bench
