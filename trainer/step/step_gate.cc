// What is done to reduced gradients between the step point and the optimizer.
#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/view_as_real.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <map>
#include <utility>

#include "rondo/comm/collectives.h"
#include "rondo/error.h"
#include "rondo/optimizer.h"
#include "trainer/gradient/replica.h"
#include "trainer/torch_bridge/errors.h"
#include "trainer/torch_bridge/torch_compat.h"

namespace rondo {

namespace trainer {
namespace {

struct Gradients {
  std::vector<at::Tensor> averaged;  // equal on all ranks
  std::vector<at::Tensor> own;       // this rank's alone
  bool some_are_own = false;         // on all ranks alike, also where there is none now
};

/// The numbers of a gradient, in its own memory, as kernels take them: dense and real.
at::Tensor real_values(const at::Tensor& parameter) {
  at::Tensor& gradient = parameter.mutable_grad();
  if (gradient.is_sparse()) gradient = gradient.coalesce();
  const at::Tensor values = gradient.is_sparse() ? gradient._values() : gradient;
  return values.is_complex() ? at::view_as_real(values) : values;
}

Gradients gradients_of(std::vector<torch::optim::OptimizerParamGroup>& groups, const Reducer& reducer) {
  Gradients gradients;
  const auto averaged = reducer.averaged_parameters();
  for (auto& group : groups) {
    for (const at::Tensor& parameter : group.params()) {
      const bool own = !averaged.contains(parameter.unsafeGetTensorImpl());
      gradients.some_are_own = gradients.some_are_own || own;
      if (parameter.grad().defined()) (own ? gradients.own : gradients.averaged).push_back(real_values(parameter));
    }
  }
  return gradients;
}

/// Divides by `factor`, by the kernel of PyTorch's scaler; false when an element is infinite or no number.
bool unscale(const std::vector<at::Tensor>& gradients, double factor) {
  if (gradients.empty()) return true;
  at::Tensor found = at::zeros({1});
  const at::Tensor inverse = at::full({1}, static_cast<float>(1 / factor));
  std::map<at::ScalarType, std::vector<at::Tensor>> by_type;  // the kernel takes lists of one
  for (const at::Tensor& gradient : gradients) by_type[gradient.scalar_type()].push_back(gradient);
  for (auto& [type, list] : by_type) at::_amp_foreach_non_finite_check_and_unscale_(list, found, inverse);
  return found.item<float>() == 0;
}

/// As torch.nn.utils.clip_grad_norm_, to the bit; returns the norm before.
double clip(const Gradients& gradients, double most) {
  if (gradients.averaged.empty()) return 0;
  std::vector<at::Tensor> norms;
  for (const at::Tensor& gradient : gradients.averaged) norms.push_back(at::linalg_vector_norm(gradient));
  const at::Tensor norm = at::linalg_vector_norm(at::stack(norms));
  const at::Tensor factor = at::clamp_max(most / (norm + 1e-6), 1.0);
  for (const at::Tensor& gradient : gradients.averaged) gradient.mul_(factor);
  for (const at::Tensor& gradient : gradients.own) gradient.mul_(factor);
  return norm.item<double>();
}

bool finite_on_all(JobState& job, bool mine) {
  std::vector<uint8_t> infinite{static_cast<uint8_t>(mine ? 0 : 1)};
  throw_if_error(comm::all_reduce(job.model_group(), comm::view(infinite), comm::ReduceOp::kBitOr,
                                  {.tag = "gradients that are not averaged: finite?"})
                     .wait());
  return infinite[0] == 0;
}

}  // namespace

void StepGate::set_rules(const StepRules& rules) {
  if (!std::isfinite(rules.clip_norm) || rules.clip_norm < 0) {
    throw Error("clip_norm " + std::to_string(rules.clip_norm) + " is not a finite number >= 0", ExitCode::kUsage);
  }
  rules_ = rules;
}

bool StepGate::pass(torch::optim::Optimizer& optimizer) {
  report_ = {};
  if (replica_->reach_step_point(optimizer) == Verdict::kApply && prepare(optimizer.param_groups())) applied();
  return report_.applied;
}

void StepGate::applied() {
  report_.applied = true;
  ++applied_steps_;
}

bool StepGate::prepare(std::vector<torch::optim::OptimizerParamGroup>& groups) {
  LossScale* const scale = rules_.loss_scale;
  const bool skips = scale != nullptr || rules_.non_finite == StepRules::NonFinite::kSkipped;
  if (!skips && rules_.clip_norm == 0) return true;
  const PlainTensorScope scope;
  const Gradients gradients = gradients_of(groups, replica_->reducer());
  if (skips) {
    const LossScale::Reduction reduction{.wrapper = replica_.get(), .step = replica_->reducer().statistics().step};
    const double factor = scale != nullptr ? scale->factor_of(reduction) : 1;
    bool finite = unscale(gradients.averaged, factor);
    if (gradients.some_are_own) finite = finite_on_all(replica_->job(), unscale(gradients.own, factor) && finite);
    if (scale != nullptr) scale->update(finite, reduction);
    if (!finite) return false;
  }
  if (rules_.clip_norm > 0) report_.norm = clip(gradients, rules_.clip_norm);
  return true;
}

void StepGate::before_zero_grad(torch::optim::Optimizer& optimizer) { replica_->before_zero_grad(optimizer); }

void StepGate::before_evaluations() {
  report_ = {};
  const bool none = rules_.clip_norm == 0 && rules_.non_finite == StepRules::NonFinite::kTaken && !rules_.loss_scale;
  if (none) return;
  throw Error(
      "step(closure) takes no rules: it evaluates the loss several times, each with gradients of its own. Clip and "
      "unscale inside the closure",
      ExitCode::kUsage);
}

at::Tensor StepGate::evaluated(torch::optim::Optimizer& optimizer, const at::Tensor& loss, std::exception_ptr failed) {
  const Verdict verdict = replica_->reach_evaluation(optimizer, failed);
  // A weighed loss is multiplied by its weight already. That of an empty batch is no number.
  const double weight = replica_->reducer().statistics().weight;
  if (!failed && weight > 0 && !loss.defined()) {
    failed = std::make_exception_ptr(
        Error("the closure of step() returned no loss; that is for ranks without data", ExitCode::kUsage));
  }
  std::vector<double> sums{!failed && weight > 0 ? loss.item<double>() : 0.0, weight, failed ? 1.0 : 0.0};
  if (verdict == Verdict::kApply) {
    throw_if_error(
        comm::all_reduce(replica_->job().model_group(), comm::view(sums), comm::ReduceOp::kSum, {.tag = "loss"})
            .wait());
  }
  if (failed) replica_->throw_seen(failed);
  if (verdict != Verdict::kApply || sums[2] > 0) {
    replica_->throw_seen(std::make_exception_ptr(
        Error("a rank could not do this evaluation of step(closure), so the step ends on all ranks; its own message "
              "says why. Parameters and optimizer state are as the optimizer left them, equal on all ranks: catch this "
              "where that rank's exception is caught, and go on with the next batch")));
  }
  const auto options = loss.defined() ? loss.options().requires_grad(false) : at::TensorOptions();
  return at::full({}, sums[1] > 0 ? sums[0] / sums[1] : 0.0, options);
}

void StepGate::after_evaluations() {
  replica_->job().count_step();
  applied();
}

StepFollower::StepFollower(const torch::optim::Optimizer& optimizer)
    : gate_(dynamic_cast<const StepGate*>(&optimizer)), seen_(gate_ != nullptr ? gate_->applied_steps() : 0) {}

bool StepFollower::moves() {
  return gate_ == nullptr || std::exchange(seen_, gate_->applied_steps()) != gate_->applied_steps();
}

}  // namespace trainer
}  // namespace rondo
