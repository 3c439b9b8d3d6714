/// The nets that `rondo bench train` measures, each with synthetic data. Layers are made in the order in which
/// tests/bench/peers/pytorch_ddp.py makes them, so that one seed gives both the same initial values and the same data.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace rondo::trainer {

/// One net and what it is trained on. Letters: B batch, T = 64 tokens.
///   mlp       20,037,642 parameters: 784->4096->4096->10 with ReLU
///   cnn       1,199,882 ("cnn-bench"): conv 1->32, conv 32->64, max-pool 2, fc 9216->128->10
///   resnet18  11,172,810: 3x3 stem, no max-pool, BatchNorm
///   gpt       809,856: 4 layers, 4 heads, width 128, 65 tokens, head tied to the embedding
struct BenchModel {
  std::shared_ptr<torch::nn::Module> module;  // shared with `forward`
  std::function<at::Tensor(const at::Tensor&)> forward;
  at::Tensor inputs;   // (B, 1, 28, 28) float32, or (B, T) int64
  at::Tensor targets;  // (B) int64 in [0, 10), or (B*T) int64 in [0, 65)
};

std::vector<std::string> bench_model_names();

/// Initial values come from `seed`, data from `seed` + 1 + `rank`.
struct BenchSeeds {
  uint64_t seed = 0;
  int rank = 0;
};
/// Throws rondo::Error (kUsage) for an unknown name.
BenchModel make_bench_model(const std::string& name, int64_t batch, BenchSeeds seeds);

}  // namespace rondo::trainer
