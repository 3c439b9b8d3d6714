/// What must be equal on all ranks for their replicas to stay equal, optimizer state included.
#pragma once

#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <string>
#include <vector>

#include "rondo/job.h"

namespace rondo {

/// Gives every rank rank 0's optimizer state: momentum, moments, steps, and the options of each group. For a checkpoint
/// that rank 0 alone has loaded; wrapping the module does the same for parameters and buffers. What the others had is
/// gone. Goes through the optimizer's own save() and load(), so it takes any of LibTorch's. Collective.
/// Errors: kMismatch, on all ranks, when groups or parameters differ in number, shape or dtype.
void broadcast(const Job& job, torch::optim::Optimizer& optimizer);

/// One thing that differs: `slot` is "parameter \"fc1.weight\"", "buffer \"bn.running_mean\"",
/// "exp_avg of \"fc1.weight\"" or "lr of group 0"; `ranks` do not have in it what rank 0 has.
struct StateDifference {
  std::string slot;
  std::vector<int> ranks;
  bool operator==(const StateDifference&) const = default;
};
/// Compares the bytes of all parameters, buffers and optimizer state on all ranks with rank 0's; the same list on every
/// rank, empty when they are equal. Collective. Cost: a hash of everything, and a line a slot to rank 0.
std::vector<StateDifference> state_differences(const Job& job, const torch::nn::Module& module,
                                               const torch::optim::Optimizer& optimizer);

}  // namespace rondo
