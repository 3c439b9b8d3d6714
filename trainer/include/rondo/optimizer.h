/// LibTorch's optimizers with a step point, and what is done to reduced gradients there.
#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "rondo/distributed_data_parallel.h"
#include "rondo/loss_scale.h"
#include "rondo/verdict.h"

namespace rondo {

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

namespace trainer {  // private to Rondo
/// Completes the reduction of this step and says what was agreed.
Verdict reach_step_point(Replica& replica);
/// Throws when reduced gradients would be cleared without a step point.
void before_zero_grad(Replica& replica);

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

}  // namespace rondo
