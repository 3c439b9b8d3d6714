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
#include "rondo/rate_schedule.h"
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
  /// From now on every BatchNorm1d, 2d and 3d of the module normalises over the batch of all ranks in training mode, in
  /// forward and backward, and keeps running statistics that are equal on all ranks. Batches may differ in size, also
  /// be empty. Call it on every rank. Cost: an exchange of three numbers a channel in forward and two in backward.
  void sync_batch_norm();
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

/// Multiplies losses so that small gradients survive in float16, and finds the factor: halved at every step whose
/// gradients overflowed (which is skipped), doubled after `interval` good ones. The numbers are those of
/// torch.amp.GradScaler. Reduced gradients are bit-equal on all ranks, so all find the same factor without a word.
class LossScale {
 public:
  struct Options {
    double initial = 65'536;
    double growth = 2;     // > 1
    double backoff = 0.5;  // in (0, 1)
    int64_t interval = 2000;
  };
  struct State {
    double factor = 1;
    int64_t good_steps = 0;  // since the factor changed
    bool operator==(const State&) const = default;
  };
  LossScale() : LossScale(Options()) {}
  explicit LossScale(const Options& options);

  /// What backward() is called on.
  torch::Tensor scale(const torch::Tensor& loss) const { return loss * state_.factor; }
  double factor() const { return state_.factor; }
  /// The optimizer's: a step's gradients were finite, or not.
  void update(bool finite);

  const State& state() const { return state_; }
  void restore(const State& state) { state_ = state; }

 private:
  Options options_;
  State state_;
};

/// What is done to reduced gradients before an optimizer takes them; alike on all ranks, because they are.
struct StepRules {
  /// The 2-norm of all gradients of the optimizer together is brought down to this: clip_grad_norm_. 0: it is not.
  double clip_norm = 0;
  /// Whether gradients that are not all finite are taken.
  enum class NonFinite : uint8_t { kTaken, kSkipped } non_finite = NonFinite::kTaken;
  /// Gradients are divided by its factor first, non-finite ones are skipped, and it learns. Must outlive the optimizer.
  LossScale* loss_scale = nullptr;
};

/// What became of the last step(). `norm`: of all gradients, unscaled and before they were clipped; -1: none was asked
/// for, or the step was skipped before.
struct StepReport {
  bool applied = false;
  double norm = -1;
};

namespace trainer {
/// The rules of an optimizer and its last step.
class StepGate {
 public:
  void set(const StepRules& rules);
  const StepReport& report() const { return report_; }
  /// Throws where there are rules: an optimizer that evaluates its loss several times in a step has no one gradient.
  void refuse_closure() const;

  /// At the step point: completes the reduction, carries out the rules. False: the step is skipped.
  bool pass(Replica& replica, std::vector<torch::optim::OptimizerParamGroup>& groups);

 private:
  bool prepare(std::vector<torch::optim::OptimizerParamGroup>& groups);
  StepRules rules_;
  StepReport report_;
};

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
      gate_.refuse_closure();
      return O::step([&] {
        torch::Tensor loss = closure();
        trainer::reach_step_point(*replica_);
        return loss;
      });
    }
    return gate_.pass(*replica_, this->param_groups()) ? O::step() : torch::Tensor();
  }

  /// For the steps to come.
  void set_rules(const StepRules& rules) { gate_.set(rules); }
  const StepReport& last_step() const { return gate_.report(); }

  /// Throws when the last synced backward was not followed by a step point.
  void zero_grad(bool set_to_none = true) {
    trainer::before_zero_grad(*replica_);
    O::zero_grad(set_to_none);
  }

 private:
  std::shared_ptr<trainer::Replica> replica_;  // shared with the wrapper
  trainer::StepGate gate_;
};

/// Sets the rates of an optimizer's groups by a rate schedule, each from the rate that it was made with. The rate of
/// step 0 is set at once. To go on from a checkpoint: make it as before, load, then restore(position).
class RateScheduler {
 public:
  /// `optimizer` must outlive this.
  RateScheduler(torch::optim::Optimizer& optimizer, RateSchedule schedule);

  /// After optimizer.step(): sets the rates of the next step.
  void step() { restore(position_ + 1); }
  /// Calls of step() so far.
  int64_t position() const { return position_; }
  void restore(int64_t position);
  /// A rate for each group, as they are now.
  std::vector<double> rates() const;

 private:
  torch::optim::Optimizer& optimizer_;
  const RateSchedule schedule_;
  std::vector<double> bases_;
  int64_t position_ = 0;
};

/// Lowers the rates of all groups of an optimizer by a Plateau.
class PlateauScheduler {
 public:
  /// `optimizer` must outlive this.
  PlateauScheduler(torch::optim::Optimizer& optimizer, const Plateau::Options& options = {});

  /// True when the rates were lowered. `metric` must be equal on all ranks.
  bool step(double metric);
  const Plateau::State& state() const { return plateau_.state(); }
  void restore(const Plateau::State& state) { plateau_.restore(state); }

 private:
  torch::optim::Optimizer& optimizer_;
  Plateau plateau_;
};

/// An exponential moving average of a module's parameters: average = decay * average + (1 - decay) * parameter at each
/// update, the first of which copies. Replicas are bit-equal, so their averages are, too, without a word. The numbers
/// are those of torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(decay).
class Ema {
 public:
  /// `module` must outlive this; decay in [0, 1).
  Ema(torch::nn::Module& module, double decay);

  /// After each step that was applied.
  void update();
  int64_t updates() const { return updates_; }

  /// As long as the scope lives the module has the averages for parameters, for evaluation or to be saved; its own come
  /// back afterwards. One at a time, with no backward in flight.
  class [[nodiscard]] Scope {
   public:
    explicit Scope(Ema& ema);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Ema& ema_;
  };
  Scope averages() { return Scope(*this); }

  /// The averages by the names of the parameters, to be kept with a checkpoint.
  std::vector<std::pair<std::string, torch::Tensor>> state() const;
  /// Throws, naming it, when a parameter is missing or differs in shape or dtype.
  void restore(const std::vector<std::pair<std::string, torch::Tensor>>& state, int64_t updates);

 private:
  void swap();
  std::vector<std::string> names_;
  std::vector<torch::Tensor> parameters_, averages_;
  const double decay_;
  int64_t updates_ = 0;
  bool swapped_ = false;
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
