// A module's tensors to and from the files that Python reads and writes.
#include "rondo/state_dict.h"

#include <ATen/ops/equal.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "rondo/error.h"
#include "trainer/checkpoint/durable_file.h"
#include "trainer/checkpoint/module_tensors.h"
#include "trainer/checkpoint/safetensors.h"
#include "trainer/checkpoint/tensor_records.h"
#include "trainer/torch_bridge/pt_file.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo {
namespace {

using trainer::NamedTensor;

using Found = std::map<std::string, at::Tensor>;
constexpr const char* kWrapperPrefix = "module.";

/// Python's DistributedDataParallel is a module whose only child is "module".
Found without_wrapper(Found found, const std::vector<NamedTensor>& wanted) {
  const auto wrapped = [](const std::string& name) { return name.starts_with(kWrapperPrefix); };
  const bool all_wrapped = std::ranges::all_of(found, [&](const auto& item) { return wrapped(item.first); });
  if (!all_wrapped || std::ranges::any_of(wanted, [&](const auto& item) { return wrapped(item.name); })) return found;
  Found bare;
  for (auto& [name, tensor] : found) bare[name.substr(std::string(kWrapperPrefix).size())] = std::move(tensor);
  return bare;
}

/// "missing: a, b", or nothing.
void describe(std::string& message, const char* what, const std::vector<std::string>& names) {
  if (names.empty()) return;
  message += std::string("\n  ") + what + ": ";
  for (size_t i = 0; i < names.size(); ++i) message += (i == 0 ? "" : ", ") + names[i];
}

/// All is compared before the first tensor is changed.
void fill(torch::nn::Module& module, Found found, const std::string& file) {
  const std::vector<NamedTensor> wanted = trainer::state_dict_tensors(module);
  const auto aliases = trainer::stored_tensors(module).aliases;
  const auto stored_name = [&](const std::string& name) {
    const auto alias = aliases.find(name);
    return alias == aliases.end() ? name : alias->second;
  };
  found = without_wrapper(std::move(found), wanted);

  std::map<std::string, std::pair<at::Tensor, at::Tensor>> copies;  // stored name -> into, from
  std::vector<std::string> missing, unexpected, misshaped, untied;
  for (const NamedTensor& item : wanted) {
    const auto at = found.find(item.name);
    if (at == found.end()) continue;
    const at::Tensor from = at->second;
    found.erase(at);
    const std::string name = stored_name(item.name);
    if (from.sizes() != item.tensor.sizes()) {
      misshaped.push_back(item.name + " (expected " + trainer::describe(item.tensor) + ", found " +
                          trainer::describe(from) + ")");
    } else if (copies.contains(name) && !at::equal(copies[name].second, from)) {
      untied.push_back(item.name + " and " + name);
    }
    copies.try_emplace(name, item.tensor, from);
  }
  for (const NamedTensor& item : wanted) {
    if (!aliases.contains(item.name) && !copies.contains(item.name)) missing.push_back(item.name);
  }
  for (const auto& [name, tensor] : found) unexpected.push_back(name);
  if (missing.empty() && unexpected.empty() && misshaped.empty() && untied.empty()) {
    const at::NoGradGuard no_grad;
    for (auto& [name, copy] : copies) copy.first.copy_(copy.second);
    return;
  }
  std::string message = file + " does not fit this module, which stays as it was:";
  describe(message, "missing in the file", missing);
  describe(message, "unexpected, not in the module", unexpected);
  describe(message, "of another shape", misshaped);
  describe(message, "tied in the module, different in the file", untied);
  throw Error(message, ExitCode::kCorrupt);
}

}  // namespace

void save_pt(const torch::nn::Module& module, const std::string& file) {
  trainer::NamedTensors tensors;
  for (const NamedTensor& item : trainer::state_dict_tensors(module)) tensors.emplace_back(item.name, item.tensor);
  trainer::write_atomically(file, trainer::encode_pt(tensors));
}

void save_safetensors(const torch::nn::Module& module, const std::string& file) {
  trainer::RecordList records;
  for (const NamedTensor& item : trainer::state_dict_tensors(module)) records.add(item.name, item.tensor);
  trainer::write_atomically(file, records.encode({{"format", "pt"}}));
}

void load_pt(torch::nn::Module& module, const std::string& file, const std::string& entry) {
  Found found;
  for (auto& [name, tensor] : trainer::read_pt(file, entry)) found[name] = std::move(tensor);
  fill(module, std::move(found), file);
}

void load_safetensors(torch::nn::Module& module, const std::string& file) {
  Found found;
  const trainer::SafetensorsFile tensors = trainer::SafetensorsFile::read(file);
  for (const trainer::TensorRecord& record : tensors.tensors()) found[record.name] = trainer::to_tensor(record);
  fill(module, std::move(found), file);
}

}  // namespace rondo
