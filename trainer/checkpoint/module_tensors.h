/// A module's tensors by the keys of Python's state_dict.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

namespace torch::nn {
class Module;
}

namespace rondo::trainer {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// Every tensor under every name, in the order of Python's state_dict: parameters, then buffers, of each module before
/// its children's. Undefined ones are left out.
std::vector<NamedTensor> state_dict_tensors(const torch::nn::Module& module);

struct StoredTensors {
  std::vector<NamedTensor> tensors;            // each once
  std::map<std::string, std::string> aliases;  // further names of tied ones: name -> stored name
};
StoredTensors stored_tensors(const torch::nn::Module& module);

}  // namespace rondo::trainer
