/// LibTorch's optimizers with a step point, and what is done to reduced gradients there.
#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "rondo/distributed_data_parallel.h"
#include "rondo/loss_scale.h"
#include "rondo/verdict.h"

namespace rondo {

/// What is done to reduced gradients before an optimizer takes them; alike on all ranks, because they are. Gradients
/// that are not averaged, of ignored parameters and of those outside of the model, differ between ranks: they are
/// unscaled and multiplied as the others are, but do not count in the norm; whether they are finite is agreed by all.
struct StepRules {
  /// The 2-norm of all averaged gradients of the optimizer together is brought down to this: clip_grad_norm_. 0: it is
  /// not.
  double clip_norm = 0;
  /// Whether gradients that are not all finite are taken.
  enum class NonFinite : uint8_t { kTaken, kSkipped } non_finite = NonFinite::kTaken;
  /// Gradients are divided by its factor first, non-finite ones are skipped, and it learns. Must outlive the optimizer.
  LossScale* loss_scale = nullptr;
};

/// What became of the last step(). `norm`: of all averaged gradients, unscaled and before they were clipped; -1: none
/// was asked for, or the step was skipped before.
struct StepReport {
  bool applied = false;
  double norm = -1;
};

namespace trainer {  // private to Rondo
/// What an optimizer does at its step point: completes the reduction, carries out its rules.
class StepGate {
 public:
  explicit StepGate(std::shared_ptr<Replica> replica) : replica_(std::move(replica)) {}

  /// For the steps to come.
  void set_rules(const StepRules& rules);
  const StepReport& last_step() const { return report_; }
  /// Since it was made.
  int64_t applied_steps() const { return applied_steps_; }

 protected:
  ~StepGate() = default;

  /// False: the step is skipped.
  bool pass(torch::optim::Optimizer& optimizer);
  /// Throws when reduced gradients would be cleared without a step point.
  void before_zero_grad(torch::optim::Optimizer& optimizer);

  // A step that evaluates its loss itself. The first throws where there are rules: such a step has no one gradient. The
  // second gives the mean loss; it throws, on all ranks, when one of them could not do the evaluation. `failed`: what
  // this rank's threw, or null.
  void before_evaluations();
  at::Tensor evaluated(torch::optim::Optimizer& optimizer, const at::Tensor& loss, std::exception_ptr failed);
  void after_evaluations();

 private:
  bool prepare(std::vector<torch::optim::OptimizerParamGroup>& groups);
  void applied();
  std::shared_ptr<Replica> replica_;  // shared with the wrapper
  StepRules rules_;
  StepReport report_;
  int64_t applied_steps_ = 0;
};

/// What moves after a step, such as a schedule: it stays where it is when all ranks skipped the step, and so equal to
/// that of a rank whose exception went past it. For rondo::Optimizers; see DistributedDataParallel::step() for others.
class StepFollower {
 public:
  /// `optimizer` must outlive this. Another one than a rondo::Optimizer is taken to apply each step.
  explicit StepFollower(const torch::optim::Optimizer& optimizer);
  /// Whether a step was applied since this was last asked, or made.
  bool moves();

 private:
  const StepGate* gate_;  // the optimizer's; null for another one
  int64_t seen_ = 0;
};
}  // namespace trainer

/// LibTorch's optimizer O whose step() is the step point: an unfinished reduction is completed there, a rank whose loss
/// reached no parameter contributes zeros, and a step that a rank could not do is skipped on all ranks. Arguments after
/// the wrapper are O's own. A parameter listed twice in a group is stepped once.
///
/// A wrapper may have several: the first that steps after a backward completes the reduction, the others take its
/// verdict. Each iteration has them step in the same order. Losses that are trained in turn, each with an optimizer,
/// are better off with a wrapper each: a rank that never had data cannot tell the one from the other.
///
/// step(closure), for LBFGS: every evaluation is reduced, and the optimizer is given the mean of the loss over all
/// ranks, with the weights of the gradients, so that all decide alike; with weigh() the closure returns what weigh()
/// returned. An evaluation that a rank could not do ends the step on all ranks by an exception, which asks for nothing
/// more than to be caught; parameters and state are then as the optimizer left them, equal on all ranks.
template <typename O>
class Optimizer final : public O, public trainer::StepGate {
 public:
  using LossClosure = torch::optim::Optimizer::LossClosure;

  template <typename... Arguments>
  explicit Optimizer(const DistributedDataParallel& ddp, Arguments&&... arguments)
      : O(std::forward<Arguments>(arguments)...), StepGate(ddp.replica()) {
    for (auto& group : this->param_groups()) trainer::deduplicate(group.params());
  }

  torch::Tensor step(LossClosure closure = nullptr) override {
    if (!closure) return this->pass(*this) ? O::step(nullptr) : torch::Tensor();
    this->before_evaluations();
    torch::Tensor first_loss = O::step([&] {
      torch::Tensor loss;
      std::exception_ptr failed;
      try {
        loss = closure();
      } catch (...) {
        failed = std::current_exception();
      }
      return this->evaluated(*this, loss, std::move(failed));
    });
    this->after_evaluations();
    return first_loss;
  }

  /// Throws when the last synced backward was not followed by a step point.
  void zero_grad(bool set_to_none = true) {
    this->before_zero_grad(*this);
    O::zero_grad(set_to_none);
  }
};

}  // namespace rondo
