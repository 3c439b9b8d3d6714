/// The wrapper: replicas of a module that stay equal, and gradients averaged while backward runs.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rondo/comm_hook.h"
#include "rondo/job.h"
#include "rondo/step_statistics.h"

namespace rondo {

namespace trainer {
class Replica;  // private to Rondo
}

enum class Overlap : uint8_t { kOn, kOff };
/// What a buffer gets at the end of a synced backward: the value of the lowest rank with data (rank 0, unless it ran
/// out); the mean over ranks with data (integers and bools: as before); ReplicaOptions::reduce_buffer; nothing.
enum class BufferSync : uint8_t { kBroadcast, kMean, kCustom, kNone };
/// Whether a backward may leave parameters without a gradient. kRefused: it throws, naming them and their modules, and
/// all ranks skip the step.
enum class Unused : uint8_t { kAllowed, kRefused };

/// What a job of one rank does: nothing but the bookkeeping of steps, without memory of its own; or all that more ranks
/// do.
enum class OneRank : uint8_t { kShortPath, kFullPath };

/// Equal on all ranks. Names are those of named_parameters() and named_buffers(); a module's path means all inside it.
struct ReplicaOptions {
  int64_t bucket_cap_bytes = int64_t{25} << 20;
  int64_t first_bucket_bytes = int64_t{1} << 20;  // of the last one, too
  Overlap overlap = Overlap::kOn;                 // kOff: everything is launched after the last gradient; same bits
  Unused unused = Unused::kAllowed;
  BufferSync buffers = BufferSync::kBroadcast;
  std::vector<std::pair<std::string, BufferSync>> buffers_of = {};  // exceptions, by name
  /// For kCustom, called on every rank in the same order, without autograd: leaves equal values everywhere. It may use
  /// the Job's collectives.
  std::function<void(const std::string& name, const at::Tensor& buffer)> reduce_buffer = {};
  OneRank one_rank = OneRank::kShortPath;
  std::vector<std::string> ignore = {};  // parameters and buffers that each rank keeps for itself
};

/// Backwards inside this scope accumulate on this rank only and need no step point. What counts is where backward runs;
/// the forward may lie outside.
class [[nodiscard]] NoSync {
 public:
  explicit NoSync(std::shared_ptr<trainer::Replica> replica);
  ~NoSync();
  NoSync(const NoSync&) = delete;
  NoSync& operator=(const NoSync&) = delete;

 private:
  std::shared_ptr<trainer::Replica> replica_;  // shared with the wrapper
};

/// While it lives, gradients of all other wrappers of this job are left as autograd makes them: nothing is averaged,
/// no step point is needed. For several networks in one graph, where the loss of one flows through another.
class [[nodiscard]] Exclusive {
 public:
  explicit Exclusive(std::shared_ptr<trainer::Replica> replica);
  ~Exclusive();
  Exclusive(const Exclusive&) = delete;
  Exclusive& operator=(const Exclusive&) = delete;

 private:
  std::shared_ptr<trainer::Replica> replica_;  // shared with the wrapper
};

/// Keeps the replicas of `module` equal: compares them over all ranks, gives every rank rank 0's values, and from then
/// on makes every `.grad` the mean over all ranks when backward() returns. The module stays the caller's and must
/// outlive this.
///
/// Parameters without a gradient in a backward count as zeros on this rank; one that no rank used keeps its gradient.
/// Embeddings made with sparse(true) exchange only the rows that were used. The first synced backward shows the order
/// in which gradients arrive, and launches nothing before it ends. When the module was changed in between on all ranks
/// (to(), torch::load(), parameters added or unfrozen), the next synced backward compares and equalises it as at wrap.
///
/// Memory:  the gradients once, shared with the transport; `.grad` lies in it. None in a job of one rank.
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
  /// Throws when another wrapper's scope lives.
  Exclusive exclusive();
  /// From now on `hook` reduces the buckets, instead of an all_reduce in their own dtype. Call it on every rank, with
  /// no backward in flight; see comm_hook.h.
  void set_comm_hook(std::shared_ptr<CommHook> hook);
  /// From now on every BatchNorm1d, 2d and 3d of the module in training mode normalises over the batch of all ranks
  /// (also unequal and empty ones), with equal running statistics. Call it on every rank. Cost: an exchange for each
  /// layer in forward and backward. Where one rank gives a step up, the others throw rondo::Error there, with its
  /// cause.
  void sync_batch_norm();
  /// This rank cannot do the step under way, for example because its forward threw and the program goes on. Its next
  /// step point or zero_grad() then makes all ranks skip the step and log `cause`. A backward that threw needs no call,
  /// nor does a step point or zero_grad() inside the catch block. Throws after a backward that came to its end: the
  /// others apply that step. Not for exceptions behind the step point: it would skip the next step.
  void skip_step(const std::string& cause);
  /// The step point of a plain LibTorch optimizer. False: all ranks skip the step; then a rate schedule or an average
  /// of a plain optimizer must not move either.
  bool step(torch::optim::Optimizer& optimizer);

  /// Of the last synced backward; zeros before the first one.
  StepStatistics statistics() const;
  /// "ring over tcp, order by chunk; 1.7 MB of gradients".
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
