#include "trainer/gradient/model_content.h"

#include <torch/nn/modules/embedding.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "trainer/check/tensor_memory.h"
#include "trainer/gradient/buckets.h"

namespace rondo::trainer {
namespace {

using comm::Code;
using comm::Status;

bool is_ignored(const std::string& name, const std::vector<std::string>& ignored) {
  return std::ranges::any_of(ignored, [&](const std::string& path) { return is_in(name, path); });
}

std::unordered_set<const void*> sparse_weights(const torch::nn::Module& module) {
  std::unordered_set<const void*> weights;
  const auto look_at = [&](const torch::nn::Module& part) {
    if (const auto* embedding = dynamic_cast<const torch::nn::EmbeddingImpl*>(&part)) {
      if (embedding->options.sparse()) weights.insert(embedding->weight.unsafeGetTensorImpl());
    } else if (const auto* bag = dynamic_cast<const torch::nn::EmbeddingBagImpl*>(&part)) {
      if (bag->options.sparse()) weights.insert(bag->weight.unsafeGetTensorImpl());
    }
  };
  look_at(module);
  for (const auto& part : module.modules(/*include_self=*/false)) look_at(*part);
  return weights;
}

/// Type of each module by its path.
std::unordered_map<std::string, std::string> module_types(const torch::nn::Module& module) {
  std::unordered_map<std::string, std::string> types{{"", module.name()}};
  for (const auto& part : module.named_modules("", /*include_self=*/false)) types[part.key()] = part.value()->name();
  return types;
}

std::string module_of(const std::string& parameter, const std::unordered_map<std::string, std::string>& types) {
  const size_t dot = parameter.rfind('.');
  const std::string path = dot == std::string::npos ? "" : parameter.substr(0, dot);
  const auto type = types.find(path);
  const std::string known = type == types.end() ? "" : type->second;
  return path.empty() ? known : path + " (" + known + ")";
}

const char* name_of(BufferSync sync) {
  switch (sync) {
    case BufferSync::kBroadcast:
      return "broadcast";
    case BufferSync::kMean:
      return "mean";
    case BufferSync::kCustom:
      return "custom";
    case BufferSync::kNone:
      return "none";
  }
  return "";
}

void add_options(ModelTable& table, const ReplicaOptions& options) {
  const auto add = [&](const std::string& name, const std::string& value) {
    table.push_back({.kind = "option", .name = name, .what = value});
  };
  add("bucket_cap_bytes", std::to_string(options.bucket_cap_bytes));
  add("first_bucket_bytes", std::to_string(options.first_bucket_bytes));
  add("buffers", name_of(options.buffers));
  for (const auto& [path, sync] : options.buffers_of) add("buffers of " + path, name_of(sync));
  for (const std::string& path : options.ignore) add("ignore", path);
}

}  // namespace

bool is_in(const std::string& name, const std::string& path) {
  return name.starts_with(path) && (name.size() == path.size() || name[path.size()] == '.' || path.empty());
}

ModelContent content_of(const torch::nn::Module& module, const ReplicaOptions& options) {
  ModelContent content;
  const auto types = module_types(module);
  const auto sparse = sparse_weights(module);
  std::unordered_map<const void*, std::string> first_name;
  const auto take = [&](const std::string& kind, const std::string& name, const at::Tensor& tensor) {
    const auto [known, is_new] = first_name.emplace(tensor.unsafeGetTensorImpl(), name);
    const std::string what = kind == "parameter" ? describe_parameter(tensor) : describe(tensor);
    content.table.push_back({.kind = kind, .name = name, .what = is_new ? what : "tied to \"" + known->second + "\""});
    if (is_new) content.state.push_back({.name = name, .tensor = tensor});
    return is_new;
  };
  for (const auto& item : module.named_parameters(/*recurse=*/true)) {
    const at::Tensor& tensor = item.value();
    if (!tensor.defined() || is_ignored(item.key(), options.ignore)) continue;
    if (!take("parameter", item.key(), tensor) || !tensor.requires_grad()) continue;
    const auto kind = sparse.contains(tensor.unsafeGetTensorImpl()) ? GradientParameter::Kind::kSparse
                                                                    : GradientParameter::Kind::kDense;
    content.gradients.push_back(
        {.name = item.key(), .module = module_of(item.key(), types), .tensor = tensor, .kind = kind});
  }
  for (const auto& item : module.named_buffers(/*recurse=*/true)) {
    const at::Tensor& tensor = item.value();
    if (!tensor.defined() || is_ignored(item.key(), options.ignore)) continue;
    if (take("buffer", item.key(), tensor)) content.buffers.push_back({.name = item.key(), .tensor = tensor});
  }
  add_options(content.table, options);
  return content;
}

Status check(const ModelContent& content, const torch::nn::Module& module, const ReplicaOptions& options, int rank) {
  const comm::Where where{.rank = rank, .operation = "wrap"};
  if (content.gradients.empty()) {
    return Status(
        Code::kInvalidArgument,
        "the module has no parameter that needs a gradient, so there is nothing to average. Is everything frozen or "
        "ignored, or are the layers not registered with register_module()?",
        where);
  }
  if (options.bucket_cap_bytes <= 0 || options.first_bucket_bytes <= 0) {
    return Status(Code::kInvalidArgument, "bucket_cap_bytes and first_bucket_bytes must be positive", where);
  }
  std::vector<std::string> names;
  for (const auto& item : module.named_parameters()) names.push_back(item.key());
  for (const auto& item : module.named_buffers()) names.push_back(item.key());
  std::vector<std::string> paths = options.ignore;
  for (const auto& [path, sync] : options.buffers_of) paths.push_back(path);
  for (const std::string& path : paths) {
    if (std::ranges::any_of(names, [&](const std::string& name) { return is_in(name, path); })) continue;
    std::string known;
    for (size_t i = 0; i < std::min<size_t>(names.size(), 8); ++i) known += (i == 0 ? "" : ", ") + names[i];
    return Status(Code::kInvalidArgument,
                  "\"" + path + "\" names no parameter, buffer or module of the wrapped module; it has " + known +
                      (names.size() > 8 ? ", ..." : ""),
                  where);
  }
  const auto custom = [](const auto& named) { return named.second == BufferSync::kCustom; };
  if ((options.buffers == BufferSync::kCustom || std::ranges::any_of(options.buffers_of, custom)) &&
      !options.reduce_buffer) {
    return Status(Code::kInvalidArgument, "BufferSync::kCustom needs ReplicaOptions::reduce_buffer", where);
  }
  for (const NamedTensor& named : content.state) {
    if (!named.tensor.is_cpu() || named.tensor.layout() != at::kStrided) {
      return Status(Code::kUnsupported, "\"" + named.name + "\" is not a dense CPU tensor", where);
    }
    if (const std::string overlap = self_overlap(named.tensor); !overlap.empty()) {
      return Status(Code::kUnsupported,
                    "\"" + named.name + "\", " + describe_with_strides(named.tensor) + ", has " + overlap +
                        ": what is written into one is written into others. It comes from expand(), broadcast_to(), "
                        "as_strided() or unfold(); clone() it where it is registered",
                    where);
    }
  }
  for (const GradientParameter& parameter : content.gradients) {
    if (gradient_shape(parameter.tensor)) continue;
    return Status(
        Code::kUnsupported,
        "gradients of " + describe(parameter.tensor) + " (parameter \"" + parameter.name + "\") cannot be averaged",
        where);
  }
  return {};
}

ModelWatch::ModelWatch(const torch::nn::Module& module, const ReplicaOptions& options) : ignored_(options.ignore) {
  look(module, "", seen_);
}

// `path`: of the module, with a dot behind it.
void ModelWatch::look(const torch::nn::Module& module, const std::string& path, std::vector<Seen>& seen) const {
  for (const auto& item : module.named_parameters(/*recurse=*/false)) {
    const at::Tensor& tensor = item.value();
    if (!tensor.defined() || (!ignored_.empty() && is_ignored(path + item.key(), ignored_))) continue;
    seen.push_back({.tensor = tensor.unsafeGetTensorImpl(),
                    .data = tensor.const_data_ptr(),
                    .dtype = tensor.scalar_type(),
                    .needs_gradient = tensor.requires_grad()});
  }
  for (const auto& child : module.named_children()) {
    look(*child.value(), ignored_.empty() ? "" : path + child.key() + ".", seen);
  }
}

bool ModelWatch::changed(const torch::nn::Module& module) const {
  std::vector<Seen> now;
  now.reserve(seen_.size());
  look(module, "", now);
  return !std::ranges::equal(seen_, now, [](const Seen& before, const Seen& after) {
    return before.tensor == after.tensor && before.data == after.data && before.dtype == after.dtype &&
           (before.needs_gradient || !after.needs_gradient);
  });
}

}  // namespace rondo::trainer
