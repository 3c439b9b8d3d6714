#include "rondo/recompute.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "trainer/torch_bridge/generator_state.h"
#include "trainer/torch_bridge/torch_compat.h"

namespace rondo {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The default generator of CPU tensors as it was at `state`, until this is destroyed.
class Draws {
 public:
  explicit Draws(const at::Tensor& state) { trainer::set_state(trainer::default_generator(), state); }
  ~Draws() { trainer::set_state(trainer::default_generator(), before_); }
  Draws(const Draws&) = delete;
  Draws& operator=(const Draws&) = delete;

 private:
  const at::Tensor before_ = trainer::state_of(trainer::default_generator());
};

struct Autocasting {
  bool on = at::autocast::is_autocast_enabled(at::kCPU);
  at::ScalarType dtype = at::autocast::get_autocast_dtype(at::kCPU);
  void set() const {
    at::autocast::set_autocast_enabled(at::kCPU, on);
    at::autocast::set_autocast_dtype(at::kCPU, dtype);
  }
};

class AutocastScope {
 public:
  explicit AutocastScope(const Autocasting& wanted) {
    wanted.set();
    at::autocast::increment_nesting();
  }
  ~AutocastScope() {
    // As in Autocast: the next step has other parameters than those whose casts are kept.
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    before_.set();
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  const Autocasting before_;
};

struct Again {
  ForwardPart run;
  at::Tensor draws;
  Autocasting autocast;
};

struct Recompute : torch::autograd::Function<Recompute> {
  /// `anchor` needs a gradient, so that there is a node even when no input does.
  static variable_list forward(AutogradContext* context, const std::shared_ptr<Again>& again,
                               const at::Tensor& /*anchor*/, at::TensorList inputs) {
    context->saved_data["again"] = c10::IValue::make_capsule(c10::make_intrusive<Holder>(again));
    context->save_for_backward(inputs.vec());
    return again->run(inputs.vec());
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto holder = c10::static_intrusive_pointer_cast<Holder>(context->saved_data["again"].toCapsule());
    const Again& again = *holder->again;
    variable_list inputs;
    for (const at::Tensor& saved : context->get_saved_variables()) {
      inputs.push_back(saved.defined() ? saved.detach().set_requires_grad(saved.requires_grad()) : saved);
    }
    variable_list outputs;
    {
      const c10::AutoGradMode grad(true);
      const Draws draws(again.draws);
      const AutocastScope autocast(again.autocast);
      outputs = again.run(inputs);
    }
    variable_list roots, root_gradients;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i].requires_grad() || !gradients[i].defined()) continue;
      roots.push_back(outputs[i]);
      root_gradients.push_back(gradients[i]);
    }
    if (!roots.empty()) torch::autograd::backward(roots, root_gradients);
    trainer::hand_over_to_outer_backward();
    variable_list result{at::Tensor(), at::Tensor()};
    for (const at::Tensor& input : inputs) result.push_back(input.defined() ? input.grad() : at::Tensor());
    return result;
  }

  struct Holder final : torch::CustomClassHolder {
    explicit Holder(std::shared_ptr<Again> kept) : again(std::move(kept)) {}
    std::shared_ptr<Again> again;  // shared with the call of forward
  };
};

}  // namespace

std::vector<at::Tensor> checkpoint(const ForwardPart& run, const std::vector<at::Tensor>& inputs) {
  if (!c10::GradMode::is_enabled()) return run(inputs);
  const auto again = std::make_shared<Again>(
      Again{.run = run, .draws = trainer::state_of(trainer::default_generator()), .autocast = {}});
  return Recompute::apply(again, at::zeros({0}).set_requires_grad(true), at::TensorList(inputs));
}

at::Tensor checkpoint(const std::function<at::Tensor(const at::Tensor& input)>& run, const at::Tensor& input) {
  return checkpoint([run](const std::vector<at::Tensor>& inputs) { return std::vector<at::Tensor>{run(inputs[0])}; },
                    {input})
      .front();
}

}  // namespace rondo
