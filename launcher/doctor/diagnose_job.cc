#include "launcher/doctor/diagnose_job.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <span>

#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/doctor/checks.h"
#include "launcher/doctor/job_report.h"
#include "rondo/comm/collectives.h"

namespace rondo::launcher {
namespace {

using comm::Code;
using comm::Status;

constexpr int kTimed = 9;                   // all-reduces whose median counts
constexpr double kSecondsForExchange = 30;  // once all are there

/// What a group of all ranks shows.
struct Met {
  std::string transport;
  bool right = true;
  double milliseconds = 0;  // median
};

comm::LogSink warnings(int rank) {
  return [rank](comm::LogLevel level, std::string_view line) {
    if (level < comm::LogLevel::kWarning) return;
    std::fprintf(stderr, "rondo doctor: rank %d: %.*s\n", rank, static_cast<int>(line.size()), line.data());
  };
}

/// 4 bytes over all ranks, a few times.
comm::Result<Met> sum_four_bytes(comm::Group& group) {
  Met met{.transport = group.transport()};
  const int ranks = group.world_size();
  std::array<double, kTimed> times{};
  for (int turn = -1; turn < kTimed; ++turn) {  // the first one pays for what is made once
    std::array<int32_t, 1> sum{group.rank() + 1};
    const auto begin = comm::Clock::now();
    RONDO_TRY(comm::all_reduce(group, comm::view(sum), comm::ReduceOp::kSum, {.tag = "doctor"}).wait());
    const std::chrono::duration<double, std::milli> took = comm::Clock::now() - begin;
    if (turn >= 0) times[static_cast<size_t>(turn)] = took.count();
    if (sum[0] != ranks * (ranks + 1) / 2) met.right = false;
  }
  std::ranges::sort(times);
  met.milliseconds = times[kTimed / 2];
  return met;
}

Diagnosis all_reduce(const Met& met, int ranks) {
  if (!met.right)
    return {.subject = "all-reduce",
            .verdict = Grade::kBad,
            .text = "4 bytes over " + counted(static_cast<size_t>(ranks), "rank") + " give a wrong sum",
            .cure = "`rondo version` on every host, and memory tests: results cannot be trusted"};
  char milliseconds[32];
  std::snprintf(milliseconds, sizeof milliseconds, "%.3f ms", met.milliseconds);
  return {.subject = "all-reduce",
          .text = counted(static_cast<size_t>(ranks), "rank") + " sum 4 bytes right over " + met.transport + ", in " +
                  milliseconds + " (median of " + std::to_string(kTimed) + ")"};
}

/// "started by rondo run": describe() without the rank.
std::string how_started(const comm::Bootstrap& place) {
  const std::string text = place.describe();
  return text.substr(text.rfind("), ") + 3);
}

/// Of the host's first rank: what it says of itself. The variables of the launcher that started it are no trouble here.
HostReport report_of_host(const comm::Bootstrap& place) {
  HostFacts facts = read_host();
  facts.launchers.clear();
  return {.name = place.host_id.empty() ? facts.name : place.host_id,
          .first_rank = place.at.rank,
          .rank_count = place.local_world_size,
          .clock_milliseconds = 0,
          .traits = traits_of(facts),
          .diagnoses = check_host(facts)};
}

int64_t wall_clock() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

HostReport unreadable(int rank, const Status& why) {
  HostReport report{.name = "of rank " + std::to_string(rank), .first_rank = rank, .traits = {}, .diagnoses = {}};
  report.clock_milliseconds = wall_clock();
  report.diagnoses = {{.subject = "Rondo",
                       .verdict = Grade::kBad,
                       .text = why.message(),
                       .cure = "`rondo version` on every host; install the same build"}};
  return report;
}

/// Everything that needs the others. The result is the exit code that rank 0 decided.
comm::Result<int> examine(comm::Group& group, const JobDoctor& doctor, std::optional<HostReport>& own) {
  const comm::Bootstrap& place = doctor.place;
  const auto met = sum_four_bytes(group);
  RONDO_TRY(met);
  RONDO_TRY(comm::barrier(group).wait());
  std::string mine;
  if (own) {
    own->clock_milliseconds = wall_clock();
    mine = encode(*own);
  }
  const auto said = comm::gather(group, std::as_bytes(std::span(mine)), {.rank = 0},
                                 comm::in_seconds(kSecondsForExchange), {.tag = "doctor"});
  RONDO_TRY(said);
  std::array<int32_t, 2> wrong_then_code{met->right ? 0 : 1, kExitOk};
  RONDO_TRY(comm::all_reduce(group, comm::view(wrong_then_code), comm::ReduceOp::kMax).wait());
  if (group.rank() == 0) {
    JobReport report{.rank_count = group.world_size(), .started = how_started(place), .hosts = {}, .all_ranks = {}};
    for (size_t rank = 0; rank < said->size(); ++rank) {
      const auto& bytes = (*said)[rank];
      if (bytes.empty()) continue;
      auto host = decode_host_report({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      report.hosts.push_back(host.ok() ? *std::move(host) : unreadable(static_cast<int>(rank), host.status()));
    }
    report.all_ranks.push_back(
        all_reduce({.transport = met->transport, .right = wrong_then_code[0] == 0, .milliseconds = met->milliseconds},
                   report.rank_count));
    std::fputs((doctor.output == JobDoctor::Output::kJson ? job_json(report) : job_text(report)).c_str(), stdout);
    std::fflush(stdout);
    wrong_then_code[1] = worst(report) == Grade::kBad ? kExitPreflight : kExitOk;
  }
  RONDO_TRY(comm::broadcast(group, comm::view(wrong_then_code), {.rank = 0}).wait());
  return wrong_then_code[1];
}

comm::Result<int> meet_and_examine(const JobDoctor& doctor, std::optional<HostReport>& own) {
  const comm::Deadline deadline = comm::after(std::chrono::duration_cast<comm::Duration>(doctor.timeout));
  auto joined = comm::join(doctor.place, warnings(doctor.place.at.rank), deadline);
  RONDO_TRY(joined);
  auto group = comm::Group::create(joined->endpoint, {}, deadline);
  RONDO_TRY(group);
  const auto code = examine(*group, doctor, own);
  RONDO_TRY(code);
  const comm::Deadline end = comm::in_seconds(kSecondsForExchange);
  RONDO_TRY(group->close(end));
  RONDO_TRY(joined->endpoint.close(end));
  return code;
}

}  // namespace

int diagnose_job(const JobDoctor& doctor) {
  std::optional<HostReport> own;  // other programs are asked, which is over before there are threads
  if (doctor.place.local_rank == 0) own = report_of_host(doctor.place);
  const auto code = meet_and_examine(doctor, own);
  if (code.ok()) return *code;
  std::vector<Diagnosis> diagnoses = own ? own->diagnoses : std::vector<Diagnosis>();
  std::erase_if(diagnoses, [](const Diagnosis& line) { return line.verdict < Grade::kWarning; });
  diagnoses.push_back(
      {.subject = "job",
       .verdict = Grade::kBad,
       .text = doctor.place.describe() + ", and the ranks did not come together: " + code.status().text(),
       .cure = "is `rondo doctor` started as every rank, with one secret (RONDO_SECRET_FILE), and do "
               "the hosts reach each other (addresses, firewall, RONDO_INTERFACE)? --here looks at "
               "this host alone"});
  const bool json = doctor.output == JobDoctor::Output::kJson;
  std::fputs((json ? diagnoses_json(diagnoses) : diagnoses_text(diagnoses)).c_str(), stdout);
  std::fflush(stdout);
  return code.status().code() == Code::kInvalidArgument ? kExitUsage : kExitRendezvous;
}

}  // namespace rondo::launcher
