#include "trainer/step/state_slots.h"

#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>
#include <torch/serialize/archive.h>

#include <sstream>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "trainer/checkpoint/hash.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo::trainer {
namespace {

using Names = std::unordered_map<std::string, std::string>;

/// An archive keys state, and lists parameters, by addresses, which mean nothing on another rank; `names` has their
/// parameters' names.
struct ArchiveReader {
  const Names& names;
  const std::string& suffix;  // of each slot
  const StateVisitor& visitor;

  void read(torch::serialize::InputArchive& archive, const std::string& of) {
    for (const std::string& key : archive.keys()) {
      c10::IValue value;
      if (key.starts_with("params/") || !archive.try_read(key, value)) continue;
      if (value.isObject() || value.isModule()) {
        torch::serialize::InputArchive inner;
        archive.read(key, inner);
        read(inner, place(key, of));
        continue;
      }
      const std::string slot = key + (of.empty() ? " of the optimizer" : " of " + of) + suffix;
      if (key == "param_groups/size") {  // a count that is written as a tensor
        visitor.value(slot, std::to_string(value.toTensor().item().toLong()));
      } else if (value.isTensor()) {
        visitor.tensor(slot, value.toTensor());
      } else {
        std::ostringstream text;
        text << value;
        visitor.value(slot, text.str());
      }
    }
  }

  std::string place(const std::string& key, const std::string& of) const {
    if (const auto name = names.find(key); name != names.end()) return name->second;
    constexpr std::string_view kGroup = "param_groups/";
    if (key.starts_with(kGroup)) return "group " + key.substr(kGroup.size());
    return key == "options" ? of : key;
  }
};

std::string key_of(const at::Tensor& tensor) {
  return std::to_string(reinterpret_cast<size_t>(tensor.unsafeGetTensorImpl()));
}

void visit(const torch::optim::Optimizer& optimizer, Names names, const std::string& suffix,
           const StateVisitor& visitor) {
  for (size_t g = 0; g < optimizer.param_groups().size(); ++g) {
    const auto& parameters = optimizer.param_groups()[g].params();
    for (size_t i = 0; i < parameters.size(); ++i)
      names.emplace(key_of(parameters[i]), "parameter " + std::to_string(i) + " of group " + std::to_string(g));
  }
  std::istringstream bytes(saved(optimizer));
  torch::serialize::InputArchive archive;
  archive.load_from(bytes);
  ArchiveReader{.names = names, .suffix = suffix, .visitor = visitor}.read(archive, "");
}

std::string value_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().cpu().contiguous();
  FastHash hash;
  hash.add({static_cast<const std::byte*>(flat.const_data_ptr()), flat.nbytes()});
  return describe(flat) + " " + hash.hex();
}

}  // namespace

std::string saved(const torch::optim::Optimizer& optimizer) {
  torch::serialize::OutputArchive archive;
  optimizer.save(archive);
  std::ostringstream bytes;
  archive.save_to(bytes);
  return std::move(bytes).str();
}

void visit_state(const torch::nn::Module& module, const std::vector<const torch::optim::Optimizer*>& optimizers,
                 const StateVisitor& visitor) {
  Names names;
  for (const auto& item : module.named_parameters()) {
    visitor.tensor("parameter \"" + item.key() + "\"", item.value());
    names[key_of(item.value())] = "\"" + item.key() + "\"";
  }
  for (const auto& item : module.named_buffers()) {
    if (item.value().defined()) visitor.tensor("buffer \"" + item.key() + "\"", item.value());
  }
  for (size_t i = 0; i < optimizers.size(); ++i)
    visit(*optimizers[i], names, optimizers.size() == 1 ? "" : " (optimizer " + std::to_string(i) + ")", visitor);
}

StateSlots state_slots(const torch::nn::Module& module, const std::vector<const torch::optim::Optimizer*>& optimizers) {
  StateSlots slots;
  visit_state(module, optimizers,
              {.tensor = [&](const std::string& slot, const at::Tensor& tensor) { slots[slot] = value_of(tensor); },
               .value = [&](const std::string& slot, const std::string& text) { slots[slot] = text; }});
  return slots;
}

}  // namespace rondo::trainer
