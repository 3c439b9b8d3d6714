/// What a checkpoint of a user's program holds: a module, its optimizer, a sampler, and parts by name.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "rondo/comm_hook.h"
#include "rondo/ema.h"
#include "rondo/loss_scale.h"
#include "rondo/random_streams.h"
#include "rondo/rate_schedule.h"
#include "rondo/rate_scheduler.h"
#include "rondo/sampler.h"

namespace rondo {

/// State as tensors and texts by name (a text may be JSON). Numbers are best kept as tensors of one element: exact.
struct PartContent {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> texts;
};

/// Anything that has a state of its own. `save` and `load` are called on every rank.
struct Part {
  /// Whether all ranks have the same (rank 0's is kept), or each its own. What is kept per rank can only be loaded by
  /// as many ranks.
  enum class Kept : uint8_t { kOnce, kPerRank };

  std::string name;  // letters, digits, - and _
  Kept kept = Kept::kOnce;
  std::function<PartContent()> save;
  /// Gets what save() returned, tensors on the CPU. Throws rondo::Error when it does not fit.
  std::function<void(const PartContent&)> load;
};

/// Refers to what a program trains, so that save() and load() find all of it; it holds no state itself. Everything that
/// is added must outlive it. Ranks add the same parts; a name is given once.
class TrainingState {
 public:
  TrainingState(torch::nn::Module& module, torch::optim::Optimizer& optimizer)
      : module_(module), optimizer_(optimizer) {}
  TrainingState(torch::nn::Module& module, torch::optim::Optimizer& optimizer, const Sampler& sampler)
      : module_(module), optimizer_(optimizer), sampler_(sampler) {}

  TrainingState& add(Part part);
  TrainingState& add(const std::string& name, RateScheduler& rates);
  TrainingState& add(const std::string& name, PlateauScheduler& rates);
  TrainingState& add(const std::string& name, Plateau& plateau);
  TrainingState& add(const std::string& name, LossScale& scale);
  TrainingState& add(const std::string& name, Ema& averages);
  /// A further network, as of a GAN, and its optimizer.
  TrainingState& add(const std::string& name, torch::nn::Module& module);
  TrainingState& add(const std::string& name, torch::nn::Module& module, torch::optim::Optimizer& optimizer);
  /// What a comm hook keeps: PowerSGD's errors and factors, of each rank.
  TrainingState& add(const std::string& name, CommHook& hook);
  TrainingState& add(const std::string& name, RandomStreams& streams);
  /// A generator of random numbers, of each rank.
  TrainingState& add(const std::string& name, at::Generator generator);
  /// LibTorch's default generator of each rank, of which dropout and torch::rand draw: the part "generator".
  TrainingState& add_default_generator();

  torch::nn::Module& module() const { return module_; }
  torch::optim::Optimizer& optimizer() const { return optimizer_; }
  const std::optional<Sampler>& sampler() const { return sampler_; }
  const std::vector<Part>& parts() const { return parts_; }

 private:
  torch::nn::Module& module_;
  torch::optim::Optimizer& optimizer_;
  std::optional<Sampler> sampler_;
  std::vector<Part> parts_;
};

}  // namespace rondo
