/// What may fail on one rank and must then fail on all: none goes on alone.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/scalar_tensor.h>

#include <exception>
#include <string>

#include "rondo/error.h"
#include "rondo/job.h"

namespace rondo::trainer {

/// Collective. Throws `error` where there is one; elsewhere that a rank could not do `what` ("save a checkpoint").
inline void fail_together(const Job& job, const std::string& what, const std::exception_ptr& error) {
  const at::Tensor failed = job.all_gather(at::scalar_tensor(error ? 1 : 0, at::kLong));
  if (error) std::rethrow_exception(error);
  for (int rank = 0; rank < job.world_size; ++rank) {
    if (failed[rank].item<int64_t>() == 0) continue;
    throw Error("rank " + std::to_string(rank) + " could not " + what + "; its own message says why",
                Error::Details{.culprit_rank = rank});
  }
}

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
