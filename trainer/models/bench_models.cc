#include "trainer/models/bench_models.h"

#include <torch/nn.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

namespace F = torch::nn::functional;
using torch::Tensor;

constexpr int64_t kSide = 28, kClasses = 10, kVocabulary = 65, kTokens = 64;

struct Mlp : torch::nn::Module {
  Mlp() {
    first = register_module("first", torch::nn::Linear(kSide * kSide, 4096));
    second = register_module("second", torch::nn::Linear(4096, 4096));
    third = register_module("third", torch::nn::Linear(4096, kClasses));
  }
  Tensor forward(const Tensor& images) { return third(torch::relu(second(torch::relu(first(images.flatten(1)))))); }
  torch::nn::Linear first{nullptr}, second{nullptr}, third{nullptr};
};

struct Cnn : torch::nn::Module {
  Cnn() {
    conv1 = register_module("conv1", torch::nn::Conv2d(1, 32, 3));
    conv2 = register_module("conv2", torch::nn::Conv2d(32, 64, 3));
    fc1 = register_module("fc1", torch::nn::Linear(9216, 128));
    fc2 = register_module("fc2", torch::nn::Linear(128, kClasses));
  }
  Tensor forward(const Tensor& images) {
    const Tensor seen = torch::max_pool2d(torch::relu(conv2(torch::relu(conv1(images)))), 2);
    return fc2(torch::relu(fc1(seen.flatten(1))));
  }
  torch::nn::Conv2d conv1{nullptr}, conv2{nullptr};
  torch::nn::Linear fc1{nullptr}, fc2{nullptr};
};

torch::nn::Conv2dOptions conv(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false);
}

struct Block : torch::nn::Module {
  Block(int64_t in, int64_t out, int64_t stride) {
    conv1 = register_module("conv1", torch::nn::Conv2d(conv(in, out, 3, stride)));
    norm1 = register_module("norm1", torch::nn::BatchNorm2d(out));
    conv2 = register_module("conv2", torch::nn::Conv2d(conv(out, out, 3, 1)));
    norm2 = register_module("norm2", torch::nn::BatchNorm2d(out));
    if (stride == 1 && in == out) return;
    shortcut = register_module(
        "shortcut", torch::nn::Sequential(torch::nn::Conv2d(conv(in, out, 1, stride)), torch::nn::BatchNorm2d(out)));
  }
  Tensor forward(const Tensor& x) {
    const Tensor y = norm2(conv2(torch::relu(norm1(conv1(x)))));
    return torch::relu(y + (shortcut.is_empty() ? x : shortcut->forward(x)));
  }
  torch::nn::Conv2d conv1{nullptr}, conv2{nullptr};
  torch::nn::BatchNorm2d norm1{nullptr}, norm2{nullptr};
  torch::nn::Sequential shortcut{nullptr};
};

struct ResNet18 : torch::nn::Module {
  ResNet18() {
    stem = register_module("stem", torch::nn::Conv2d(conv(1, 64, 3, 1)));
    norm = register_module("norm", torch::nn::BatchNorm2d(64));
    int64_t in = 64;
    for (const int64_t out : {64, 128, 256, 512}) {
      for (const int64_t stride : {out == 64 ? 1 : 2, 1}) {
        blocks.push_back(
            register_module("block" + std::to_string(blocks.size()), std::make_shared<Block>(in, out, stride)));
        in = out;
      }
    }
    head = register_module("head", torch::nn::Linear(512, kClasses));
  }
  Tensor forward(const Tensor& images) {
    Tensor x = torch::relu(norm(stem(images)));
    for (const auto& block : blocks) x = block->forward(x);
    return head(torch::adaptive_avg_pool2d(x, {1, 1}).flatten(1));
  }
  torch::nn::Conv2d stem{nullptr};
  torch::nn::BatchNorm2d norm{nullptr};
  std::vector<std::shared_ptr<Block>> blocks;
  torch::nn::Linear head{nullptr};
};

constexpr int64_t kWidth = 128, kHeads = 4, kLayers = 4;

