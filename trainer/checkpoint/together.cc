#include "trainer/checkpoint/together.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "rondo/comm/collectives.h"
#include "rondo/error.h"
#include "trainer/init/job_state.h"
#include "trainer/torch_bridge/errors.h"

namespace rondo::trainer {
namespace {

constexpr std::chrono::hours kPatience{2};  // by then a disk is stuck

}  // namespace

void wait_patiently(const std::string& what, comm::Work work) {
  const comm::Status status = work.wait(comm::after(kPatience));
  if (!status.is_pending()) return throw_if_error(status);
  // The work is dropped, which ends this wait on all ranks.
  throw Error("not all ranks were ready to " + what + " together after " + std::to_string(kPatience.count()) +
                  " hours: a slow or stuck disk at one of them?",
              Error::Details{.exit_code = ExitCode::kHang, .code = "kTimeout"});
}

void fail_together(const Job& job, const std::string& what, const std::exception_ptr& error) {
  std::vector<int64_t> mine{error ? 1 : 0}, failed(static_cast<size_t>(job.world_size));
  wait_patiently(what,
                 comm::all_gather(job.state()->patient_group(), comm::view(mine), comm::view(failed), {.tag = what}));
  if (error) std::rethrow_exception(error);
  for (int rank = 0; rank < job.world_size; ++rank) {
    if (failed[static_cast<size_t>(rank)] == 0) continue;
    throw Error("rank " + std::to_string(rank) + " could not " + what + "; its own message says why",
                Error::Details{.culprit_rank = rank});
  }
}

}  // namespace rondo::trainer
