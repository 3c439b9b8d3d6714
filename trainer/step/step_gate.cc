// What is done to reduced gradients between the step point and the optimizer.
#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <map>

#include "rondo/error.h"
#include "rondo/optimizer.h"
#include "trainer/torch_bridge/torch_compat.h"

namespace rondo {

namespace trainer {
namespace {

std::vector<at::Tensor> gradients_of(std::vector<torch::optim::OptimizerParamGroup>& groups) {
  std::vector<at::Tensor> gradients;
  for (auto& group : groups) {
    for (const at::Tensor& parameter : group.params())
      if (parameter.grad().defined()) gradients.push_back(parameter.grad());
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
double clip(const std::vector<at::Tensor>& gradients, double most) {
  if (gradients.empty()) return 0;
  std::vector<at::Tensor> norms;
  for (const at::Tensor& gradient : gradients) norms.push_back(at::linalg_vector_norm(gradient));
  const at::Tensor norm = at::linalg_vector_norm(at::stack(norms));
  const at::Tensor factor = at::clamp_max(most / (norm + 1e-6), 1.0);
  for (const at::Tensor& gradient : gradients) gradient.mul_(factor);
  return norm.item<double>();
}

}  // namespace

void StepGate::set(const StepRules& rules) {
  if (!std::isfinite(rules.clip_norm) || rules.clip_norm < 0) {
    throw Error("clip_norm " + std::to_string(rules.clip_norm) + " is not a finite number >= 0", ExitCode::kUsage);
  }
  rules_ = rules;
}

void StepGate::refuse_closure() const {
  const bool none = rules_.clip_norm == 0 && rules_.non_finite == StepRules::NonFinite::kTaken && !rules_.loss_scale;
  if (none) return;
  throw Error(
      "step(closure) takes no rules: it evaluates the loss several times, each with gradients of its own. Clip and "
      "unscale inside the closure",
      ExitCode::kUsage);
}

bool StepGate::pass(Replica& replica, std::vector<torch::optim::OptimizerParamGroup>& groups) {
  report_ = {};
  report_.applied = reach_step_point(replica) == Verdict::kApply && prepare(groups);
  return report_.applied;
}

bool StepGate::prepare(std::vector<torch::optim::OptimizerParamGroup>& groups) {
  const PlainTensorScope scope;
  LossScale* const scale = rules_.loss_scale;
  const bool skips = scale != nullptr || rules_.non_finite == StepRules::NonFinite::kSkipped;
  if (skips) {
    const bool finite = unscale(gradients_of(groups), scale != nullptr ? scale->factor() : 1);
    if (scale != nullptr) scale->update(finite);
    if (!finite) return false;
  }
  if (rules_.clip_norm > 0) report_.norm = clip(gradients_of(groups), rules_.clip_norm);
  return true;
}

}  // namespace trainer
}  // namespace rondo
