#include "trainer/check/lints.h"

#include <algorithm>

#include "trainer/torch_bridge/tensor_view.h"

namespace rondo::trainer {
namespace {

void add_known(const torch::nn::Module& module, std::unordered_set<const void*>& known) {
  for (const at::Tensor& parameter : module.parameters()) known.insert(parameter.unsafeGetTensorImpl());
}

struct Stepped {
  std::string place;  // "parameter 2 of group 0 of optimizer 1"
  at::Tensor tensor;
};

std::vector<Stepped> all_stepped(const std::vector<torch::optim::Optimizer*>& optimizers) {
  std::vector<Stepped> all;
  for (size_t o = 0; o < optimizers.size(); ++o) {
    const auto& groups = optimizers[o]->param_groups();
    for (size_t g = 0; g < groups.size(); ++g) {
      for (size_t i = 0; i < groups[g].params().size(); ++i) {
        all.push_back({.place = "parameter " + std::to_string(i) + " of group " + std::to_string(g) +
                                (optimizers.size() == 1 ? "" : " of optimizer " + std::to_string(o)),
                       .tensor = groups[g].params()[i]});
      }
    }
  }
  return all;
}

Finding stale(const Stepped& stepped, const GradientParameter& now) {
  return {
      .severity = Severity::kError,
      .topic = "stale-optimizer",
      .names = {label(now) + " (" + stepped.place + ", " + describe(stepped.tensor) + ")"},
      .what = "the optimizer steps a tensor that the module does not have; the module's own is stepped by no optimizer",
      .cause =
          "the optimizer was built before the module was made anew, cloned, loaded as another object or given "
          "another layer",
      .cure = "build the optimizer last, after wrapping, from rondo::parameters(*model)"};
}

Finding stray(const Stepped& stepped) {
  return {.severity = Severity::kError,
          .topic = "stray-parameter",
          .names = {stepped.place + ", " + describe(stepped.tensor)},
          .what =
              "the optimizer steps it, but it is no parameter of the wrapped module: its gradient is not averaged, "
              "and ranks part ways",
          .cause = "a weight that was not registered with register_parameter(), or a layer not with register_module()",
          .cure =
              "register it before the module is wrapped; a network with a wrapper of its own belongs into "
              "CheckSubject::other_modules"};
}

Finding stepped_twice(const GradientParameter& parameter, const Stepped& first, const Stepped& again) {
  return {.severity = Severity::kError,
          .topic = "stepped-twice",
          .names = {label(parameter) + " (" + first.place + ", " + again.place + ")"},
          .what = "each step moves it twice",
          .cause = "LibTorch's parameters() lists a tied parameter once for each name, or two optimizers share it",
          .cure = "pass rondo::parameters(*model), which lists each once"};
}

Finding never_stepped(const GradientParameter& parameter) {
  return {.severity = Severity::kWarning,
          .topic = "never-stepped",
          .names = {label(parameter)},
          .what = "needs a gradient, which is averaged in every step, but no optimizer steps it",
          .cause = "the optimizer was built from a part of the module, or before this layer was added",
          .cure = "add it to an optimizer, or freeze it with set_requires_grad(false)"};
}

}  // namespace

CheckedModel::CheckedModel(const torch::nn::Module& of, const ReplicaOptions& with, const CheckSubject& about)
    : module(of), options(with), subject(about), trainable(content_of(of, {}).gradients) {
  add_known(module, known);
  for (const torch::nn::Module* other : subject.other_modules) add_known(*other, known);
}

bool CheckedModel::stepped(const at::Tensor& tensor) const {
  return std::ranges::any_of(all_stepped(subject.optimizers),
                             [&](const Stepped& each) { return each.tensor.is_same(tensor); });
}

bool CheckedModel::ignored(const std::string& name) const {
  return std::ranges::any_of(options.ignore, [&](const std::string& path) { return is_in(name, path); });
}

std::string label(const GradientParameter& parameter) { return quoted(parameter.name) + " of " + parameter.module; }

std::vector<Finding> lint_optimizers(const CheckedModel& model) {
  if (model.subject.optimizers.empty()) return {};
  std::vector<Finding> found;
  const std::vector<Stepped> all = all_stepped(model.subject.optimizers);
  std::vector<const GradientParameter*> left;  // that no optimizer steps
  for (const GradientParameter& parameter : model.trainable) {
    const auto first = std::ranges::find_if(all, [&](const Stepped& s) { return s.tensor.is_same(parameter.tensor); });
    if (first == all.end()) {
      left.push_back(&parameter);
      continue;
    }
    const auto again =
        std::find_if(first + 1, all.end(), [&](const Stepped& s) { return s.tensor.is_same(parameter.tensor); });
    if (again != all.end()) found.push_back(stepped_twice(parameter, *first, *again));
  }
  // A tensor that is not the module's, of the shape of one that is left out, was probably that one.
  for (const Stepped& stepped : all) {
    if (model.known.contains(stepped.tensor.unsafeGetTensorImpl())) continue;
    const auto now = std::ranges::find_if(
        left, [&](const GradientParameter* parameter) { return parameter->tensor.sizes() == stepped.tensor.sizes(); });
    if (now == left.end()) {
      found.push_back(stray(stepped));
    } else {
      found.push_back(stale(stepped, **now));
      left.erase(now);
    }
  }
  for (const GradientParameter* parameter : left) found.push_back(never_stepped(*parameter));
  return found;
}

}  // namespace rondo::trainer
