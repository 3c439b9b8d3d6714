// Layers that compute with another tensor than they have registered.
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <optional>
#include <utility>

#include "trainer/check/lints.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo::trainer {
namespace {

template <typename Layer>
void look_at(const torch::nn::Module& part, std::vector<std::pair<std::string, at::Tensor>>& members) {
  const auto* layer = dynamic_cast<const Layer*>(&part);
  if (layer == nullptr) return;
  members.emplace_back("weight", layer->weight);
  if constexpr (requires { layer->bias; }) members.emplace_back("bias", layer->bias);
}

/// The tensors that a layer of LibTorch's computes with.
std::vector<std::pair<std::string, at::Tensor>> members_of(const torch::nn::Module& part) {
  namespace nn = torch::nn;
  std::vector<std::pair<std::string, at::Tensor>> members;
  look_at<nn::LinearImpl>(part, members);
  look_at<nn::BilinearImpl>(part, members);
  look_at<nn::Conv1dImpl>(part, members);
  look_at<nn::Conv2dImpl>(part, members);
  look_at<nn::Conv3dImpl>(part, members);
  look_at<nn::ConvTranspose1dImpl>(part, members);
  look_at<nn::ConvTranspose2dImpl>(part, members);
  look_at<nn::ConvTranspose3dImpl>(part, members);
  look_at<nn::EmbeddingImpl>(part, members);
  look_at<nn::EmbeddingBagImpl>(part, members);
  look_at<nn::LayerNormImpl>(part, members);
  look_at<nn::GroupNormImpl>(part, members);
  look_at<nn::BatchNorm1dImpl>(part, members);
  look_at<nn::BatchNorm2dImpl>(part, members);
  look_at<nn::BatchNorm3dImpl>(part, members);
  return members;
}

Finding orphan(const std::string& name, const at::Tensor& used, const std::optional<std::string>& used_name) {
  return {.severity = used_name ? Severity::kWarning : Severity::kError,
          .topic = "orphan",
          .names = {quoted(name)},
          .what = "is registered, but its layer computes with " +
                  (used_name ? quoted(*used_name) : "another tensor, " + describe(used) + ", that is not registered") +
                  ": the registered one gets no gradient, and is saved as if it counted",
          .cause = "a member was assigned to tie weights (head->weight = embedding->weight), which registers nothing",
          .cure =
              "tie by registering: a module of its own with register_parameter(\"weight\", embedding->weight) and "
              "torch::nn::functional::linear() in its forward()"};
}

}  // namespace

std::vector<Finding> lint_layers(const CheckedModel& model) {
  std::vector<Finding> found;
  const auto registered = model.module.named_parameters();
  const auto look = [&](const std::string& path, const torch::nn::Module& part) {
    const auto own = part.named_parameters(/*recurse=*/false);
    for (const auto& [name, used] : members_of(part)) {
      const at::Tensor* const mine = own.find(name);
      if (mine == nullptr || !used.defined() || mine->is_same(used)) continue;
      std::optional<std::string> used_name;
      for (const auto& item : registered) {
        if (!used_name && item.value().is_same(used)) used_name = item.key();
      }
      found.push_back(orphan((path.empty() ? "" : path + ".") + name, used, used_name));
    }
  };
  look("", model.module);
  for (const auto& part : model.module.named_modules("", /*include_self=*/false)) look(part.key(), *part.value());
  return found;
}

}  // namespace rondo::trainer
