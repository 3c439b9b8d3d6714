/// One rank of a measured all-reduce over several hosts: joins the job that its environment names, then stops itself
/// (SIGSTOP) before and after the rounds that are counted, so that the test can read what the cables carried meanwhile.
/// Lines on stdout, one JSON object each:
///
///   {"description":"hierarchical over ..."}       a first round is done; it stops next
///   {"seconds":0.123}                             all rounds are done and right, and took so long; it stops next
///   {"error":"..."}                               instead of any of these
///
/// usage: several_hosts_worker ALGORITHM|default ELEMENTS ROUNDS
#include <signal.h>

#include <cstdio>
#include <cstdlib>
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

void say_and_stop(const char* format, const auto& value) {
  std::printf(format, value);
  std::fflush(stdout);
  ::raise(SIGSTOP);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string algorithm = std::string(argv[1]) == "default" ? "" : argv[1];
  const auto bootstrap = read_bootstrap({}, process_environment());
  need(detail::to_status(bootstrap));
  auto joined = join(*bootstrap, {}, in_seconds(30));
  need(detail::to_status(joined));
  auto group = Group::create(joined->endpoint, {.algorithm = algorithm}, in_seconds(30));
  need(detail::to_status(group));
  std::vector<float> values(static_cast<size_t>(std::atoi(argv[2])));
  reduce_and_check(*group, values);
  say_and_stop("{\"description\":\"%s\"}\n", group->description().c_str());
  Duration all{};
  for (int round = 0; round < std::atoi(argv[3]); ++round) all += reduce_and_check(*group, values);
  say_and_stop("{\"seconds\":%.6f}\n", std::chrono::duration<double>(all).count());
  need(group->close(in_seconds(30)));
  need(joined->endpoint.close(in_seconds(30)));
  return 0;
}
