/// All state of a module and its optimizer as a list of named slots, whatever the optimizer.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
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

struct StateVisitor {
  /// Parameters and buffers are the module's own, optimizer state is a copy.
  std::function<void(const std::string& slot, const at::Tensor& tensor)> tensor;
  std::function<void(const std::string& slot, const std::string& text)> value;  // numbers, options
};
/// Names as in StateDifference (rondo/replica_state.h); those of several optimizers end with " (optimizer 1)".
void visit_state(const torch::nn::Module& module, const std::vector<const torch::optim::Optimizer*>& optimizers,
                 const StateVisitor& visitor);

/// The same in words that ranks can compare: slot -> a hash of the bytes, or the value.
using StateSlots = std::map<std::string, std::string>;
StateSlots state_slots(const torch::nn::Module& module, const std::vector<const torch::optim::Optimizer*>& optimizers);

/// As optimizer.save() writes it.
std::string saved(const torch::optim::Optimizer& optimizer);

}  // namespace rondo::trainer
