/// The wrapper: replicas of a module that stay equal, and gradients averaged while backward runs.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rondo/job.h"

namespace rondo {

namespace trainer {
class Replica;  // private to Rondo
}

enum class Overlap : uint8_t { kOn, kOff };
enum class BufferSync : uint8_t { kBroadcast, kNone };

struct ReplicaOptions {
  int64_t bucket_cap_bytes = int64_t{25} << 20;
  int64_t first_bucket_bytes = int64_t{1} << 20;
  Overlap overlap = Overlap::kOn;               // kOff: everything is launched after the last gradient; same bits
  BufferSync buffers = BufferSync::kBroadcast;  // of rank 0, at the end of each synced backward
};

/// What the last synced backward did. Times in microseconds since its first gradient arrived.
struct StepStatistics {
  int64_t step = 0;             // number of completed reductions
  int64_t first_launch_us = 0;  // the first bucket went out
  int64_t last_ready_us = 0;    // the last gradient arrived
  int64_t backward_end_us = 0;  // autograd had nothing left to do
  int64_t exposed_us = 0;       // reduction that backward did not hide
  int64_t bucket_count = 0;
  int64_t bucket_bytes = 0;
};

/// Backwards inside this scope accumulate on this rank only and need no step point.
class [[nodiscard]] NoSync {
 public:
  explicit NoSync(std::shared_ptr<trainer::Replica> replica);
  ~NoSync();
  NoSync(const NoSync&) = delete;
  NoSync& operator=(const NoSync&) = delete;

 private:
  std::shared_ptr<trainer::Replica> replica_;  // shared with the wrapper
};

/// Keeps the replicas of `module` equal: compares them over all ranks, gives every rank rank 0's values, and from then
/// on makes every `.grad` the mean over all ranks when backward() returns. The module stays the caller's and must
/// outlive this.
///
/// Blocks:  the constructor, backward() and the step point, each until all ranks came or the operation timeout passed.
/// Errors:  kInvalidArgument (no parameter needs gradients, ...), kMismatch naming both sides, kPeerLost, kTimeout.
class DistributedDataParallel {
 public:
  DistributedDataParallel(const Job& job, torch::nn::Module& module, const ReplicaOptions& options = {});
  ~DistributedDataParallel();
  DistributedDataParallel(const DistributedDataParallel&) = delete;
  DistributedDataParallel& operator=(const DistributedDataParallel&) = delete;

  /// For uneven batches: `mean_loss` is the mean over `count` samples or tokens of this rank; the gradient becomes the
  /// mean over all samples of all ranks. Call it for every backward of a step, on every rank, before backward. 0 is
  /// allowed.
  at::Tensor weigh(const at::Tensor& mean_loss, double count);
  NoSync no_sync();
  /// From now on every BatchNorm1d, 2d and 3d of the module normalises over the batch of all ranks in training mode, in
  /// forward and backward, and keeps running statistics that are equal on all ranks. Batches may differ in size, also
  /// be empty. Call it on every rank. Cost: an exchange of three numbers a channel in forward and two in backward.
  void sync_batch_norm();
  /// This rank cannot do the step under way, for example because its forward threw and the program goes on. Its next
  /// step point or zero_grad() then makes all ranks skip the step and log `cause`. A backward that threw needs no call,
  /// nor does a step point or zero_grad() inside the catch block.
  void skip_step(const std::string& cause);
  /// The step point of a plain LibTorch optimizer.
  void step(torch::optim::Optimizer& optimizer);

  StepStatistics statistics() const;
  /// "ring over tcp, order by chunk; 3 buckets, 1.7 MB".
  std::string description() const;
  const std::shared_ptr<trainer::Replica>& replica() const { return replica_; }

 private:
  std::shared_ptr<trainer::Replica> replica_;  // shared with optimizers and NoSync scopes
};

/// Every parameter of `module` once. LibTorch's parameters() lists a tied one as often as it is registered.
std::vector<at::Tensor> parameters(const torch::nn::Module& module);

namespace trainer {
/// Drops repeated parameters, keeping the first.
void deduplicate(std::vector<at::Tensor>& parameters);
}  // namespace trainer

}  // namespace rondo
