// Data-parallel training against plain LibTorch: the same numbers, and on the same micro-batches the same bits.
#include <torch/torch.h>

#include <iostream>
#include <mutex>

#include "tests/trainer/support/trainer_ranks.h"

namespace rondo::test {
namespace {

// The net of the recipe fmnist-cnn.
struct CnnImpl : torch::nn::Module {
  CnnImpl() {
    conv1 = register_module("conv1", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 32, 3).padding(1)));
    conv2 = register_module("conv2", torch::nn::Conv2d(torch::nn::Conv2dOptions(32, 64, 3).padding(1)));
    fc1 = register_module("fc1", torch::nn::Linear(3136, 128));
    fc2 = register_module("fc2", torch::nn::Linear(128, 10));
  }
  torch::Tensor forward(torch::Tensor x) {
    x = torch::max_pool2d(torch::relu(conv1(x)), 2);
    x = torch::max_pool2d(torch::relu(conv2(x)), 2);
    return fc2(torch::relu(fc1(x.flatten(1))));
  }
  torch::nn::Conv2d conv1{nullptr}, conv2{nullptr};
  torch::nn::Linear fc1{nullptr}, fc2{nullptr};
};
TORCH_MODULE(Cnn);

constexpr int kSteps = 5;
constexpr int64_t kBatch = 4;
constexpr uint64_t kSeed = 11;

template <typename Net>
Samples batch_of(int step, int rank, torch::ScalarType dtype) {
  const auto seed = static_cast<uint64_t>(1000 * step + 10 * rank);
  if constexpr (std::is_same_v<Net, Cnn>) {
    const auto generator = at::detail::createCPUGenerator(seed + 77);
    return {numbers({kBatch, 1, 28, 28}, seed, dtype), at::randint(10, {kBatch}, generator, torch::kLong)};
  } else {
    return samples(kBatch, seed, dtype);
  }
}

torch::optim::SGDOptions sgd() {
  return torch::optim::SGDOptions(0.05).momentum(0.9).weight_decay(5e-4).nesterov(true);
}

template <typename Net>
Net new_net(uint64_t seed, torch::ScalarType dtype) {
  Net net;
  net->to(dtype);
  fill(*net, seed);
  return net;
}

template <typename Net>
std::vector<torch::Tensor> trained_on_two_ranks(torch::ScalarType dtype) {
  std::vector<std::vector<torch::Tensor>> result(2);
  run_jobs(2, [&](const Job& job) {
    Net net = new_net<Net>(kSeed + 100 * job.rank, dtype);
    DistributedDataParallel ddp(job, *net, {.bucket_cap_bytes = 1 << 16, .first_bucket_bytes = 1 << 12});
    Optimizer<torch::optim::SGD> optimizer(ddp, net->parameters(), sgd());
    for (int step = 0; step < kSteps; ++step) {
      optimizer.zero_grad();
      mean_loss(net, batch_of<Net>(step, job.rank, dtype)).backward();
      optimizer.step();
    }
    result[job.rank] = net->parameters();
  });
  for (size_t i = 0; i < result[0].size(); ++i) {
    EXPECT_TRUE(same_bits(result[0][i], result[1][i])) << "replicas differ in parameter " << i;
  }
  return result[0];
}

template <typename Net>
double distance_to_one_big_batch(torch::ScalarType dtype) {
  torch::set_num_threads(1);
  Net net = new_net<Net>(kSeed, dtype);
  torch::optim::SGD optimizer(net->parameters(), sgd());
  for (int step = 0; step < kSteps; ++step) {
    const auto a = batch_of<Net>(step, 0, dtype), b = batch_of<Net>(step, 1, dtype);
    optimizer.zero_grad();
    mean_loss(net, Samples{torch::cat({a.data, b.data}), torch::cat({a.target, b.target})}).backward();
    optimizer.step();
  }
  const auto ours = trained_on_two_ranks<Net>(dtype);
  double distance = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    distance = std::max(distance, (ours[i] - net->parameters()[i]).abs().max().template item<double>());
  }
  return distance;
}

template <typename Net>
void expect_bits_of_an_accumulating_loop() {
  torch::set_num_threads(1);
  Net net = new_net<Net>(kSeed, torch::kFloat32);
  torch::optim::SGD optimizer(net->parameters(), sgd());
  for (int step = 0; step < kSteps; ++step) {
    optimizer.zero_grad();
    for (int rank : {0, 1}) (mean_loss(net, batch_of<Net>(step, rank, torch::kFloat32)) / 2).backward();
    optimizer.step();
  }
  const auto ours = trained_on_two_ranks<Net>(torch::kFloat32);
  for (size_t i = 0; i < ours.size(); ++i) EXPECT_TRUE(same_bits(ours[i], net->parameters()[i])) << "parameter " << i;
}

TEST(Parity, TwoRanksEqualOneRankWithTwiceTheBatchInFp64) {
  EXPECT_LE(distance_to_one_big_batch<Mlp>(torch::kFloat64), 1e-11);
  EXPECT_LE(distance_to_one_big_batch<Cnn>(torch::kFloat64), 1e-11);
}

TEST(Parity, TwoRanksEqualOneRankWithTwiceTheBatchInFp32) {
  const double mlp = distance_to_one_big_batch<Mlp>(torch::kFloat32);
  const double cnn = distance_to_one_big_batch<Cnn>(torch::kFloat32);
  std::cout << "largest difference of a parameter after " << kSteps << " steps in fp32: mlp " << mlp << ", cnn " << cnn
            << "\n";
  EXPECT_LE(mlp, 1e-3);
  EXPECT_LE(cnn, 1e-3);
}

TEST(Parity, TwoRanksHaveTheBitsOfAPlainLoopThatAccumulatesBothBatches) {
  expect_bits_of_an_accumulating_loop<Mlp>();
  expect_bits_of_an_accumulating_loop<Cnn>();
}

}  // namespace
}  // namespace rondo::test
