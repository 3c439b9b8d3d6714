// What one backward of the loss shows: what it reaches, and in which order.
#include <algorithm>
#include <optional>

#include "trainer/check/lints.h"
#include "trainer/gradient/bucket_plan.h"
#include "trainer/gradient/buckets.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo::trainer {

std::vector<Finding> lint_reach(const CheckedModel& model, const Trial& trial, const std::vector<Finding>& orphans) {
  std::vector<Finding> found;
  if (!trial.failure.empty()) {
    found.push_back({.severity = Severity::kError,
                     .topic = "loss-failed",
                     .names = {},
                     .what = trial.failure,
                     .cause = "the loss threw, or backward() on it did: is it a scalar that needs a gradient?",
                     .cure = "CheckSubject::loss returns the mean loss of a batch, without detach() or NoGradGuard"});
    return found;
  }
  if (!trial.finite) {
    found.push_back(
        {.severity = Severity::kError,
         .topic = "loss-not-finite",
         .names = {},
         .what = "the loss is infinite or not a number",
         .cause = "a learning rate that is too large, or inputs that are not finite",
         .cure = "look at the inputs, then lower the rate, or clip: optimizer.set_rules({.clip_norm = 1})"});
  }
  for (size_t i = 0; i < model.trainable.size(); ++i) {
    const GradientParameter& parameter = model.trainable[i];
    const bool arrived = std::ranges::find(trial.arrivals, i) != trial.arrivals.end();
    const bool is_orphan = std::ranges::any_of(
        orphans, [&](const Finding& finding) { return finding.names.front() == quoted(parameter.name); });
    if (arrived || is_orphan) continue;
    found.push_back({.severity = model.options.unused == Unused::kRefused ? Severity::kError : Severity::kWarning,
                     .topic = "never-reached",
                     .names = {label(parameter)},
                     .what = "the loss gives no gradient; where other ranks have one, this counts as zeros",
                     .cause = "the layer is not called in forward(), its result is not part of the loss, or detached",
                     .cure = "remove or freeze what is not meant to train; branches that depend on data are fine"});
  }
  int unregistered = 0;
  for (const at::Tensor& leaf : trial.leaves) {
    if (model.known.contains(leaf.unsafeGetTensorImpl()) || model.stepped(leaf)) continue;
    found.push_back({.severity = Severity::kWarning,
                     .topic = "unregistered",
                     .names = {"leaf " + std::to_string(unregistered++) + ", " + describe(leaf)},
                     .what = "the loss depends on it, but it is no parameter of the module, and no optimizer steps it",
                     .cause = "a weight for torch::nn::functional that was not registered, a layer without "
                              "register_module(), or an input that needs a gradient",
                     .cure = "register it before the module is wrapped; another network belongs into "
                             "CheckSubject::other_modules; an input is fine"});
  }
  return found;
}

std::vector<Finding> lint_order(const CheckedModel& model, const Trial& trial) {
  // Pairs of one layer come as autograd likes, and that costs nothing.
  int64_t pairs = 0, turned = 0;
  std::optional<size_t> first;
  for (size_t a = 0; a < trial.arrivals.size(); ++a) {
    for (size_t b = a + 1; b < trial.arrivals.size(); ++b) {
      const size_t earlier = trial.arrivals[a], later = trial.arrivals[b];
      if (model.trainable[earlier].module == model.trainable[later].module) continue;
      ++pairs;
      if (earlier > later) continue;
      ++turned;
      if (!first) first = earlier;
    }
  }
  if (turned == 0) return {};

  std::vector<GradientShape> shapes;
  std::vector<int> in_no_bucket;
  for (const GradientParameter& parameter : model.trainable) {
    if (parameter.kind == GradientParameter::Kind::kSparse || model.ignored(parameter.name)) {
      in_no_bucket.push_back(static_cast<int>(shapes.size()));
    }
    shapes.push_back(gradient_shape(parameter.tensor).value_or(GradientShape{}));
  }
  const std::vector<int> observed(trial.arrivals.begin(), trial.arrivals.end());
  const std::vector<int> registered = reverse_order(static_cast<int>(shapes.size()));
  // After how many gradients the first bucket of a plan is full.
  const auto first_launch = [&](std::vector<int> order) {
    std::erase_if(order,
                  [&](int parameter) { return std::ranges::find(in_no_bucket, parameter) != in_no_bucket.end(); });
    const BucketPlan plan = make_bucket_plan(
        shapes, order,
        {.bucket_bytes = model.options.bucket_cap_bytes, .edge_bytes = model.options.first_bucket_bytes});
    int64_t latest = 0;
    if (plan.empty()) return latest;
    for (const Slot& slot : plan.front().slots) {
      latest = std::max<int64_t>(latest, std::ranges::find(observed, slot.parameter) - observed.begin() + 1);
    }
    return std::min<int64_t>(latest, std::ssize(observed));
  };
  return {{.severity = Severity::kNote,
           .topic = "compute-order",
           .names = {label(model.trainable[*first])},
           .what = std::to_string(turned) + " of " + std::to_string(pairs) +
                   " pairs of parameters arrive against the reverse of their registration, this one first. Planned "
                   "by registration, the first bucket is full after " +
                   std::to_string(first_launch(registered)) + " of " + std::to_string(observed.size()) +
                   " gradients; planned as they arrive, after " +
                   std::to_string(first_launch(complete_order(observed, registered))) +
                   ". Only the first synced backward pays: the plan follows what rank 0 saw in it",
           .cause = "layers are registered in another order than forward() calls them",
           .cure = "none is needed; register layers in the order in which they compute to be rid of this note"}};
}

}  // namespace rondo::trainer
