#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>

#include "launcher/base/exit_codes.h"
#include "launcher/cli/nearest_name.h"
#include "launcher/cli/options.h"
#include "launcher/cli/schedule_view.h"
#include "launcher/cli/verbs.h"
#include "rondo/comm/algorithms.h"
#include "rondo/comm/schedule_check.h"

namespace rondo::launcher {
namespace {

constexpr int kMostRanks = 1024;

std::string footer() {
  return "Without a name it lists the algorithms. Ranges are elements of the buffer, the first one included, the last\n"
         "one not. A sum of 2 adds two operands; a final one divides the mean as well.\n\n"
         "examples:\n"
         "  rondo schedule ring --world 4 --elements 10\n"
         "  rondo schedule direct --world 5 --op reduce_scatter --check\n"
         "  rondo schedule direct --wire narrow              operands and results as 16-bit numbers on the wire\n"
         "  rondo schedule hierarchical --hosts 0,0,1,1      ranks 0 and 1 on one host, 2 and 3 on another\n"
         "  rondo schedule tree --world 6 --root 2 --json\n\n"
         "exit codes:\n"
         "  0     done\n"
         "  1     --check found the schedule wrong: a defect of Rondo\n"
         "  2     wrong usage\n";
}

constexpr int kExitWrongSchedule = 1;

struct ScheduleFlags {
  std::string algorithm, op, wire = "same", hosts;
  int world = 4;
  std::optional<int64_t> elements;
  int64_t segment = 64 * 1024;
  int root = 0;
  bool json = false, check = false;
};

void add_flags(CLI::App& app, ScheduleFlags& flags) {
  app.add_option("algorithm", flags.algorithm, "ALGORITHM");
  app.add_option("--world", flags.world, "ranks")->type_name("N")->capture_default_str();
  app.add_option("--elements", flags.elements, "elements of the buffer; default 4 a rank")->type_name("N");
  app.add_option("--op", flags.op, "all_reduce, reduce_scatter, all_gather or broadcast; default: the first it serves")
      ->type_name("OP");
  app.add_option("--segment", flags.segment, "elements of a segment")->type_name("N")->capture_default_str();
  app.add_option("--hosts", flags.hosts, "a number for the host of each rank; default: all on one")
      ->type_name("0,0,1,1");
  app.add_option("--root", flags.root, "root of a broadcast")->type_name("RANK")->capture_default_str();
  app.add_option("--wire", flags.wire, "same or narrow: the type of elements under way")
      ->type_name("WIRE")
      ->capture_default_str();
  app.add_flag("--check", flags.check, "prove it, and say what was proven");
  app.add_flag("--json", flags.json, "one JSON object with every action");
}

comm::Status wrong(std::string message) { return {comm::Code::kInvalidArgument, std::move(message)}; }

/// The value whose name is `typed`; `what` is for the error.
template <typename Value, size_t N>
comm::Result<Value> parse_name(const std::string& what, const std::string& typed, const std::array<Value, N>& values) {
  std::vector<std::string> names;
  std::string list;
  for (const Value value : values) {
    if (typed == name(value)) return value;
    names.emplace_back(name(value));
    list += (list.empty() ? "" : ", ") + names.back();
  }
  return wrong("unknown " + what + " '" + typed + "'" + suggestion(typed, names) + "; there are " + list);
}

comm::Result<std::vector<int>> parse_hosts(const std::string& text) {
  std::vector<int> hosts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    int host = 0;
    const auto [parsed, error] = std::from_chars(text.data() + begin, text.data() + end, host);
    if (error != std::errc() || parsed != text.data() + end) {
      return wrong("--hosts " + text + ": a number for each rank, as in 0,0,1,1");
    }
    hosts.push_back(host);
    begin = end + 1;
  }
  return hosts;
}

comm::Result<comm::ScheduleQuery> query_of(const ScheduleFlags& flags) {
  const comm::Algorithm* algorithm = comm::find_algorithm(flags.algorithm);
  if (algorithm == nullptr) {
    std::vector<std::string> names;
    for (const comm::Algorithm& other : comm::algorithms()) names.emplace_back(other.name);
    return wrong("unknown algorithm '" + flags.algorithm + "'" + suggestion(flags.algorithm, names) +
                 "; `rondo schedule` lists them");
  }
  comm::ScheduleQuery query{.goal = algorithm->goals[0], .algorithm = algorithm->name};
  if (!flags.op.empty()) {
    constexpr std::array kGoals{comm::Goal::kAllReduce, comm::Goal::kReduceScatter, comm::Goal::kAllGather,
                                comm::Goal::kBroadcast};
    const auto goal = parse_name("operation", flags.op, kGoals);
    RONDO_TRY(goal);
    query.goal = *goal;
  }
  const auto wire = parse_name("wire", flags.wire, std::array{comm::Wire::kSame, comm::Wire::kNarrow});
  RONDO_TRY(wire);
  auto hosts = parse_hosts(flags.hosts);
  RONDO_TRY(hosts);
  if (flags.world < 1 || flags.world > kMostRanks) {
    return wrong("--world " + std::to_string(flags.world) + ": from 1 to " + std::to_string(kMostRanks) + " ranks");
  }
  query.shape = {.at = {.rank = 0, .world_size = flags.world},
                 .element_count = flags.elements.value_or(int64_t{4} * flags.world),
                 .segment_elements = flags.segment,
                 .wire = *wire,
                 .root = flags.root,
                 .host_of_rank = std::move(*hosts)};
  return query;
}

comm::Result<std::vector<comm::Schedule>> schedules_of(comm::ScheduleQuery query) {
  std::vector<comm::Schedule> ranks;
  for (int rank = 0; rank < query.shape.at.world_size; ++rank) {
    query.shape.at.rank = rank;
    auto schedule = comm::make_schedule(query);
    RONDO_TRY(schedule);
    ranks.push_back(std::move(*schedule));
  }
  return ranks;
}

}  // namespace

