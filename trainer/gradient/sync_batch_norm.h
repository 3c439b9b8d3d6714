/// BatchNorm over the batch of all ranks, without replacing a module: typed members would keep the old one.
///
/// LibTorch's modules all end in the operator aten::batch_norm. A kernel of ours stands in front of it; it synchronises
/// calls in training mode that carry the running mean or the weight of a registered module and passes all others on.
///
/// Forward: one all_gather of count, mean and sum of squared deviations of each channel (float64), combined in rank
/// order (Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances"), so that
/// running statistics are bit-equal on all ranks. Backward: the same with two sums for each channel. Ranks may have
/// batches of different sizes, also none. Weight and bias get this rank's part of their gradients, as of any other
/// parameter.
///
/// Blocks: forward and backward, until all ranks came. Errors: rondo::Error, also where another rank gave the step up.
/// Threading: that of the training thread.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <memory>
#include <vector>

#include "trainer/gradient/batch_norm_exchange.h"
#include "trainer/init/job_state.h"

namespace rondo::trainer {

class SyncBatchNorm {
 public:
  /// Registers every BatchNorm in `module`, until this is destroyed. Throws when there is none, or one without
  /// weight and running statistics: nothing would tell its calls from others.
  SyncBatchNorm(JobState& job, const torch::nn::Module& module);
  ~SyncBatchNorm();
  SyncBatchNorm(const SyncBatchNorm&) = delete;
  SyncBatchNorm& operator=(const SyncBatchNorm&) = delete;

 private:
  std::vector<at::Tensor> keys_;                 // kept, so that no other tensor gets their address
  std::shared_ptr<BatchNormExchange> exchange_;  // shared with the job and with graphs in flight
};

}  // namespace rondo::trainer
