/// Training ranks as threads of one process: a Job each, over the inproc transport; nets and data that depend only on
/// numbers, so that a rank, a reference loop and a rerun see the same.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rondo/rondo.h>
#include <torch/torch.h>

#include <functional>
#include <string>

#include "tests/support/run_ranks.h"
#include "trainer/init/job_state.h"

namespace rondo::test {

/// Runs `body` once per rank of a job of `n` ranks, each on one thread without OpenMP helpers.
inline void run_jobs(int n, const std::function<void(const Job&)>& body, const InitOptions& options = {}) {
  RankOptions ranks;
  ranks.deadline = std::chrono::seconds(100);
  run_endpoints(
      n,
      [&](comm::Endpoint& endpoint) {
        torch::set_num_threads(1);
        body(trainer::make_job(endpoint, options));
      },
      ranks);
}

/// Numbers that depend on `seed` alone.
inline torch::Tensor numbers(at::IntArrayRef shape, uint64_t seed, torch::ScalarType dtype = torch::kFloat32) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), torch::kFloat64).to(dtype);
}

/// Fills every parameter from `seed`; rank-dependent seeds show that wrapping makes replicas equal.
inline void fill(torch::nn::Module& module, uint64_t seed) {
  torch::NoGradGuard no_grad;
  for (const auto& parameter : parameters(module)) {
    parameter.copy_(0.1 * numbers(parameter.sizes(), ++seed, parameter.scalar_type()));
  }
}

struct MlpImpl : torch::nn::Module {
  MlpImpl() {
    first = register_module("first", torch::nn::Linear(12, 32));
    second = register_module("second", torch::nn::Linear(32, 24));
    third = register_module("third", torch::nn::Linear(24, 5));
  }
  torch::Tensor forward(const torch::Tensor& x) { return third(torch::relu(second(torch::relu(first(x.flatten(1)))))); }
  torch::nn::Linear first{nullptr}, second{nullptr}, third{nullptr};
};
TORCH_MODULE(Mlp);

/// `count` samples of 12 features and one of 5 classes.
struct Samples {
  torch::Tensor data, target;
};
inline Samples samples(int64_t count, uint64_t seed, torch::ScalarType dtype = torch::kFloat32) {
  const auto generator = at::detail::createCPUGenerator(seed + 77);
  return {numbers({count, 12}, seed, dtype), at::randint(5, {count}, generator, torch::kLong)};
}

/// Mean loss of a net on a batch; the batch may be empty (NaN).
template <typename Net>
torch::Tensor mean_loss(Net& net, const Samples& batch) {
  return torch::nn::functional::cross_entropy(net->forward(batch.data), batch.target);
}

inline bool same_bits(const torch::Tensor& a, const torch::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() &&
         (a.nbytes() == 0 || std::memcmp(a.contiguous().data_ptr(), b.contiguous().data_ptr(), a.nbytes()) == 0);
}

/// Text of the rondo::Error that `run` throws; empty when it throws none.
inline std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace rondo::test
