/// A program that has started MPI itself and keeps it: joins the job that its launcher's variables name, sums over all
/// ranks by Rondo, ends its part of the job, and then sums by MPI.
///
/// usage: own_mpi single|serialized     what MPI is started for: calls from one thread alone, or from any
#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "rondo/comm/bootstrap.h"
#include "rondo/comm/collectives.h"

namespace rondo::comm {
namespace {

void need(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "own_mpi: %s\n", status.text().c_str());
  std::fflush(stderr);
  std::_Exit(1);
}

template <typename T>
T need(Result<T> result) {
  need(result.status());
  return *std::move(result);
}

void run(bool any_thread) {
  int level = -1;
  MPI_Init_thread(nullptr, nullptr, any_thread ? MPI_THREAD_SERIALIZED : MPI_THREAD_SINGLE, &level);
  std::vector<int64_t> by_rondo, by_mpi(1);
  const Bootstrap bootstrap = need(read_bootstrap({}, process_environment()));
  {
    Joined joined = need(join(bootstrap, {}, in_seconds(20)));
    Group group = need(Group::create(joined.endpoint, {}, in_seconds(20)));
    by_rondo = {bootstrap.at.rank + 1};
    need(all_reduce(group, view(by_rondo), ReduceOp::kSum).wait(in_seconds(20)));
    need(group.close(in_seconds(10)));
    need(joined.endpoint.close(in_seconds(10)));
  }
  int64_t own = bootstrap.at.rank + 1;
  MPI_Allreduce(&own, by_mpi.data(), 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  MPI_Finalize();
  const std::string line = "own rank=" + std::to_string(bootstrap.at.rank) + " by rondo " +
                           std::to_string(by_rondo.front()) + " by mpi " + std::to_string(by_mpi.front()) + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
}

}  // namespace
}  // namespace rondo::comm

int main(int argc, char** argv) { rondo::comm::run(argc > 1 && std::string_view(argv[1]) == "serialized"); }
