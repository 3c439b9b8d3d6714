/// What one rank can find by itself. Each lint looks at one thing and returns findings of one name each, without ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <unordered_set>
#include <vector>

#include "rondo/check.h"
#include "trainer/check/trial.h"
#include "trainer/gradient/model_content.h"

namespace rondo::trainer {

/// What the lints look at: the module as it is now.
struct CheckedModel {
  const torch::nn::Module& module;
  const ReplicaOptions& options;
  const CheckSubject& subject;
  std::vector<GradientParameter> trainable;  // need gradients, each once, ignored ones too
  std::unordered_set<const void*> known;     // all tensors of the module and of other modules

  CheckedModel(const torch::nn::Module& module, const ReplicaOptions& options, const CheckSubject& subject);
  bool stepped(const at::Tensor& tensor) const;  // by an optimizer
  bool ignored(const std::string& name) const;   // ReplicaOptions::ignore
};

inline std::string quoted(const std::string& name) { return "\"" + name + "\""; }
/// "\"right.weight\" of right (torch::nn::LinearImpl)".
std::string label(const GradientParameter& parameter);

std::vector<Finding> lint_optimizers(const CheckedModel& model);
/// orphan.
std::vector<Finding> lint_layers(const CheckedModel& model);
/// self-overlap, shared-memory.
std::vector<Finding> lint_memory(const CheckedModel& model);
/// never-reached, unregistered, loss-failed, loss-not-finite. What `orphans` names is not named again.
std::vector<Finding> lint_reach(const CheckedModel& model, const Trial& trial, const std::vector<Finding>& orphans);
/// compute-order.
std::vector<Finding> lint_order(const CheckedModel& model, const Trial& trial);

}  // namespace rondo::trainer
