#include "trainer/checkpoint/module_state.h"

#include <torch/nn/module.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "rondo/error.h"
#include "trainer/checkpoint/hash.h"
#include "trainer/checkpoint/module_tensors.h"
#include "trainer/checkpoint/tensor_records.h"

namespace rondo::trainer {
namespace {

/// The parameters that `optimizer` holds, by their names in `module`.
std::vector<NamedTensor> optimized_parameters(const torch::nn::Module& module, torch::optim::Optimizer& optimizer) {
  std::unordered_map<const void*, std::string> names;
  for (const NamedTensor& item : stored_tensors(module).tensors) names[item.tensor.unsafeGetTensorImpl()] = item.name;
  std::vector<NamedTensor> found;
  std::set<const void*> seen;
  for (auto& group : optimizer.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      const void* const key = parameter.unsafeGetTensorImpl();
      if (!seen.insert(key).second) continue;
      const auto name = names.find(key);
      if (name == names.end())
        throw Error("the optimizer holds a parameter that the module does not have; save them together");
      found.push_back({name->second, parameter});
    }
  }
  return found;
}

/// Calls `visit` with each tensor of `state` and `count` with each counter, by field name.
using VisitTensor = std::function<void(const char* field, at::Tensor& tensor)>;
using VisitCounter = std::function<void(int64_t& step)>;
void visit_state(torch::optim::OptimizerParamState& state, const VisitTensor& visit, const VisitCounter& count) {
  const auto visit_adam = [&](auto& adam) {
    count(adam.step());
    visit("exp_avg", adam.exp_avg());
    visit("exp_avg_sq", adam.exp_avg_sq());
    visit("max_exp_avg_sq", adam.max_exp_avg_sq());
  };
  if (auto* const sgd = dynamic_cast<torch::optim::SGDParamState*>(&state)) {
    visit("momentum_buffer", sgd->momentum_buffer());
  } else if (auto* const adam = dynamic_cast<torch::optim::AdamParamState*>(&state)) {
    visit_adam(*adam);
  } else if (auto* const adamw = dynamic_cast<torch::optim::AdamWParamState*>(&state)) {
    visit_adam(*adamw);
  } else {
    throw Error("checkpoints hold the state of SGD, Adam and AdamW; this optimizer is another one");
  }
}

std::unique_ptr<torch::optim::OptimizerParamState> new_state(const torch::optim::Optimizer& optimizer) {
  if (dynamic_cast<const torch::optim::SGD*>(&optimizer) != nullptr)
    return std::make_unique<torch::optim::SGDParamState>();
  if (dynamic_cast<const torch::optim::Adam*>(&optimizer) != nullptr)
    return std::make_unique<torch::optim::AdamParamState>();
  if (dynamic_cast<const torch::optim::AdamW*>(&optimizer) != nullptr)
    return std::make_unique<torch::optim::AdamWParamState>();
  throw Error("checkpoints hold the state of SGD, Adam and AdamW; this optimizer is another one");
}

std::string state_key(const std::string& parameter, const std::string& field) {
  return "state." + parameter + "." + field;
}
std::string rate_key(size_t group) { return "group." + std::to_string(group) + ".lr"; }

}  // namespace

ModuleState encode_module(const torch::nn::Module& module) {
  StoredTensors stored = stored_tensors(module);
  RecordList records;
  for (const NamedTensor& item : stored.tensors) records.add(item.name, item.tensor);
  return {.content = records.encode({{"format", "pt"}}), .aliases = std::move(stored.aliases)};
}

void decode_module(torch::nn::Module& module, const SafetensorsFile& tensors, const std::string& file) {
  const at::NoGradGuard no_grad;
  StateReader reader(tensors, file);
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;  // all are checked before the first is made
  for (const NamedTensor& item : stored_tensors(module).tensors)
    copies.emplace_back(item.tensor, reader.take_like(item.name, item.tensor));
  reader.expect_nothing_else();
  for (auto& [into, from] : copies) into.copy_(from);
}

std::vector<std::byte> encode_optimizer(const torch::nn::Module& module, torch::optim::Optimizer& optimizer) {
  RecordList records;
  for (const NamedTensor& item : optimized_parameters(module, optimizer)) {
    const auto found = optimizer.state().find(item.tensor.unsafeGetTensorImpl());
    if (found == optimizer.state().end()) continue;  // it had no gradient yet
    visit_state(
        *found->second,
        [&](const char* field, at::Tensor& tensor) {
          if (tensor.defined()) records.add(state_key(item.name, field), tensor);
        },
        [&](int64_t& step) { records.add(state_key(item.name, "step"), at::scalar_tensor(step, at::kLong)); });
  }
  for (size_t group = 0; group < optimizer.param_groups().size(); ++group) {
    records.add(rate_key(group), at::scalar_tensor(optimizer.param_groups()[group].options().get_lr(), at::kDouble));
  }
  return records.encode({{"format", "pt"}});
}

void decode_optimizer(const torch::nn::Module& module, torch::optim::Optimizer& optimizer,
                      const SafetensorsFile& tensors, const std::string& file) {
  const at::NoGradGuard no_grad;
  StateReader reader(tensors, file);
  std::vector<std::pair<void*, std::unique_ptr<torch::optim::OptimizerParamState>>> states;
  for (const NamedTensor& item : optimized_parameters(module, optimizer)) {
    auto state = new_state(optimizer);
    bool any = false;
    visit_state(
        *state,
        [&](const char* field, at::Tensor& tensor) {
          const std::string key = state_key(item.name, field);
          if (tensors.find(key) == nullptr) return;
          tensor = reader.take_like(key, item.tensor).to(item.tensor.device());
          any = true;
        },
        [&](int64_t& step) {
          if (const TensorRecord* const record = reader.take(state_key(item.name, "step"))) {
            if (record->dtype != "I64" || !record->shape.empty())
              reader.corrupt("\"" + record->name + "\": expected I64 []");
            step = to_tensor(*record).item<int64_t>();
            any = true;
          }
        });
    if (any) states.emplace_back(item.tensor.unsafeGetTensorImpl(), std::move(state));
  }
  std::vector<double> rates;
  for (size_t group = 0; group < optimizer.param_groups().size(); ++group) {
    rates.push_back(reader.take_like(rate_key(group), at::scalar_tensor(0, at::kDouble)).item<double>());
  }
  reader.expect_nothing_else();
  optimizer.state().clear();
  for (auto& [key, state] : states) optimizer.state()[key] = std::move(state);
  for (size_t group = 0; group < rates.size(); ++group) optimizer.param_groups()[group].options().set_lr(rates[group]);
}

std::string hash_parameters(const torch::nn::Module& module) {
  RecordList records;
  for (const auto& item : module.named_parameters()) records.add(item.key(), item.value());
  FastHash hash;
  for (const TensorRecord& record : records.records()) {
    hash.add(record.name + " " + record.dtype + " " + shape_text(record.shape) + "\n");
    hash.add(record.bytes);
  }
  return hash.hex();
}

}  // namespace rondo::trainer
