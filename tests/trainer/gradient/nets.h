/// Nets and comparisons that several tests of gradients share.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "tests/trainer/support/trainer_ranks.h"

namespace rondo::test {

using Sgd = Optimizer<torch::optim::SGD>;

/// Several buckets for an Mlp.
inline const ReplicaOptions kSmallBuckets{.bucket_cap_bytes = 2048, .first_bucket_bytes = 512};

/// One head for each use.
struct HeadsImpl : torch::nn::Module {
  HeadsImpl() {
    trunk = register_module("trunk", torch::nn::Linear(12, 8));
    left = register_module("left", torch::nn::Linear(8, 5));
    right = register_module("right", torch::nn::Linear(8, 5));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const auto y = torch::relu(trunk(x));
    return use_right ? right(y) : left(y);
  }
  bool use_right = false;
  torch::nn::Linear trunk{nullptr}, left{nullptr}, right{nullptr};
};
TORCH_MODULE(Heads);

/// The mean over ranks of the gradients of `net` (a copy without Rondo) on each rank's batch.
template <typename Net>
std::vector<torch::Tensor> mean_gradients(Net& net, const std::vector<Samples>& batches) {
  net->zero_grad();
  for (const Samples& batch : batches) mean_loss(net, batch).backward();
  std::vector<torch::Tensor> means;
  for (const auto& p : net->parameters()) means.push_back(p.grad() / static_cast<double>(batches.size()));
  return means;
}

inline void expect_close(const torch::Tensor& actual, const torch::Tensor& expected, const std::string& what) {
  ASSERT_TRUE(actual.defined()) << what;
  EXPECT_TRUE(torch::allclose(actual, expected, 1e-5, 1e-7)) << what << "\n" << actual << "\n" << expected;
}

}  // namespace rondo::test
