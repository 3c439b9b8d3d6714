#include "trainer/checkpoint/module_tensors.h"

#include <torch/nn/module.h>

#include <unordered_map>
#include <utility>

namespace rondo::trainer {
namespace {

void collect(const torch::nn::Module& module, const std::string& prefix, std::vector<NamedTensor>& into) {
  const auto add = [&](const auto& items) {
    for (const auto& item : items) {
      if (item.value().defined()) into.push_back({prefix + item.key(), item.value()});
    }
  };
  add(module.named_parameters(/*recurse=*/false));
  add(module.named_buffers(/*recurse=*/false));
  for (const auto& child : module.named_children()) collect(*child.value(), prefix + child.key() + ".", into);
}

}  // namespace

std::vector<NamedTensor> state_dict_tensors(const torch::nn::Module& module) {
  std::vector<NamedTensor> all;
  collect(module, "", all);
  return all;
}

StoredTensors stored_tensors(const torch::nn::Module& module) {
  StoredTensors stored;
  std::unordered_map<const void*, std::string> first_name;
  for (NamedTensor& item : state_dict_tensors(module)) {
    const auto [place, is_new] = first_name.emplace(item.tensor.unsafeGetTensorImpl(), item.name);
    if (is_new) {
      stored.tensors.push_back(std::move(item));
    } else {
      stored.aliases[item.name] = place->second;
    }
  }
  return stored;
}

}  // namespace rondo::trainer
