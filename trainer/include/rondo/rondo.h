/// Makes a LibTorch program data-parallel: one process per rank, gradients averaged while backward still runs.
///
/// The one public header of the trainer. Errors are thrown as rondo::Error, on every rank that can know of them.
/// Threading: a Job may be used from any thread; the others belong to the thread that trains. Collectives, wrapping,
/// synced backwards and step points are issued in the same order on every rank.
#pragma once

#include <torch/data/samplers/base.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "rondo/error.h"
#include "rondo/verdict.h"

namespace rondo {

namespace trainer {  // private to Rondo
class JobState;
class Replica;
struct SamplerState;
/// Completes the reduction of this step and says what was agreed.
Verdict reach_step_point(Replica& replica);
/// Throws when reduced gradients would be cleared without a step point.
void before_zero_grad(Replica& replica);
}  // namespace trainer

enum class Reduction : uint8_t { kSum, kMean, kMin, kMax };

/// One rank's membership in a job. Cheap to copy; the last copy leaves the job in order, or aborts it when an exception
/// is under way. The tensor collectives have a group of their own, so they never disturb a reduction in flight; they
/// refuse tensors that require grad (detach() them) and block until done.
class Job {
 public:
  int rank = 0;
  int world_size = 1;
  int local_rank = 0;
  torch::Device device{torch::kCPU};

  /// In place; same shape and dtype on every rank.
  void all_reduce(const torch::Tensor& tensor, Reduction reduction = Reduction::kSum) const;
  /// In place: every rank gets the bytes of rank `root`. Any dtype.
  void broadcast(const torch::Tensor& tensor, int root = 0) const;
  /// (...) of every rank -> (world_size, ...), in rank order. Any dtype.
  torch::Tensor all_gather(const torch::Tensor& tensor) const;
  void barrier() const;
  /// The sum of a number over all ranks: counts of samples, losses.
  double sum(double metric) const;
  template <std::integral T>
  T sum(T metric) const {
    return static_cast<T>(sum_int64(static_cast<int64_t>(metric)));
  }

  /// "rank 1 of 2 (local rank 1 of 2), started by rondo run".
  std::string description() const;
  /// How its ranks exchange bytes: "shm" or "tcp".
  std::string transport() const;

  const std::shared_ptr<trainer::JobState>& state() const { return state_; }
  explicit Job(std::shared_ptr<trainer::JobState> state);

