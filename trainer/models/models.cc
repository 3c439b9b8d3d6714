#include "trainer/models/models.h"

#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/relu.h>

namespace rondo::trainer {
namespace {

torch::nn::Conv2d conv(int64_t inputs, int64_t outputs) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(inputs, outputs, 3).padding(1));
}

}  // namespace

FmnistCnn::FmnistCnn()
    : conv1_(register_module("conv1", conv(1, 32))),
      conv2_(register_module("conv2", conv(32, 64))),
      fc1_(register_module("fc1", torch::nn::Linear(64 * 7 * 7, 128))),
      fc2_(register_module("fc2", torch::nn::Linear(128, 10))) {}

torch::Tensor FmnistCnn::forward(const torch::Tensor& images) {
  auto x = at::max_pool2d(at::relu(conv1_(images)), 2);  // (B, 32, 14, 14)
  x = at::max_pool2d(at::relu(conv2_(x)), 2);            // (B, 64, 7, 7)
  return fc2_(at::relu(fc1_(x.flatten(1))));
}

FmnistMlp::FmnistMlp()
    : fc1_(register_module("fc1", torch::nn::Linear(28 * 28, 256))),
      fc2_(register_module("fc2", torch::nn::Linear(256, 128))),
      fc3_(register_module("fc3", torch::nn::Linear(128, 64))),
      fc4_(register_module("fc4", torch::nn::Linear(64, 10))) {}

torch::Tensor FmnistMlp::forward(const torch::Tensor& images) {
  const auto x = at::relu(fc2_(at::relu(fc1_(images.flatten(1)))));
  return fc4_(at::relu(fc3_(x)));
}

}  // namespace rondo::trainer
