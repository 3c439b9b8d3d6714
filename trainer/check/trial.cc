#include "trainer/check/trial.h"

#include <ATen/ops/isfinite.h>
#include <c10/core/GradMode.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <deque>
#include <exception>

#include "rondo/error.h"
#include "trainer/init/exception_text.h"
#include "trainer/torch_bridge/generator_state.h"
#include "trainer/torch_bridge/tensor_view.h"
#include "trainer/torch_bridge/torch_compat.h"

namespace rondo::trainer {
namespace {

/// While it lives, all wrappers of the job leave gradients alone.
class Disarmed {
 public:
  explicit Disarmed(JobState& job) : job_(job) {
    if (job_.claim_exclusive(this)) return;
    throw Error("check() while an exclusive() scope lives. End the scope first: a check runs a backward of its own",
                ExitCode::kUsage);
  }
  ~Disarmed() { job_.leave_exclusive(); }
  Disarmed(const Disarmed&) = delete;
  Disarmed& operator=(const Disarmed&) = delete;

 private:
  JobState& job_;
};

/// Takes gradients away, and gives them back in the end.
class GradientsAside {
 public:
  GradientsAside() = default;
  ~GradientsAside() {
    for (Kept& kept : kept_) kept.tensor.mutable_grad() = kept.gradient;
  }
  GradientsAside(const GradientsAside&) = delete;
  GradientsAside& operator=(const GradientsAside&) = delete;

  void put(const at::Tensor& tensor) {
    if (!tensor.is_leaf()) return;  // has none
    if (std::ranges::any_of(kept_, [&](const Kept& kept) { return kept.tensor.is_same(tensor); })) return;
    kept_.push_back({.tensor = tensor, .gradient = tensor.grad()});
    kept_.back().tensor.mutable_grad() = at::Tensor();
  }

 private:
  struct Kept {
    at::Tensor tensor, gradient;
  };
  std::vector<Kept> kept_;
};

class BuffersKept {
 public:
  explicit BuffersKept(const torch::nn::Module& module) {
    for (const at::Tensor& buffer : module.buffers()) {
      if (buffer.defined() && is_dense(buffer)) kept_.push_back({.tensor = buffer, .copy = buffer.detach().clone()});
    }
  }
  ~BuffersKept() {
    const PlainTensorScope scope;
    for (Kept& kept : kept_) kept.tensor.copy_(kept.copy);
  }
  BuffersKept(const BuffersKept&) = delete;
  BuffersKept& operator=(const BuffersKept&) = delete;

 private:
  struct Kept {
    at::Tensor tensor, copy;
  };
  std::vector<Kept> kept_;
};

class GeneratorKept {
 public:
  GeneratorKept() : state_(state_of(default_generator())) {}
  ~GeneratorKept() { set_state(default_generator(), state_); }
  GeneratorKept(const GeneratorKept&) = delete;
  GeneratorKept& operator=(const GeneratorKept&) = delete;
  bool moved() const { return !state_of(default_generator()).equal(state_); }

 private:
  const at::Tensor state_;
};

}  // namespace

Trial try_out(JobState& job, const TrialOf& of) {
  Trial trial;
  const Disarmed disarmed(job);
  const BuffersKept buffers(of.module);
  const GeneratorKept generator;
  GradientsAside gradients;
  for (const at::Tensor& parameter : of.parameters) gradients.put(parameter);
  std::deque<GradientHook> hooks;
  try {
    const c10::AutoGradMode with_grad(true);
    const at::Tensor loss = of.loss();
    trial.leaves = leaves_of(loss);
    for (const at::Tensor& leaf : trial.leaves) gradients.put(leaf);
    for (size_t i = 0; i < of.parameters.size(); ++i) {
      if (!of.parameters[i].is_leaf()) continue;
      hooks.emplace_back(of.parameters[i], [&trial, i](Incoming incoming) {
        const bool again = std::ranges::find(trial.arrivals, i) != trial.arrivals.end();
        if (incoming == Incoming::kGradient && !again) trial.arrivals.push_back(i);
      });
    }
    trial.finite = at::isfinite(loss.detach()).all().item<bool>();
    loss.backward();
  } catch (const std::exception&) {
    trial.failure = current_exception_text().value_or("");
  }
  trial.drew = generator.moved();
  return trial;
}

}  // namespace rondo::trainer
