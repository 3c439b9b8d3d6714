/// One rank of a measured all-reduce over several hosts: joins the job that its environment names, then stops itself
/// (SIGSTOP) before and after the rounds that are counted, so that the test can read what the cables carried meanwhile.
/// Lines on stdout, one JSON object each:
///
///   {"description":"hierarchical over ..."}       a first round is done; it stops next
///   {"seconds":0.123,"bad_payloads":0,"reconnects":0,"warning":""}   all rounds are done and right, and took so long;
///                                                 what its links counted; what was said last; it stops next
///   {"error":"..."}                               instead of any of these
///
/// usage: several_hosts_worker ALGORITHM|default ELEMENTS ROUNDS
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#include "rondo/comm/bootstrap.h"
#include "rondo/comm/collectives.h"

namespace {

using namespace rondo::comm;

[[noreturn]] void end(const std::string& text) {
  std::printf("{\"error\":\"%s\"}\n", text.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

void need(const Status& status) {
  if (!status.ok()) end(status.text());
}

float contribution(int rank, int index) { return static_cast<float>((rank + 1) * 1000 + index % 97); }

/// How long the call took.
Duration reduce_and_check(Group& group, std::vector<float>& values) {
  const int n = group.world_size(), count = static_cast<int>(values.size());
  for (int i = 0; i < count; ++i) values[static_cast<size_t>(i)] = contribution(group.rank(), i);
  need(barrier(group).wait());
  const TimePoint begin = Clock::now();
  need(all_reduce(group, view(values), ReduceOp::kSum).wait());
  const Duration took = Clock::now() - begin;
  for (int i = 0; i < count; ++i) {
    if (values[static_cast<size_t>(i)] != static_cast<float>(n * (n + 1) / 2 * 1000 + n * (i % 97)))
      end("a wrong sum at " + std::to_string(i));
  }
  return took;
}

void say_and_stop(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
  ::raise(SIGSTOP);
}

std::mutex warning_mutex;
std::string warning;

/// What came in over the links of `group` so far.
std::string faults(const Group& group) {
  uint64_t bad_payloads = 0, reconnects = 0;
  for (const LinkStatistics& link : group.links()) {
    bad_payloads += link.bad_payloads;
    reconnects += link.reconnects;
  }
  const std::lock_guard lock(warning_mutex);
  return "\"bad_payloads\":" + std::to_string(bad_payloads) + ",\"reconnects\":" + std::to_string(reconnects) +
         ",\"warning\":\"" + warning + "\"";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string algorithm = std::string(argv[1]) == "default" ? "" : argv[1];
  const auto bootstrap = read_bootstrap({}, process_environment());
  need(detail::to_status(bootstrap));
  const auto keep_warnings = [](LogLevel level, std::string_view line) {
    const std::lock_guard lock(warning_mutex);
    if (level == LogLevel::kWarning) warning = line;
  };
  auto joined = join(*bootstrap, keep_warnings, in_seconds(30));
  need(detail::to_status(joined));
  auto group = Group::create(joined->endpoint, {.algorithm = algorithm}, in_seconds(30));
  need(detail::to_status(group));
  std::vector<float> values(static_cast<size_t>(std::atoi(argv[2])));
  reduce_and_check(*group, values);
  say_and_stop("{\"description\":\"" + group->description() + "\"}");
  Duration all{};
  for (int round = 0; round < std::atoi(argv[3]); ++round) all += reduce_and_check(*group, values);
  say_and_stop("{\"seconds\":" + std::to_string(std::chrono::duration<double>(all).count()) + "," + faults(*group) +
               "}");
  need(group->close(in_seconds(30)));
  need(joined->endpoint.close(in_seconds(30)));
  return 0;
}
