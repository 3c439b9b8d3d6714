/// What may fail on one rank and must then fail on all: none goes on alone. Disks may be slower than a collective may
/// take, so ranks meet in the patient group: a rank that died is noticed at once, one that is slow has two hours.
#pragma once

#include <exception>
#include <string>

#include "rondo/comm/work.h"
#include "rondo/job.h"

namespace rondo::trainer {

/// Collective. Throws `error` where there is one; elsewhere that a rank could not do `what` ("save a checkpoint").
void fail_together(const Job& job, const std::string& what, const std::exception_ptr& error);

/// Waits for `work` of the patient group; what it carries must be there as long as this is. Throws what went wrong.
void wait_patiently(const std::string& what, comm::Work work);

template <typename Action>
void on_every_rank(const Job& job, const std::string& what, const Action& action) {
  std::exception_ptr error;
  try {
    action();
  } catch (const std::exception&) {
    error = std::current_exception();
  }
  fail_together(job, what, error);
}

/// `action` on rank 0 alone.
template <typename Action>
void on_rank_zero(const Job& job, const std::string& what, const Action& action) {
  on_every_rank(job, what, [&] {
    if (job.rank == 0) action();
  });
}

}  // namespace rondo::trainer
