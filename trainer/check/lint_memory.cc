// Parameters, buffers and gradients whose memory is not theirs alone.
#include <algorithm>

#include "trainer/check/lints.h"
#include "trainer/check/tensor_memory.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo::trainer {
namespace {

struct Item {
  std::string name;
  at::Tensor tensor;
  enum class Kind : uint8_t { kParameter, kBuffer, kGradient } kind;
  StridedMemory memory;
};

/// Each tensor once.
std::vector<Item> items_of(const torch::nn::Module& module) {
  std::vector<Item> items;
  std::unordered_set<const void*> seen;
  const auto add = [&](const std::string& name, const at::Tensor& tensor, Item::Kind kind) {
    auto memory = memory_of(tensor);
    if (!memory || !seen.insert(tensor.unsafeGetTensorImpl()).second) return;
    items.push_back({.name = name, .tensor = tensor, .kind = kind, .memory = std::move(*memory)});
  };
  for (const auto& item : module.named_parameters()) {
    add(quoted(item.key()), item.value(), Item::Kind::kParameter);
    if (item.value().is_leaf())
      add("the gradient of " + quoted(item.key()), item.value().grad(), Item::Kind::kGradient);
  }
  for (const auto& item : module.named_buffers()) add(quoted(item.key()), item.value(), Item::Kind::kBuffer);
  return items;
}

Finding overlaps_itself(const Item& item) {
  bool expanded = false;
  for (int64_t i = 0; i < item.tensor.dim(); ++i) {
    expanded = expanded || (item.tensor.size(i) > 1 && item.tensor.stride(i) == 0);
  }
  return {.severity = Severity::kError,
          .topic = "self-overlap",
          .names = {item.name},
          .what = describe_with_strides(item.tensor) + ": " + self_overlap(item.tensor) +
                  ". What is written into one is written into others",
          .cause = expanded ? "expand() or broadcast_to()" : "as_strided() or unfold()",
          .cure = item.kind == Item::Kind::kGradient
                      ? "do not set .grad to an expanded tensor: clone() it, or let backward() make it"
                      : "clone() it where it is registered, before the module is wrapped"};
}

Finding shares_memory(const Item& first, const Item& second) {
  const bool buffer = first.kind == Item::Kind::kBuffer || second.kind == Item::Kind::kBuffer;
  return {.severity = buffer ? Severity::kWarning : Severity::kError,
          .topic = "shared-memory",
          .names = {first.name + " and " + second.name},
          .what = describe_with_strides(first.tensor) + " and " + describe_with_strides(second.tensor) +
                  " lie in the same memory, but are two tensors: each step writes it twice",
          .cause = "one is a view, a slice or the detach() of the other, or set_data() gave it the other's memory",
          .cure = "register one tensor under both names to tie them; else clone() one of them"};
}

}  // namespace

std::vector<Finding> lint_memory(const CheckedModel& model) {
  std::vector<Finding> found;
  std::vector<Item> items = items_of(model.module);
  for (const Item& item : items) {
    if (!self_overlap(item.tensor).empty()) found.push_back(overlaps_itself(item));
  }
  // By address, so that only neighbours are compared.
  std::ranges::stable_sort(items, {}, [](const Item& item) { return item.memory.begin; });
  for (size_t i = 0; i < items.size(); ++i) {
    for (size_t j = i + 1; j < items.size() && items[j].memory.begin < end_of(items[i].memory); ++j) {
      if (items[i].tensor.device() != items[j].tensor.device()) continue;
      if (share_memory(items[i].memory, items[j].memory)) found.push_back(shares_memory(items[i], items[j]));
    }
  }
  return found;
}

}  // namespace rondo::trainer
