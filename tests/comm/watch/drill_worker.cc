/// One rank of a drill: joins the job that its environment names, all-reduces and checks the sums until something ends
/// it, and says what it saw. Lines on stdout, one JSON object each:
///
///   {"ready":1}                                   the first collective is done
///   {"digest":"..."}                              all rounds are done: a digest of all results
///   {"code":"kPeerLost","peer":2,"text":"...","at_ns":...,"alarmed_ns":...}   it ended by an error: when the call
///                                                 returned, and when this rank's keeper knew (CLOCK_MONOTONIC)
///
/// usage: drill_worker [rounds=N] [leave=N] [abort=N] [timeout_ms=30000] [create_ms=20000] [elements=5000] [linger=0]
/// [rss_mib=0]
///   rounds=0: until an error; abort: aborts the group after so many rounds; leave: closes the group and its endpoint
///   after so many rounds; linger=1: stays after an error, so that nobody learns of the first death by a second one;
///   rss_mib: memory that the kernel must take apart at its death
#include <poll.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "comm/base/crc32c.h"
#include "comm/group/endpoint_state.h"
#include "comm/watch/flight_recorder.h"
#include "rondo/comm/bootstrap.h"
#include "rondo/comm/collectives.h"

namespace {

using namespace rondo::comm;

uint64_t now_ns() { return flight_time(Clock::now()); }

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

/// When this rank's keeper knew of the abort; it looks once a beat.
uint64_t alarmed_ns(const Joined* joined) {
  const auto recorder = joined != nullptr ? joined->endpoint.state()->options().flight : nullptr;
  const Deadline deadline = in_seconds(2);
  while (recorder && !deadline.passed(Clock::now())) {
    const auto flight = read_flight(recorder->bytes());
    if (flight.ok() && flight->alarmed_ns != 0) return flight->alarmed_ns;
    joined->endpoint.env().idle({}, std::chrono::milliseconds(1));
  }
  return 0;
}

bool linger = false;

[[noreturn]] void end(const Status& why, uint64_t at, const Joined* joined) {
  const bool group_was_there = why.where().operation != "group creation" && joined != nullptr;
  std::printf("{\"code\":\"%s\",\"peer\":%d,\"text\":\"%s\",\"at_ns\":%" PRIu64 ",\"alarmed_ns\":%" PRIu64 "}\n",
              std::string(name(why.code())).c_str(), why.where().peer, escaped(why.text()).c_str(), at,
              group_was_there ? alarmed_ns(joined) : 0);
  std::fflush(stdout);
  while (linger) ::poll(nullptr, 0, 1000);
  std::_Exit(1);
}

float contribution(int rank, int index, int round) {
  return static_cast<float>((rank + 1) * 1000 + (index + round) % 97);
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, int> setting{{"rounds", 0},         {"leave", 0},       {"abort", 0},  {"timeout_ms", 30'000},
                                     {"create_ms", 20'000}, {"elements", 5000}, {"linger", 0}, {"rss_mib", 0}};
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    setting[word.substr(0, word.find('='))] = std::atoi(word.c_str() + word.find('=') + 1);
  }
  linger = setting["linger"] != 0;
  const Deadline formed = after(std::chrono::milliseconds(setting["create_ms"]));
  const auto bootstrap = read_bootstrap({}, process_environment());
  if (!bootstrap.ok()) end(bootstrap.status(), now_ns(), nullptr);
  const auto joined = join(*bootstrap, {}, formed);
  if (!joined.ok()) end(joined.status(), now_ns(), nullptr);
  const GroupOptions options{.operation_timeout = std::chrono::milliseconds(setting["timeout_ms"])};
  auto group = Group::create(joined->endpoint, options, formed);
  if (!group.ok()) end(group.status(), now_ns(), &*joined);

  const int n = group->world_size(), count = setting["elements"];
  std::vector<float> values(static_cast<size_t>(count));
  const std::vector<char> ballast(static_cast<size_t>(setting["rss_mib"]) << 20, 1);
  uint32_t digest = 0;
  for (int round = 0; setting["rounds"] == 0 || round < setting["rounds"]; ++round) {
    if (setting["leave"] != 0 && round == setting["leave"]) break;
    if (setting["abort"] != 0 && round == setting["abort"]) group->abort("the drill says so");
    for (int i = 0; i < count; ++i) values[static_cast<size_t>(i)] = contribution(group->rank(), i, round);
    const Status status =
        all_reduce(*group, view(values), ReduceOp::kSum, {.tag = "bucket " + std::to_string(round % 4)}).wait();
    if (!status.ok()) end(status, now_ns(), &*joined);
    for (int i = 0; i < count; ++i) {
      if (values[static_cast<size_t>(i)] != static_cast<float>(n * (n + 1) / 2 * 1000 + n * ((i + round) % 97)))
        end(Status(Code::kCorrupt, "a wrong sum"), now_ns(), &*joined);
    }
    digest ^= crc32c(std::as_bytes(std::span(values))) + static_cast<uint32_t>(round);
    if (round == 0) std::printf("{\"ready\":1}\n"), std::fflush(stdout);
  }
  std::printf("{\"digest\":\"%08x\"}\n", digest);
  std::fflush(stdout);
  const Status closed = group->close(in_seconds(10));
  if (!closed.ok()) end(closed, now_ns(), &*joined);
  const Status left = Endpoint(joined->endpoint).close(in_seconds(10));
  if (!left.ok()) end(left, now_ns(), &*joined);
  return 0;
}
