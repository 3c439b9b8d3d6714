/// An exponential moving average of a module's parameters.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "rondo/optimizer.h"

namespace rondo {

/// An exponential moving average of a module's parameters: average = decay * average + (1 - decay) * parameter at each
/// update, the first of which copies. Replicas are bit-equal, so their averages are, too, without a word. The numbers
/// are those of torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(decay).
class Ema {
 public:
  /// `module` and `optimizer`, which trains it, must outlive this; decay in [0, 1).
  Ema(torch::nn::Module& module, const torch::optim::Optimizer& optimizer, double decay);

  /// After each step. The averages stay when a rondo::Optimizer has applied no step since the last update.
  void update();
  /// Those that changed the averages.
  int64_t updates() const { return updates_; }

  /// As long as the scope lives the module has the averages for parameters, for evaluation or to be saved; its own come
  /// back afterwards. One at a time, with no backward in flight.
  class [[nodiscard]] Scope {
   public:
    explicit Scope(Ema& ema);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Ema& ema_;
  };
  Scope averages() { return Scope(*this); }

  /// The averages by the names of the parameters, to be kept with a checkpoint.
  std::vector<std::pair<std::string, at::Tensor>> state() const;
  /// Throws, naming it, when a parameter is missing or differs in shape or dtype.
  void restore(const std::vector<std::pair<std::string, at::Tensor>>& state, int64_t updates);

 private:
  void swap();
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_, averages_;
  trainer::StepFollower follower_;
  const double decay_;
  int64_t updates_ = 0;
  bool swapped_ = false;
};

}  // namespace rondo