 private:
  int64_t sum_int64(int64_t metric) const;
  std::shared_ptr<trainer::JobState> state_;  // shared by all copies, wrappers and samplers of this job
};

struct InitOptions {
  std::chrono::milliseconds join_timeout{120'000};      // for all ranks to appear
  std::chrono::milliseconds operation_timeout{30'000};  // of one collective
  std::string transport;                                // "" = chosen by comm; "shm", "tcp"
  std::string algorithm;  // "" = chosen by comm; "ring": by name; rules such as "ring:1M-"
};

/// Joins the job that flags (--rank --world-size --local-rank --local-world-size --endpoint, each only if present; all
/// other arguments are left alone) and environment describe; without any, a job of one. Returns when all ranks joined,
/// or throws naming the absent. Rank 0 prints one line to stderr: who started it.
Job init(int argc, char** argv, const InitOptions& options = {});

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
  torch::Tensor weigh(const torch::Tensor& mean_loss, double count);
  NoSync no_sync();
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
std::vector<torch::Tensor> parameters(const torch::nn::Module& module);

namespace trainer {
/// A mark: this optimizer reaches the step point by itself.
class ReachesStepPoint {
 protected:
  ~ReachesStepPoint() = default;
};

/// Drops repeated parameters, keeping the first.
inline void deduplicate(std::vector<torch::Tensor>& parameters) {
  std::unordered_set<const void*> seen;
  std::erase_if(parameters, [&](const torch::Tensor& p) { return !seen.insert(p.unsafeGetTensorImpl()).second; });
}
}  // namespace trainer

/// LibTorch's optimizer O whose step() is the step point: an unfinished reduction is completed there, a rank whose loss
/// reached no parameter contributes zeros, and a step that a rank could not do is skipped on all ranks. Arguments after
/// the wrapper are O's own. A parameter listed twice in a group is stepped once.
template <typename O>
class Optimizer final : public O, public trainer::ReachesStepPoint {
 public:
  using LossClosure = torch::optim::Optimizer::LossClosure;

  template <typename... Arguments>
  explicit Optimizer(const DistributedDataParallel& ddp, Arguments&&... arguments)
      : O(std::forward<Arguments>(arguments)...), replica_(ddp.replica()) {
    for (auto& group : this->param_groups()) trainer::deduplicate(group.params());
  }

  torch::Tensor step(LossClosure closure = nullptr) override {
    if (closure) {
      return O::step([&] {
        torch::Tensor loss = closure();
        trainer::reach_step_point(*replica_);
        return loss;
      });
    }
    return trainer::reach_step_point(*replica_) == trainer::Verdict::kApply ? O::step() : torch::Tensor();
  }

  /// Throws when the last synced backward was not followed by a step point.
  void zero_grad(bool set_to_none = true) {
    trainer::before_zero_grad(*replica_);
    O::zero_grad(set_to_none);
  }

 private:
  std::shared_ptr<trainer::Replica> replica_;  // shared with the wrapper
};

/// kPadded is the rule of PyTorch's DistributedSampler: the list is lengthened to a multiple of the world size from its
/// own front. kExact: no sample twice; ranks may differ by one.
enum class Partition : uint8_t { kPadded, kExact };
enum class Shuffle : uint8_t { kOn, kOff };

struct SamplerOptions {
  uint64_t seed = 0;
  Shuffle shuffle = Shuffle::kOn;
  Partition partition = Partition::kPadded;
};

/// Where a sampler stands: `position` samples of this rank were handed out in `epoch`; -1 = before the first.
struct SamplerPosition {
  uint64_t seed = 0;
  int64_t epoch = -1;
  int64_t position = 0;
  bool operator==(const SamplerPosition&) const = default;
};

/// Gives each rank every world_size-th index of one permutation, drawn from (seed, epoch) alone: the indices of
/// PyTorch's DistributedSampler. Copies share their state, because a data loader moves its sampler away: keep a copy to
/// save it. Every loader pass starts the next epoch (reset()); the first pass after a load goes on inside the epoch
/// that was saved. A loader with workers draws ahead, so position() counts drawn, not trained samples.
class Sampler : public torch::data::samplers::Sampler<> {
 public:
  Sampler(const Job& job, size_t size, const SamplerOptions& options = {});

  void reset(std::optional<size_t> new_size = std::nullopt) override;
  std::optional<std::vector<size_t>> next(size_t batch_size) override;
  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

  /// Samples of this rank in one epoch.
  size_t size() const;
  SamplerPosition position() const;
  /// The next pass goes on from there.
  void restore(const SamplerPosition& position);

 private:
  std::shared_ptr<trainer::SamplerState> state_;  // shared by copies
};

/// Writes a checkpoint of this moment to run/checkpoints/step-.../, atomically, and returns on every rank when it is
/// complete. Collective; rank 0 writes. `run` is a run's folder.
void save(const Job& job, const std::string& run, torch::nn::Module& module, torch::optim::Optimizer& optimizer,
          const Sampler& sampler);
/// Loads the newest valid checkpoint of `run` into module, optimizer and sampler, in place. Collective. Throws
/// ExitCode::kPreflight when there is none, kCorrupt, naming the files, when all are damaged.
void load(const Job& job, const std::string& run, torch::nn::Module& module, torch::optim::Optimizer& optimizer,
          Sampler& sampler);

}  // namespace rondo
