/// One rank of any launcher, without LibTorch: joins the job that its environment names, sums over all ranks, and says
/// in one line where it stands. A job of its own has its own `salt`: sums of two jobs that met would show it. `bits`
/// are those of sums of floats, a hash; they depend on the order of the ranks, and on nothing else.
///
/// usage: launched_comm [SALT=1] [die|stop|late]
///     die: rank 1 kills itself; the others wait for it until they are told
///     stop: every rank stops itself (SIGSTOP) once its line is out, so that a test can look at it
///     late: rank 1 stops itself before it joins; the others give up after 3 s
///
/// A rank that dies holds as much memory as one that trains. MPICH's launcher kills the others with SIGKILL as soon as
/// it sees the end of one, which is when the kernel has taken its memory apart; the peers know of it before that.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rondo/comm/bootstrap.h"
#include "rondo/comm/collectives.h"

namespace rondo::comm {
namespace {

int rank = -1;

void need(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "launched_comm: %s\n", status.text().c_str());
  std::fflush(stderr);
  std::_Exit(1);
}

template <typename T>
T need(Result<T> result) {
  need(result.status());
  return *std::move(result);
}

void log(LogLevel level, std::string_view text) {
  if (level < LogLevel::kInfo) return;
  const std::string line = "rondo[" + std::to_string(rank) + "]: " + std::string(text) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

/// FNV-1a of the sums over all ranks, of one element, of a few and of several segments.
uint64_t bits_of_sums(Group& group) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const size_t elements : {size_t{1}, size_t{1000}, size_t{300'007}}) {
    std::vector<float> sum(elements);
    for (size_t i = 0; i < elements; ++i)
      sum[i] = static_cast<float>(i % 977 + 1) / static_cast<float>(3 * group.rank() + 7);
    need(all_reduce(group, view(sum), ReduceOp::kSum).wait(in_seconds(20)));
    for (const std::byte byte : std::as_bytes(std::span(sum)))
      hash = (hash ^ std::to_integer<uint64_t>(byte)) * 0x100000001b3;
  }
  return hash;
}

void run(int argc, char** argv) {
  const int64_t salt = argc > 1 ? std::atoi(argv[1]) : 1;
  constexpr size_t kTrainingBytes = size_t{256} << 20;
  const std::string_view trouble = argc > 2 ? argv[2] : "";
  const Bootstrap bootstrap = need(read_bootstrap({}, process_environment()));
  rank = bootstrap.at.rank;
  if (rank == 0) log(LogLevel::kInfo, bootstrap.describe());
  if (trouble == "late" && rank == 1) std::raise(SIGSTOP);
  Joined joined = need(join(bootstrap, log, in_seconds(trouble == "late" ? 3 : 20)));
  Group group = need(Group::create(joined.endpoint, {}, in_seconds(20)));
  const auto sum_over_ranks = [&] {
    std::vector<int64_t> sum{salt * (rank + 1)};
    need(all_reduce(group, view(sum), ReduceOp::kSum).wait(in_seconds(20)));
    return sum.front();
  };
  const int64_t sum = sum_over_ranks();
  const std::string line =
      "launched pid=" + std::to_string(::getpid()) + " rank=" + std::to_string(rank) +
      " world=" + std::to_string(bootstrap.at.world_size) + " local_rank=" + std::to_string(bootstrap.local_rank) +
      " local_world=" + std::to_string(bootstrap.local_world_size) + " sum=" + std::to_string(sum) +
      " bits=" + std::to_string(bits_of_sums(group)) + " links=" + group.transport() + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
  if (trouble == "stop") std::raise(SIGSTOP);
  if (trouble == "die") {
    const std::vector<char> ballast(kTrainingBytes, 1);
    (void)sum_over_ranks();
    if (rank == 1) std::raise(SIGKILL);
    (void)sum_over_ranks();
  }
  need(group.close(in_seconds(10)));
  need(joined.endpoint.close(in_seconds(10)));
}

}  // namespace
}  // namespace rondo::comm

int main(int argc, char** argv) { rondo::comm::run(argc, argv); }
