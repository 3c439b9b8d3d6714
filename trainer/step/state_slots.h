/// All that must be equal on all ranks, in words that ranks can compare.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace torch {
namespace nn {
class Module;
}
namespace optim {
class Optimizer;
}
}  // namespace torch

namespace rondo::trainer {

/// "parameter \"fc1.weight\"", "buffer \"bn.running_mean\"", "exp_avg of \"fc1.weight\"", "lr of group 0" -> a hash of
/// the bytes, or the value. Slots of several optimizers end with " (optimizer 1)".
using StateSlots = std::map<std::string, std::string>;
StateSlots state_slots(const torch::nn::Module& module, const std::vector<const torch::optim::Optimizer*>& optimizers);

}  // namespace rondo::trainer
