#include "trainer/torch_bridge/torch_compat.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <unordered_set>
#include <utility>
#include <vector>

namespace rondo::trainer {

GradientHook::GradientHook(const at::Tensor& parameter, std::function<void(Incoming)> run)
    : node_(torch::autograd::impl::grad_accumulator(parameter)) {
  using torch::autograd::variable_list;
  key_ = node_->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
      [run = std::move(run)](const variable_list& outputs, const variable_list& inputs) {
        run(!inputs.empty() && inputs.front().defined() ? Incoming::kGradient : Incoming::kUndefined);
        return outputs;
      }));
}

GradientHook::~GradientHook() {
  if (node_) node_->del_post_hook(key_);
}

bool GradientHook::still_on(const at::Tensor& parameter) const {
  return torch::autograd::impl::try_get_grad_accumulator(parameter) == node_;
}

std::vector<at::Tensor> leaves_of(const at::Tensor& result) {
  std::vector<at::Tensor> leaves;
  if (result.requires_grad() && result.is_leaf()) leaves.push_back(result);
  std::unordered_set<const torch::autograd::Node*> seen;
  std::vector<torch::autograd::Node*> open;
  const auto reach = [&](torch::autograd::Node* node) {
    if (node != nullptr && seen.insert(node).second) open.push_back(node);
  };
  reach(result.grad_fn().get());
  while (!open.empty()) {
    torch::autograd::Node* const node = open.back();
    open.pop_back();
    if (const auto* leaf = dynamic_cast<const torch::autograd::AccumulateGrad*>(node)) leaves.push_back(leaf->variable);
    for (const torch::autograd::Edge& edge : node->next_edges()) reach(edge.function.get());
  }
  return leaves;
}

int current_backward() { return torch::autograd::get_current_graph_task_id(); }

bool inside_a_node() { return torch::autograd::get_current_node() != nullptr; }

void at_end_of_backward(std::function<void()> run) {
  torch::autograd::Engine::get_default_engine().queue_callback(std::move(run));
}

namespace {
// Queued from inside a nested backward's callback a callback would run in that backward again, and so for ever.
thread_local std::vector<std::function<void()>> left_for_outer_backward;
}  // namespace

void at_end_of_outer_backward(std::function<void()> run) { left_for_outer_backward.push_back(std::move(run)); }

void hand_over_to_outer_backward() {
  for (auto& run : std::exchange(left_for_outer_backward, {})) at_end_of_backward(std::move(run));
}

bool builds_a_graph() { return c10::GradMode::is_enabled(); }

struct PlainTensorScope::Guards {
  c10::AutoGradMode no_grad{false};
  at::AutoDispatchBelowADInplaceOrView no_autograd;
  c10::impl::ExcludeDispatchKeyGuard no_autocast{c10::autocast_dispatch_keyset};
};

PlainTensorScope::PlainTensorScope() : guards_(std::make_unique<Guards>()) {}
PlainTensorScope::~PlainTensorScope() = default;

}  // namespace rondo::trainer