void describe_schedule(const DescribeVerb& take) {
  CLI::App app("What each rank does in a collective, hop by hop, as the algorithm's schedule says.", "rondo schedule");
  ScheduleFlags flags;
  add_flags(app, flags);
  set_usage(app, "rondo schedule [ALGORITHM] [flags]");
  take(app);
}

int schedule_command(const std::vector<std::string>& arguments) {
  CLI::App app("What each rank does in a collective, hop by hop, as the algorithm's schedule says.", "rondo schedule");
  app.allow_extras();
  set_usage(app, "rondo schedule [ALGORITHM] [flags]");
  app.footer(footer());
  ScheduleFlags flags;
  add_flags(app, flags);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  if (flags.algorithm.empty()) {
    std::fputs((flags.json ? algorithm_json() : algorithm_list()).c_str(), stdout);
    return kExitOk;
  }
  const auto query = query_of(flags);
  if (!query.ok()) return usage_error(app, query.status().message());
  const auto ranks = schedules_of(*query);
  if (!ranks.ok()) return usage_error(app, ranks.status().message());
  if (!flags.check) {
    std::fputs((flags.json ? schedule_json(*ranks, nullptr) : schedule_table(*ranks)).c_str(), stdout);
    return kExitOk;
  }
  const auto proof =
      comm::check_schedules({.root = flags.root, .host_of_rank = query->shape.host_of_rank, .ranks = *ranks});
  if (!proof.ok()) {
    std::fprintf(stderr, "rondo schedule: this schedule is wrong: %s\n", proof.status().message().c_str());
    return kExitWrongSchedule;
  }
  const std::string text =
      flags.json ? schedule_json(*ranks, &*proof) : schedule_table(*ranks) + "\n" + proof_text(*ranks, *proof);
  std::fputs(text.c_str(), stdout);
  return kExitOk;
}

}  // namespace rondo::launcher
