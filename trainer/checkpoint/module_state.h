/// A module's and an optimizer's state as named tensors, and back.
///
/// Model: the keys of Python's state_dict (parameters, then buffers, of each module before its children's; dots
/// between; no prefix). A tensor registered under several names is stored once; the other names go to a list of
/// aliases. Optimizer: "state.<parameter>.<field>" for tensors, "step.<parameter>" for counters. SGD and Adam(W).
/// Threading: none of its own; the module must not be trained meanwhile.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "trainer/checkpoint/safetensors.h"

namespace torch {
namespace nn {
class Module;
}
namespace optim {
class Optimizer;
}
}  // namespace torch

namespace rondo::trainer {

struct ModuleState {
  std::vector<std::byte> content;              // of model.safetensors
  std::map<std::string, std::string> aliases;  // tied: name -> stored name
};
ModuleState encode_module(const torch::nn::Module& module);
/// In place: storage, grad and hooks of the parameters stay. Strict: every tensor of the module must be there with its
/// shape and type, and nothing else may be. Throws rondo::Error, kCorrupt, naming `file` and the tensor.
void decode_module(torch::nn::Module& module, const SafetensorsFile& tensors, const std::string& file);

/// State of the parameters of `module` that `optimizer` holds. Throws rondo::Error for kinds it does not know.
std::vector<std::byte> encode_optimizer(const torch::nn::Module& module, torch::optim::Optimizer& optimizer);
/// Replaces the optimizer's state. Throws rondo::Error, kCorrupt, naming `file` and the tensor.
void decode_optimizer(const torch::nn::Module& module, torch::optim::Optimizer& optimizer,
                      const SafetensorsFile& tensors, const std::string& file);

/// XXH3 (128 bits, hexadecimal) of all parameters: names, shapes and bytes, in registration order.
std::string hash_parameters(const torch::nn::Module& module);

}  // namespace rondo::trainer
