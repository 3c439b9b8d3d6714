/// rondo-comm-bench: one rank of `rondo bench`. Runs under `rondo run`, torchrun's variables, or flags by hand.
#include <cstdio>

#include "comm/bench/facts.h"
#include "comm/bench/flag_latency.h"
#include "comm/bench/pinning.h"
#include "comm/bench/rondo_contender.h"
#include "comm/bench/studies.h"
#include "comm/bench/sweep.h"
#include "comm/kernels/kernels.h"

namespace rondo::bench {
namespace {

using comm::Code;
using comm::Status;

// The exit codes of `rondo` (its --help has the table).
enum ExitCode : int { kOk = 0, kFailed = 1, kUsage = 2, kRendezvous = 4, kCorrupt = 6 };

constexpr double kCloseSeconds = 20;

int complain(const Status& status) {
  const bool users_mistake = status.code() == Code::kInvalidArgument || status.code() == Code::kUnsupported;
  std::fprintf(stderr, "rondo bench: %s\n", users_mistake ? status.message().c_str() : status.text().c_str());
  if (users_mistake) return kUsage;
  return status.code() == Code::kCorrupt ? kCorrupt : kFailed;
}

std::string nanoseconds_text(const std::optional<double>& value) {
  if (!value) return "not measured (one rank, or ranks share cores)";
  char text[32];
  std::snprintf(text, sizeof text, "%.0f ns one way", *value);
  return text;
}

/// `rondo bench --against` and people compare only figures of a release build.
Status check_build(const Request& request) {
  if (is_release_build() || request.quick) return {};
  return {Code::kUnsupported, "figures come from a release build and this one is " + build_type() +
                                  ": use `./dev bench`, or --quick for a trial whose figures are marked"};
}

/// A rank that has joined its job, bound to its cpu.
struct Rank {
  const Request& request;
  const comm::Bootstrap& place;
  int cpu = 0;
  const comm::Endpoint& endpoint;
  const CountingStore* store = nullptr;  // create only
};

/// The measuring itself.
Status measure(const Rank& rank, Report& report) {
  const Request& request = rank.request;
  const auto memory = request.unregistered ? Label::Memory::kOrdinary : Label::Memory::kRegistered;
  auto contender = RondoContender::create(rank.endpoint, {.algorithm = request.algorithm, .memory = memory});
  RONDO_TRY(contender);
  auto meeting = meet(**contender, request, rank.cpu);
  RONDO_TRY(meeting);
  Room& room = meeting->room;
  const Plan& plan = meeting->plan;

  const auto before = flag_latency(room, comm::in_seconds(kCloseSeconds));
  RONDO_TRY(before);
  Facts facts = machine_facts(meeting->cpus);
  facts.emplace_back("ranks", rank.place.describe());
  facts.emplace_back("group", (*contender)->description());
  facts.emplace_back("kernels", std::string(comm::kernel_target()));
  facts.emplace_back("buffers", request.unregistered ? "ordinary memory" : "registered memory");
  if (request.quick) facts.emplace_back("sweep", "quick: shows that it works, no figure to quote");
  facts.emplace_back("flag latency before", nanoseconds_text(*before));
  report.header(facts);
  if (request.choices) report.print((*contender)->choices());

  if (plan.operation == "mismatch") {
    RONDO_TRY(study_mismatch(rank.endpoint, room, plan, report));
  } else if (plan.operation == "create") {
    RONDO_TRY(study_create(rank.endpoint, room, plan, *rank.store, report));
  } else {
    RONDO_TRY(sweep(**contender, room, plan, Yardstick::kCopyRate, report));
  }
  const auto after = flag_latency(room, comm::in_seconds(kCloseSeconds));
  RONDO_TRY(after);
  report.print("# flag latency after: " + nanoseconds_text(*after) + "\n");
  return (*contender)->close(comm::in_seconds(kCloseSeconds));
}

int answer(const Request& request) {
  if (request.action == Request::Action::kList) {
    std::fputs(operation_list().c_str(), stdout);
    return kOk;
  }
  const auto plan = make_plan(request, {.world_size = request.ranks, .cores = Cores::kOwn});
  if (!plan.ok()) return complain(plan.status());
  std::vector<int> cpus = pinning_order(usable_processors());
  cpus.resize(std::min(cpus.size(), static_cast<size_t>(request.ranks)));
  std::fputs(plan_json(*plan, cpus).c_str(), stdout);
  return kOk;
}

int run_one_rank(int argc, char** argv) {
  const ParsedRequest parsed = parse_request(argc, argv);
  if (!parsed.go_on) return parsed.exit_code;
  const Request& request = parsed.request;
  if (const Status fit = check_build(request); request.action != Request::Action::kList && !fit.ok()) {
    return complain(fit);
  }
  if (request.action != Request::Action::kMeasure) return answer(request);

  const auto place = find_place(request);
  if (!place.ok()) return complain(place.status());
  // Before anything is opened, and the same on every rank.
  const auto plan = make_plan(request, {.world_size = place->at.world_size, .cores = Cores::kOwn});
  if (!plan.ok()) return complain(plan.status());
  const auto cpu = choose_cpu(request.cpus, place->local_rank);
  if (!cpu.ok()) return complain(cpu.status());
  if (const Status pinned = pin_to(*cpu); !pinned.ok()) return complain(pinned);
  auto report = Report::open(request, place->at.rank);
  if (!report.ok()) return complain(report.status());
  std::shared_ptr<CountingStore> store;  // shared with the endpoint
  WrapStore wrap;
  if (request.operation == "create") {
    wrap = [&](std::shared_ptr<comm::Store> inner) {
      return store = std::make_shared<CountingStore>(std::move(inner));
    };
  }
  auto joined = join_job(*place, request, wrap);
  if (!joined.ok()) {
    const int code = complain(joined.status());
    return code == kFailed ? kRendezvous : code;
  }
  const Rank rank{.request = request, .place = *place, .cpu = *cpu, .endpoint = joined->endpoint, .store = store.get()};
  if (const Status done = measure(rank, *report); !done.ok()) return complain(done);
  if (const Status closed = joined->endpoint.close(comm::in_seconds(kCloseSeconds)); !closed.ok()) {
    return complain(closed);
  }
  if (report->wrong() > 0) {
    std::fprintf(stderr, "rondo bench: %lld results were wrong\n", static_cast<long long>(report->wrong()));
    return kCorrupt;
  }
  return kOk;
}

}  // namespace
}  // namespace rondo::bench

int main(int argc, char** argv) { return rondo::bench::run_one_rank(argc, argv); }
