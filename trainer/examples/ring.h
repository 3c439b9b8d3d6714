/// Toy data of the examples: eight narrow Gaussians on a ring, and how well samples match them.
#pragma once

#include <rondo/rondo.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdint>

namespace ring {

constexpr int64_t kModes = 8;
constexpr double kDeviation = 0.05;  // of a mode; the ring's radius is 1

// (8, 2)
inline torch::Tensor centres() {
  const auto angle = torch::arange(kModes, torch::kFloat32) * (2 * M_PI / kModes);
  return torch::stack({angle.cos(), angle.sin()}, 1);
}

// (count, 2)
inline torch::Tensor samples(int64_t count) {
  return centres().index_select(0, torch::randint(kModes, {count}, torch::kLong)) +
         kDeviation * torch::randn({count, 2});
}

struct Quality {
  int64_t modes_covered = 0;  // those whose good samples are at least a quarter of an even share
  double high_quality = 0;    // share of samples within three deviations of a centre
};

/// Of the samples (N, 2) of all ranks together; equal on every rank.
inline Quality quality(const rondo::Job& job, const torch::Tensor& samples) {
  const auto [distance, mode] = torch::cdist(samples, centres()).min(1);
  const auto good = mode.masked_select(distance < 3 * kDeviation);
  const auto per_mode = torch::bincount(good, {}, kModes);
  job.all_reduce(per_mode);
  const int64_t total = job.sum(samples.size(0));
  return {.modes_covered = (per_mode * (4 * kModes) >= total).sum().item<int64_t>(),
          .high_quality = static_cast<double>(per_mode.sum().item<int64_t>()) / static_cast<double>(total)};
}

/// Whether all ranks hold the same numbers for every parameter; false where one is NaN.
inline bool replicas_equal(const rondo::Job& job, const torch::nn::Module& module) {
  const torch::NoGradGuard no_grad;
  const auto all = job.all_gather(torch::nn::utils::parameters_to_vector(module.parameters()));
  return all.eq(all[0]).all().item<bool>();
}

}  // namespace ring
