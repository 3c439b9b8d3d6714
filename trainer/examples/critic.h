// A critic with gradient penalty: its loss is minus an estimate of the Wasserstein distance W1 (Gulrajani et al. 2017).
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace critic {

inline torch::nn::Sequential network(int64_t in, int64_t out) {
  constexpr int64_t kWidth = 96;
  const auto leaky = torch::nn::LeakyReLUOptions().negative_slope(0.2);
  return torch::nn::Sequential(torch::nn::Linear(in, kWidth), torch::nn::LeakyReLU(leaky),
                               torch::nn::Linear(kWidth, kWidth), torch::nn::LeakyReLU(leaky),
                               torch::nn::Linear(kWidth, out));
}

// real, fake: (N, features). The slope is the first derivative, taken with autograd::grad(): the wrapper sees only the
// one backward() of the loss that contains it. The penalty p is soft: the best slope is 1 + W1 / (2 p), so that the
// estimate lies above the distance by that factor.
inline torch::Tensor loss(torch::nn::Sequential& critic, const torch::Tensor& real, const torch::Tensor& fake,
                          double penalty) {
  const auto part = torch::rand({real.size(0), 1});
  const auto between = (part * real + (1 - part) * fake).requires_grad_();
  const auto slope = torch::autograd::grad({critic->forward(between).sum()}, {between}, {}, /*retain_graph=*/true,
                                           /*create_graph=*/true)[0];
  return critic->forward(fake).mean() - critic->forward(real).mean() + penalty * (slope.norm(2, 1) - 1).pow(2).mean();
}

}  // namespace critic
