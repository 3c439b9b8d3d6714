#include <ATen/ops/_foreach_lerp.h>

#include <unordered_set>

#include "rondo/ema.h"
#include "rondo/error.h"
#include "trainer/torch_bridge/tensor_view.h"
#include "trainer/torch_bridge/torch_compat.h"

namespace rondo {

using trainer::PlainTensorScope;

Ema::Ema(torch::nn::Module& module, const torch::optim::Optimizer& optimizer, double decay)
    : follower_(optimizer), decay_(decay) {
  if (!(decay >= 0 && decay < 1)) {
    throw Error("the decay of an average is " + std::to_string(decay) + "; it must be in [0, 1)", ExitCode::kUsage);
  }
  std::unordered_set<const void*> seen;
  for (const auto& item : module.named_parameters()) {
    if (!seen.insert(item.value().unsafeGetTensorImpl()).second) continue;
    names_.push_back(item.key());
    parameters_.push_back(item.value());
    averages_.push_back(item.value().detach().clone());
  }
}

void Ema::update() {
  if (swapped_) throw Error("update() of an average inside its averages() scope", ExitCode::kUsage);
  if (!follower_.moves()) return;
  const PlainTensorScope scope;
  if (updates_++ == 0) {
    for (size_t i = 0; i < averages_.size(); ++i) averages_[i].copy_(parameters_[i]);
  } else {
    at::_foreach_lerp_(averages_, parameters_, 1 - decay_);
  }
}

void Ema::swap() {
  const PlainTensorScope scope;
  for (size_t i = 0; i < averages_.size(); ++i) {
    const at::Tensor own = parameters_[i].clone();
    parameters_[i].copy_(averages_[i]);
    averages_[i].copy_(own);
  }
  swapped_ = !swapped_;
}

Ema::Scope::Scope(Ema& ema) : ema_(ema) {
  if (ema.swapped_) throw Error("averages() inside a scope of averages()", ExitCode::kUsage);
  ema_.swap();
}

Ema::Scope::~Scope() { ema_.swap(); }

std::vector<std::pair<std::string, torch::Tensor>> Ema::state() const {
  std::vector<std::pair<std::string, torch::Tensor>> state;
  const auto& current = swapped_ ? parameters_ : averages_;
  for (size_t i = 0; i < names_.size(); ++i) state.emplace_back(names_[i], current[i].detach().clone());
  return state;
}

void Ema::restore(const std::vector<std::pair<std::string, torch::Tensor>>& state, int64_t updates) {
  if (swapped_) throw Error("restore() of an average inside its averages() scope", ExitCode::kUsage);
  const PlainTensorScope scope;
  std::vector<at::Tensor> found;
  for (size_t i = 0; i < names_.size(); ++i) {
    const auto at = std::ranges::find(state, names_[i], &std::pair<std::string, torch::Tensor>::first);
    const std::string wanted = "the average of \"" + names_[i] + "\", " + trainer::describe(averages_[i]);
    if (at == state.end()) throw Error(wanted + ", is missing in the state to restore", ExitCode::kCorrupt);
    if (at->second.sizes() != averages_[i].sizes() || at->second.scalar_type() != averages_[i].scalar_type()) {
      throw Error(wanted + ", is " + trainer::describe(at->second) + " in the state to restore", ExitCode::kCorrupt);
    }
    found.push_back(at->second);
  }
  for (size_t i = 0; i < found.size(); ++i) averages_[i].copy_(found[i]);
  updates_ = updates;
}

}  // namespace rondo
