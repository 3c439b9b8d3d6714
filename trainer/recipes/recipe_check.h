/// `rondo train --check`: a recipe's training is looked at before its first step and after two, for some mistakes show
/// only then.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "rondo/check.h"
#include "rondo/optimizer.h"

namespace rondo::trainer {

struct CheckedTraining {
  const Job& job;
  DistributedDataParallel& ddp;
  torch::optim::Optimizer& optimizer;            // a rondo::Optimizer
  std::function<at::Tensor(int64_t step)> loss;  // of this rank's batch, from 0
  std::function<void(int64_t step)> prepare;     // zeroes gradients, sets the rate
  std::vector<std::pair<std::string, int64_t>> equal;
};
/// Collective. Stops where an error is found.
Findings check_training(const CheckedTraining& training);

/// Throws rondo::Error, kPreflight, when there is an error among them.
void refuse_errors(const Findings& findings, const std::string& recipe);

}  // namespace rondo::trainer