struct GptLayer : torch::nn::Module {
  GptLayer() {
    const auto norm_options = torch::nn::LayerNormOptions({kWidth});
    norm1 = register_module("norm1", torch::nn::LayerNorm(norm_options));
    qkv = register_module("qkv", torch::nn::Linear(kWidth, 3 * kWidth));
    out = register_module("out", torch::nn::Linear(kWidth, kWidth));
    norm2 = register_module("norm2", torch::nn::LayerNorm(norm_options));
    fc1 = register_module("fc1", torch::nn::Linear(kWidth, 4 * kWidth));
    fc2 = register_module("fc2", torch::nn::Linear(4 * kWidth, kWidth));
  }
  Tensor forward(const Tensor& x) {
    const int64_t batch = x.size(0), tokens = x.size(1);
    const auto parts = qkv(norm1(x)).view({batch, tokens, 3, kHeads, -1}).permute({2, 0, 3, 1, 4}).unbind(0);
    const Tensor attended = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], {}, 0.0, /*is_causal=*/true);
    const Tensor y = x + out(attended.transpose(1, 2).reshape({batch, tokens, -1}));
    return y + fc2(torch::gelu(fc1(norm2(y))));
  }
  torch::nn::LayerNorm norm1{nullptr}, norm2{nullptr};
  torch::nn::Linear qkv{nullptr}, out{nullptr}, fc1{nullptr}, fc2{nullptr};
};

struct Gpt : torch::nn::Module {
  Gpt() {
    tokens = register_module("tokens", torch::nn::Embedding(kVocabulary, kWidth));
    positions = register_module("positions", torch::nn::Embedding(kTokens, kWidth));
    for (int i = 0; i < kLayers; ++i) {
      layers.push_back(register_module("layer" + std::to_string(i), std::make_shared<GptLayer>()));
    }
    norm = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({kWidth})));
    // The tied head draws initial values in Python before it is tied; here it is the embedding from the start.
    const torch::nn::Linear drawn(torch::nn::LinearOptions(kWidth, kVocabulary).bias(false));
  }
  Tensor forward(const Tensor& ids) {
    Tensor x = tokens(ids) + positions(torch::arange(ids.size(1)));
    for (const auto& layer : layers) x = layer->forward(x);
    return F::linear(norm(x), tokens->weight).flatten(0, 1);
  }
  torch::nn::Embedding tokens{nullptr}, positions{nullptr};
  std::vector<std::shared_ptr<GptLayer>> layers;
  torch::nn::LayerNorm norm{nullptr};
};

template <typename Net>
BenchModel model_of() {
  auto net = std::make_shared<Net>();
  return {.module = net, .forward = [net](const Tensor& inputs) { return net->forward(inputs); }};
}

}  // namespace

std::vector<std::string> bench_model_names() { return {"mlp", "cnn", "resnet18", "gpt"}; }

BenchModel make_bench_model(const std::string& name, int64_t batch, BenchSeeds seeds) {
  torch::manual_seed(seeds.seed);
  BenchModel model;
  if (name == "mlp") {
    model = model_of<Mlp>();
  } else if (name == "cnn") {
    model = model_of<Cnn>();
  } else if (name == "resnet18") {
    model = model_of<ResNet18>();
  } else if (name == "gpt") {
    model = model_of<Gpt>();
  } else {
    throw Error("there is no model \"" + name + "\" to measure; there are mlp, cnn, resnet18 and gpt",
                ExitCode::kUsage);
  }
  torch::manual_seed(seeds.seed + 1 + static_cast<uint64_t>(seeds.rank));
  if (name == "gpt") {
    model.inputs = torch::randint(kVocabulary, {batch, kTokens}, torch::kInt64);
    model.targets = torch::randint(kVocabulary, {batch, kTokens}, torch::kInt64).flatten();
  } else {
    model.inputs = torch::randn({batch, 1, kSide, kSide});
    model.targets = torch::randint(kClasses, {batch}, torch::kInt64);
  }
  return model;
}

}  // namespace rondo::trainer
