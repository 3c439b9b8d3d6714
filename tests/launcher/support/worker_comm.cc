#include "tests/launcher/support/worker_comm.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

#include "rondo/comm/bootstrap.h"
#include "rondo/comm/collectives.h"

namespace rondo::test {
namespace {

struct Membership {
  comm::Joined joined;
  comm::Group group;
  int bucket = 0;
};

void need(const comm::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.text().c_str());
  std::fflush(stderr);
  std::_Exit(1);
}

template <typename T>
T need(comm::Result<T> result) {
  need(result.status());
  return *std::move(result);
}

void say(const char* line) {
  std::printf("%s\n", line);
  std::fflush(stdout);
}

Membership join(std::chrono::milliseconds timeout) {
  const auto bootstrap = need(comm::read_bootstrap({}, comm::process_environment()));
  auto joined = need(comm::join(bootstrap, {}, comm::in_seconds(30)));
  auto group = need(comm::Group::create(joined.endpoint, {.operation_timeout = timeout}, comm::in_seconds(30)));
  say("joined");
  return {.joined = std::move(joined), .group = std::move(group)};
}

float contribution(int rank, int index) { return static_cast<float>((rank + 1) * 1000 + index % 97); }

void reduce(Membership& in, int count) {
  const int n = in.group.world_size();
  std::vector<float> values(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) values[static_cast<size_t>(i)] = contribution(in.group.rank(), i);
  need(comm::all_reduce(in.group, comm::view(values), comm::ReduceOp::kSum,
                        {.tag = "bucket " + std::to_string(in.bucket++)})
           .wait());
  for (int i = 0; i < count; ++i) {
    const auto sum = static_cast<float>(n * (n + 1) / 2 * 1000 + n * (i % 97));
    if (values[static_cast<size_t>(i)] != sum) need(comm::Status(comm::Code::kCorrupt, "a wrong sum"));
  }
}

void broadcast(Membership& in, int count) {
  std::vector<float> values(static_cast<size_t>(count), static_cast<float>(in.group.rank()));
  need(comm::broadcast(in.group, comm::view(values), comm::Root{0}, {.tag = "bucket " + std::to_string(in.bucket++)})
           .wait());
}

}  // namespace

void leave_a_late_rank(const std::string& path) {
  if (std::string(std::getenv("RONDO_GENERATION")) != "0") return;
  // The launcher kills the process group of a rank that ended: this one ends only when the late one is out of it.
  std::array<int, 2> out_of_reach{};
  if (::pipe2(out_of_reach.data(), O_CLOEXEC) != 0) std::_Exit(94);
  const pid_t late = ::fork();
  if (late < 0) std::_Exit(94);
  if (late != 0) {
    ::close(out_of_reach[1]);
    char nothing = 0;
    if (::read(out_of_reach[0], &nothing, 1) != 0) std::_Exit(94);  // its end closes when it is out, or dead
    ::close(out_of_reach[0]);
    return;
  }
  ::setsid();
  ::alarm(60);  // nobody else ends it, should the test die
  for (const int end : out_of_reach) ::close(end);
  const std::string sign = std::string(std::getenv("RONDO_RUN_DIR")) + "/logs/attempt-1/rank-0001.out";
  const auto works = [&] {
    std::ostringstream text;
    text << std::ifstream(sign).rdbuf();
    return text.str().find("together") != std::string::npos;
  };
  while (!works()) ::poll(nullptr, 0, 10);
  const auto status = [] {
    const auto bootstrap = comm::read_bootstrap({}, comm::process_environment());
    RONDO_TRY(bootstrap);
    auto joined = comm::join(*bootstrap, {}, comm::in_seconds(2));
    RONDO_TRY(joined);
    const auto group = comm::Group::create(joined->endpoint, {}, comm::in_seconds(2));
    return comm::Status(group.status());
  }();
  std::ofstream(path + ".part") << (status.ok() ? "joined" : "refused: " + status.text());
  std::rename((path + ".part").c_str(), path.c_str());
  std::_Exit(0);
}

bool act_in_comm(const std::string& name, int number) {
  static std::chrono::milliseconds timeout{30'000};
  static std::optional<Membership> membership;
  if (name == "timeout") {
    timeout = std::chrono::milliseconds(number);
  } else if (name == "join") {
    membership.emplace(join(timeout));
  } else if (name == "reduce") {
    reduce(*membership, number);
  } else if (name == "broadcast") {
    broadcast(*membership, number);
  } else if (name == "leave") {
    need(membership->group.close(comm::in_seconds(10)));
    need(membership->joined.endpoint.close(comm::in_seconds(10)));
    say("left");
  } else {
    return false;
  }
  return true;
}

}  // namespace rondo::test
