/// The nets that recipes train. Registration order is compute order: gradients arrive in its reverse.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

namespace rondo::trainer {

/// A net for 28x28 grey images. forward: (B, 1, 28, 28) float -> logits (B, 10).
class ImageNet28 : public torch::nn::Module {
 public:
  virtual torch::Tensor forward(const torch::Tensor& images) = 0;
};

/// conv 1->32, ReLU, max-pool 2, conv 32->64, ReLU, max-pool 2, fc 3136->128, ReLU, fc 128->10; 421,642 parameters.
class FmnistCnn : public ImageNet28 {
 public:
  FmnistCnn();
  torch::Tensor forward(const torch::Tensor& images) override;

 private:
  torch::nn::Conv2d conv1_, conv2_;
  torch::nn::Linear fc1_, fc2_;
};

/// 784->256->128->64->10 with ReLU between; 242,762 parameters.
class FmnistMlp : public ImageNet28 {
 public:
  FmnistMlp();
  torch::Tensor forward(const torch::Tensor& images) override;

 private:
  torch::nn::Linear fc1_, fc2_, fc3_, fc4_;
};

}  // namespace rondo::trainer
