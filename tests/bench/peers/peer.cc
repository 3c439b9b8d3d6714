#include "tests/bench/peers/peer.h"

#include <cstdio>
#include <cstdlib>

#include "comm/bench/facts.h"
#include "comm/bench/pinning.h"
#include "comm/bench/sweep.h"

namespace rondo::bench {
namespace {

constexpr int kFailed = 1, kCorrupt = 6;

comm::Status measure(const Request& request, const char* local_rank_variable, const MakeContender& make,
                     int64_t& wrong) {
  const char* local_rank = std::getenv(local_rank_variable);
  if (local_rank == nullptr) {
    return {comm::Code::kInvalidArgument, std::string(local_rank_variable) + " is not set: this is a driver that " +
                                              "`rondo bench --against` starts"};
  }
  const auto cpu = choose_cpu(request.cpus, std::atoi(local_rank));
  RONDO_TRY(cpu);
  RONDO_TRY(pin_to(*cpu));
  auto contender = make(request);
  RONDO_TRY(contender);
  auto meeting = meet(**contender, request, *cpu);
  RONDO_TRY(meeting);
  auto report = Report::open(request, (*contender)->at().rank);
  RONDO_TRY(report);
  report->header(machine_facts(meeting->cpus));
  RONDO_TRY(sweep(**contender, meeting->room, meeting->plan, Yardstick::kNone, *report));
  wrong = report->wrong();
  return {};
}

}  // namespace

int peer_main(int argc, char** argv, const char* local_rank_variable, const MakeContender& make) {
  const ParsedRequest parsed = parse_request(argc, argv);
  if (!parsed.go_on) return parsed.exit_code;
  int64_t wrong = 0;
  if (const auto status = measure(parsed.request, local_rank_variable, make, wrong); !status.ok()) {
    std::fprintf(stderr, "%s: %s\n", argv[0], status.text().c_str());
    return kFailed;
  }
  if (wrong > 0) std::fprintf(stderr, "%s: %lld elements were wrong\n", argv[0], static_cast<long long>(wrong));
  return wrong > 0 ? kCorrupt : 0;
}

}  // namespace rondo::bench
