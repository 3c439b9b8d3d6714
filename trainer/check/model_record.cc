#include "trainer/check/model_record.h"

#include <torch/nn/module.h>

#include <algorithm>
#include <map>

#include "trainer/gradient/model_agreement.h"

namespace rondo::trainer {
namespace {

const ParameterRecord* find(const ModelRecord& record, const std::string& name) {
  const auto found = std::ranges::find(record, name, &ParameterRecord::name);
  return found == record.end() ? nullptr : &*found;
}

Finding changed(const std::string& name, const std::string& what) {
  return {.severity = Severity::kWarning,
          .topic = "changed-after-wrap",
          .names = {"\"" + name + "\" (" + what + ")"},
          .what =
              "where all ranks changed it alike, the next synced backward compares the model, gives all ranks rank "
              "0's values and plans buckets anew; on some ranks alone it fails",
          .cause =
              "to(), set_data(), torch::load(), or a layer that was added, replaced, frozen or thawed after the "
              "module was wrapped",
          .cure = "change the module first, then wrap it, then build the optimizer"};
}

/// Only the first difference: the others follow from it.
std::string change(const ParameterRecord& before, const ParameterRecord& now) {
  if (before.tensor != now.tensor) return "another tensor is registered";
  if (before.form != now.form) return "was " + before.form + ", is " + now.form;
  if (before.device != now.device) return "was on " + before.device + ", is on " + now.device;
  if (before.data != now.data) return "lies in other memory";
  if (before.needs_gradient != now.needs_gradient) {
    return now.needs_gradient ? "was frozen, needs a gradient now" : "needed a gradient, is frozen now";
  }
  return "";
}

bool tied(const ParameterRecord& a, const ParameterRecord& b) {
  return a.tensor == b.tensor || (a.data != nullptr && a.data == b.data && a.form == b.form);
}

Finding broken_tie(const ParameterRecord& first, const ParameterRecord& second) {
  return {.severity = Severity::kError,
          .topic = "broken-tie",
          .names = {"\"" + first.name + "\" and \"" + second.name + "\""},
          .what = "were one when the module was wrapped, and are two now: each is trained by itself",
          .cause = first.tensor == second.tensor ? "one of the two was registered anew"
                                                 : "they shared memory only, and to(), set_data() or torch::load() "
                                                   "gave each a memory of its own",
          .cure = "register one tensor under both names: register_parameter(\"weight\", embedding->weight)"};
}

}  // namespace

ModelRecord record_of(const torch::nn::Module& module) {
  ModelRecord record;
  for (const auto& item : module.named_parameters(/*recurse=*/true)) {
    const at::Tensor& tensor = item.value();
    if (!tensor.defined()) continue;
    std::string form = describe_parameter(tensor);
    if (!tensor.requires_grad()) form.resize(form.rfind(", frozen"));
    record.push_back({.name = item.key(),
                      .tensor = tensor.unsafeGetTensorImpl(),
                      .data = tensor.numel() > 0 && tensor.layout() == at::kStrided ? tensor.const_data_ptr() : nullptr,
                      .form = std::move(form),
                      .device = tensor.device().str(),
                      .needs_gradient = tensor.requires_grad()});
  }
  return record;
}

std::vector<Finding> changes(const RecordPair& of) {
  std::vector<Finding> found;
  for (const ParameterRecord& before : of.before) {
    const ParameterRecord* now = find(of.now, before.name);
    const std::string what = now == nullptr ? "is not registered any more" : change(before, *now);
    if (!what.empty()) found.push_back(changed(before.name, what));
  }
  for (const ParameterRecord& now : of.now) {
    if (find(of.before, now.name) == nullptr) found.push_back(changed(now.name, "was registered, " + now.form));
  }
  // Every name with the first one that it was tied to.
  std::map<const void*, const ParameterRecord*> by_tensor, by_data;
  for (const ParameterRecord& second : of.before) {
    const ParameterRecord* first = by_tensor.emplace(second.tensor, &second).first->second;
    if (first == &second && second.data != nullptr) first = by_data.emplace(second.data, &second).first->second;
    if (first == &second || !tied(*first, second)) continue;
    const ParameterRecord* first_now = find(of.now, first->name);
    const ParameterRecord* second_now = find(of.now, second.name);
    if (first_now == nullptr || second_now == nullptr || tied(*first_now, *second_now)) continue;
    found.push_back(broken_tie(*first, second));
  }
  return found;
}

}  // namespace rondo::trainer
