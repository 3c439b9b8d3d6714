#include "tests/parity/nets.h"

#include <rondo/error.h>
#include <torch/torch.h>

#include <cmath>
#include <vector>

namespace rondo::test {
namespace {

namespace nn = torch::nn;
using torch::Tensor;

constexpr int64_t kClasses = 10, kFeatures = 24, kVocabulary = 29, kContext = 12, kHeads = 2;

// (B, 24) -> (B, 10)
struct Mlp : ParityNet {
  explicit Mlp(int64_t width)
      : fc1(register_module("fc1", nn::Linear(kFeatures, 4 * width))),
        fc2(register_module("fc2", nn::Linear(4 * width, 2 * width))),
        fc3(register_module("fc3", nn::Linear(2 * width, kClasses))) {}
  Tensor forward(const Tensor& x, Route) override { return fc3(torch::relu(fc2(torch::relu(fc1(x))))); }
  nn::Linear fc1, fc2, fc3;
};

// (B, 1, 12, 12) -> (B, 10)
struct Cnn : ParityNet {
  explicit Cnn(int64_t width)
      : conv1(register_module("conv1", nn::Conv2d(nn::Conv2dOptions(1, width, 3).padding(1)))),
        conv2(register_module("conv2", nn::Conv2d(nn::Conv2dOptions(width, 2 * width, 3).padding(1)))),
        fc1(register_module("fc1", nn::Linear(2 * width * 9, 4 * width))),
        fc2(register_module("fc2", nn::Linear(4 * width, kClasses))) {}
  Tensor forward(const Tensor& images, Route) override {
    auto x = torch::max_pool2d(torch::relu(conv1(images)), 2);
    x = torch::max_pool2d(torch::relu(conv2(x)), 2);
    return fc2(torch::relu(fc1(x.flatten(1))));
  }
  nn::Conv2d conv1, conv2;
  nn::Linear fc1, fc2;
};

nn::Conv2d conv(int64_t inputs, int64_t outputs, int64_t kernel, int64_t stride) {
  return nn::Conv2d(nn::Conv2dOptions(inputs, outputs, kernel).stride(stride).padding(kernel / 2).bias(false));
}

struct BlockImpl : nn::Module {
  BlockImpl(int64_t inputs, int64_t outputs, int64_t stride)
      : conv1(register_module("conv1", conv(inputs, outputs, 3, stride))),
        bn1(register_module("bn1", nn::BatchNorm2d(outputs))),
        conv2(register_module("conv2", conv(outputs, outputs, 3, 1))),
        bn2(register_module("bn2", nn::BatchNorm2d(outputs))) {
    if (stride == 1) return;
    down = register_module("down", conv(inputs, outputs, 1, stride));
    down_bn = register_module("down_bn", nn::BatchNorm2d(outputs));
  }
  Tensor forward(const Tensor& x) {
    const auto straight = down.is_empty() ? x : down_bn(down(x));
    return torch::relu(bn2(conv2(torch::relu(bn1(conv1(x))))) + straight);
  }
  nn::Conv2d conv1;
  nn::BatchNorm2d bn1;
  nn::Conv2d conv2;
  nn::BatchNorm2d bn2;
  nn::Conv2d down{nullptr};
  nn::BatchNorm2d down_bn{nullptr};
};
TORCH_MODULE(Block);

// (B, 3, 12, 12) -> (B, 10)
struct ResNet8 : ParityNet {
  explicit ResNet8(int64_t width)
      : stem(register_module("stem", conv(3, width, 3, 1))),
        bn(register_module("bn", nn::BatchNorm2d(width))),
        stage1(register_module("stage1", Block(width, width, 1))),
        stage2(register_module("stage2", Block(width, 2 * width, 2))),
        stage3(register_module("stage3", Block(2 * width, 4 * width, 2))),
        fc(register_module("fc", nn::Linear(4 * width, kClasses))) {}
  Tensor forward(const Tensor& images, Route) override {
    const auto x = stage3(stage2(stage1(torch::relu(bn(stem(images))))));
    return fc(x.mean({2, 3}));
  }
  nn::Conv2d stem;
  nn::BatchNorm2d bn;
  Block stage1, stage2, stage3;
  nn::Linear fc;
};

struct DecoderImpl : nn::Module {
  explicit DecoderImpl(int64_t width)
      : ln1(register_module("ln1", nn::LayerNorm(nn::LayerNormOptions({width})))),
        // No bias: the gradient of a key's is nothing but rounding, and Adam makes a whole step of it.
        qkv(register_module("qkv", nn::Linear(nn::LinearOptions(width, 3 * width).bias(false)))),
        proj(register_module("proj", nn::Linear(width, width))),
        ln2(register_module("ln2", nn::LayerNorm(nn::LayerNormOptions({width})))),
        up(register_module("up", nn::Linear(width, 4 * width))),
        down(register_module("down", nn::Linear(4 * width, width))) {}
  // x: (B, T, D)
  Tensor forward(const Tensor& x) {
    const auto with_attention = x + proj(attention(ln1(x)));
    return with_attention + down(torch::gelu(up(ln2(with_attention))));
  }
  Tensor attention(const Tensor& x) {
    const int64_t batch = x.size(0), length = x.size(1), width = x.size(2), depth = width / kHeads;
    const auto parts = qkv(x).view({batch, length, 3, kHeads, depth}).permute({2, 0, 3, 1, 4});  // (3, B, H, T, D/H)
    const auto scores = torch::matmul(parts[0], parts[1].transpose(-2, -1)) / std::sqrt(static_cast<double>(depth));
    const auto later = torch::ones({length, length}, torch::kBool).triu(1);
    const auto weights = torch::softmax(scores.masked_fill(later, -INFINITY), -1);
    return torch::matmul(weights, parts[2]).transpose(1, 2).reshape({batch, length, width});
  }
  nn::LayerNorm ln1;
  nn::Linear qkv, proj;
  nn::LayerNorm ln2;
  nn::Linear up, down;
};
TORCH_MODULE(Decoder);

// Its weight is the embedding's, so it is registered under two names.
struct TiedHead : nn::Module {
  explicit TiedHead(const Tensor& embedding) : weight(register_parameter("weight", embedding)) {}
  Tensor weight;
};

// (B, T <= 12) int64 in [0, 29) -> (B, T, 29)
struct Gpt : ParityNet {
  explicit Gpt(int64_t width)
      : tok(register_module("tok", nn::Embedding(kVocabulary, width))),
        pos(register_module("pos", nn::Embedding(kContext, width))),
        block1(register_module("block1", Decoder(width))),
        block2(register_module("block2", Decoder(width))),
        ln(register_module("ln", nn::LayerNorm(nn::LayerNormOptions({width})))),
        head(register_module("head", std::make_shared<TiedHead>(tok->weight))) {}
  Tensor forward(const Tensor& tokens, Route) override {
    const auto x = tok(tokens) + pos(torch::arange(tokens.size(1)));
    return torch::nn::functional::linear(ln(block2(block1(x))), head->weight);
  }
  nn::Embedding tok, pos;
  Decoder block1, block2;
  nn::LayerNorm ln;
  std::shared_ptr<TiedHead> head;  // owned by the module tree
};

// (B, 24) -> (B, 10) by one branch or both; nothing ever uses "never".
struct Branches : ParityNet {
  explicit Branches(int64_t width)
      : trunk(register_module("trunk", nn::Linear(kFeatures, width))),
        left(register_module("left", nn::Linear(width, width))),
        right(register_module("right", nn::Linear(width, width))),
        never(register_module("never", nn::Linear(width, width))),
        head(register_module("head", nn::Linear(width, kClasses))) {}
  Tensor forward(const Tensor& features, Route route) override {
    const auto x = torch::relu(trunk(features));
    if (route == Route::kLeft) return head(torch::relu(left(x)));
    if (route == Route::kRight) return head(torch::relu(right(x)));
    return head(torch::relu(left(x)) + torch::relu(right(x)));
  }
  nn::Linear trunk, left, right, never, head;
};

}  // namespace

std::shared_ptr<ParityNet> make_parity_net(const std::string& name, int64_t width) {
  if (name == "mlp") return std::make_shared<Mlp>(width);
  if (name == "cnn") return std::make_shared<Cnn>(width);
  if (name == "resnet8") return std::make_shared<ResNet8>(width);
  if (name == "gpt") return std::make_shared<Gpt>(width);
  if (name == "branches") return std::make_shared<Branches>(width);
  throw Error("there is no parity net \"" + name + "\"; known are mlp, cnn, resnet8, gpt and branches",
              ExitCode::kUsage);
}

}  // namespace rondo::test
