/// Does training on all ranks compute what one process would? Trains the same steps on N ranks, again, with other
/// buckets and without overlap, and on one rank with the whole global batch, and compares where they ended:
///
///   const auto report = rondo::verify(job, [&](rondo::Trial& trial) {
///     torch::manual_seed(1);                                     // the same beginning every time
///     Net net;
///     rondo::DistributedDataParallel ddp(trial.job(), *net, trial.options());
///     rondo::Optimizer<torch::optim::SGD> optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
///     for (int step = 0; step < 10; ++step) {
///       const auto x = trial.slice(inputs[step]), y = trial.slice(targets[step]);   // of the global batch
///       optimizer.zero_grad();
///       const auto loss = torch::nn::functional::cross_entropy(net->forward(x), y);
///       trial.add_loss(loss, y.size(0));
///       ddp.weigh(loss, y.size(0)).backward();
///       optimizer.step();
///     }
///     trial.end(*net, optimizer);
///   });
///   std::cout << report.text();
///
/// On the same ranks the bits must be equal, whatever the buckets, because sums have one order. (Not with ranks that
/// were told algorithm "ring": there the order depends on where in a bucket an element lies.) Against one process they
/// cannot be: its kernels sum over the whole batch in an order of their own. There the distance must be one of
/// rounding; which that is, and why: state_distance.h. What makes a training differ beyond that by its nature, and
/// fails here: BatchNorm over each rank's slice (sync_batch_norm() cures it), dropout, random numbers of each rank, a
/// comm hook that compresses.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "rondo/distributed_data_parallel.h"
#include "rondo/replica_state.h"
#include "rondo/state_distance.h"

namespace rondo {

/// One training from its beginning to its end, on the ranks of job().
class Trial {
 public:
  Trial(Job job, ReplicaOptions options) : job_(std::move(job)), options_(std::move(options)) {}

  /// All ranks, or this rank alone. Everything that a step exchanges must go through it.
  const Job& job() const { return job_; }
  /// For DistributedDataParallel.
  const ReplicaOptions& options() const { return options_; }
  /// This rank's rows of a global batch; the first ranks get one more where they do not divide evenly. Then the mean
  /// over all samples needs ddp.weigh().
  at::Tensor slice(const at::Tensor& global_batch) const;

  /// The mean loss of this rank's `count` samples in the next step; for the report.
  void add_loss(const at::Tensor& mean_loss, double count);
  /// Once, at the end. Collective.
  void end(const torch::nn::Module& module, const torch::optim::Optimizer& optimizer);

  const std::vector<double>& losses() const { return losses_; }  // over all ranks
  const TrainedState& state() const { return state_; }
  const std::vector<StateDifference>& replicas() const { return replicas_; }
  bool ended() const { return ended_; }

 private:
  Job job_;
  ReplicaOptions options_;
  std::vector<double> losses_;
  TrainedState state_;
  std::vector<StateDifference> replicas_;
  bool ended_ = false;
};

/// A training on the same ranks that must end with the same bits.
struct VariantResult {
  std::string what;              // "buckets of 1024 bytes"
  std::string first_difference;  // the slot; empty: the bits are equal
};

struct VerifyReport {
  int world_size = 1;
  std::vector<StateDifference> replicas;  // where ranks differ from rank 0
  std::vector<VariantResult> variants;
  std::vector<SlotDistance> against_one;      // all ranks against one process
  std::vector<double> losses, losses_of_one;  // a step each

  /// Replicas and variants equal bit for bit, and no slot farther from one process's than rounding.
  bool passed() const;
  /// A table for people.
  std::string text() const;
};

struct VerifyOptions {
  ReplicaOptions replica = {};
  double rounding = 0;  // instead of SlotDistance::rounding for every slot; 0: by type
};

/// Runs `train` five times, the last time on every rank by itself at the same time. Collective; passed() is the same on
/// all ranks. Throws what `train` throws, and rondo::Error when it does not call Trial::end().
VerifyReport verify(const Job& job, const std::function<void(Trial&)>& train, const VerifyOptions& options = {});

}  // namespace rondo
