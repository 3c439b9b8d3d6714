// Wasserstein distance by a critic with gradient penalty, on several ranks.
//
//   rondo run --nproc-per-node 2 rondo-example-wgan-gp
//
// First a critic alone measures the distance of N(0, 1) and N(1, 1), which is 1; the sorted samples are the referee.
// Then the same loss trains a generator of eight Gaussians on a ring. Ends with 1 when the estimate is off by more than
// 10 %, a mode is not covered, or less than 80 % of the samples lie within three deviations of a mode.
#include <rondo/rondo.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdio>

#include "trainer/examples/ring.h"

namespace {

using Adam = rondo::Optimizer<torch::optim::Adam>;

constexpr int64_t kNoise = 2, kWidth = 96;
constexpr int64_t kBatch = 128;  // of all ranks together

torch::nn::Sequential network(int64_t in, int64_t out) {
  const auto leaky = torch::nn::LeakyReLUOptions().negative_slope(0.2);
  return torch::nn::Sequential(torch::nn::Linear(in, kWidth), torch::nn::LeakyReLU(leaky),
                               torch::nn::Linear(kWidth, kWidth), torch::nn::LeakyReLU(leaky),
                               torch::nn::Linear(kWidth, out));
}

// real, fake: (N, features). The slope is the first derivative, taken with autograd::grad(): the wrapper sees only the
// one backward() of the loss that contains it.
torch::Tensor critic_loss(torch::nn::Sequential& critic, const torch::Tensor& real, const torch::Tensor& fake,
                          double penalty) {
  const auto part = torch::rand({real.size(0), 1});
  const auto between = (part * real + (1 - part) * fake).requires_grad_();
  const auto slope = torch::autograd::grad({critic->forward(between).sum()}, {between}, {}, /*retain_graph=*/true,
                                           /*create_graph=*/true)[0];
  return critic->forward(fake).mean() - critic->forward(real).mean() + penalty * (slope.norm(2, 1) - 1).pow(2).mean();
}

// The penalty p is soft: the best slope is 1 + W1 / (2 p), so the estimate lies 5 % above the distance.
bool measure_distance(const rondo::Job& job) {
  constexpr double kShift = 1;
  auto critic = network(1, 1);
  rondo::DistributedDataParallel ddp(job, *critic);
  Adam optimizer(ddp, critic->parameters(), torch::optim::AdamOptions(1e-3).betas({0.5, 0.9}));
  const int64_t batch = kBatch / job.world_size;
  for (int step = 0; step < 1200; ++step) {
    optimizer.zero_grad();
    critic_loss(critic, torch::randn({batch, 1}) + kShift, torch::randn({batch, 1}), 10).backward();
    optimizer.step();
  }
  const torch::NoGradGuard no_grad;
  const auto a = torch::randn({20'000, 1}) + kShift, b = torch::randn({20'000, 1});
  const auto mean_over_ranks = [&](const torch::Tensor& value) {
    return job.sum(value.item<double>()) / job.world_size;
  };
  const double estimate = mean_over_ranks(critic->forward(a).mean() - critic->forward(b).mean());
  const double referee = mean_over_ranks((std::get<0>(a.sort(0)) - std::get<0>(b.sort(0))).abs().mean());
  const bool equal = ring::replicas_equal(job, *critic);
  if (job.rank == 0) {
    std::printf("W1 of N(0, 1) and N(%g, 1): critic %.3f, sorted samples %.3f (bar 10 %%)\nreplicas %s\n", kShift,
                estimate, referee, equal ? "equal" : "DIFFERENT");
  }
  return std::abs(estimate - kShift) <= 0.1 * kShift && std::abs(estimate - referee) <= 0.1 * referee && equal;
}

bool train_ring(const rondo::Job& job) {
  auto generator = network(kNoise, 2), critic = network(2, 1);
  rondo::DistributedDataParallel ddp_g(job, *generator), ddp_d(job, *critic);
  const auto options = torch::optim::AdamOptions(2e-3).betas({0.5, 0.9});
  Adam optimizer_g(ddp_g, generator->parameters(), options), optimizer_d(ddp_d, critic->parameters(), options);
  constexpr int kRounds = 5000, kCriticSteps = 2;
  rondo::RateScheduler rates_g(optimizer_g, rondo::cosine(kRounds));
  rondo::RateScheduler rates_d(optimizer_d, rondo::cosine(kRounds * kCriticSteps));
  rondo::Ema ema(*generator, 0.99);
  const int64_t batch = kBatch / job.world_size;
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kCriticSteps; ++i) {
      const auto turn = ddp_d.exclusive();
      const auto fake = generator->forward(torch::randn({batch, kNoise})).detach();
      optimizer_d.zero_grad();
      critic_loss(critic, ring::samples(batch), fake, 0.1).backward();
      optimizer_d.step();
      rates_d.step();
    }
    // The loss flows through the critic; its gradients are left alone and cleared in its own turn.
    const auto turn = ddp_g.exclusive();
    optimizer_g.zero_grad();
    (-critic->forward(generator->forward(torch::randn({batch, kNoise}))).mean()).backward();
    optimizer_g.step();
    ema.update();
    rates_g.step();
  }
  const torch::NoGradGuard no_grad;
  const auto averages = ema.averages();
  const auto quality = ring::quality(job, generator->forward(torch::randn({4000, kNoise})));
  const bool equal = ring::replicas_equal(job, *generator) && ring::replicas_equal(job, *critic);
  if (job.rank == 0) {
    std::printf("modes covered: %lld of 8 (bar 8)\nhigh quality: %.1f %% (bar 80 %%)\nreplicas %s\n",
                static_cast<long long>(quality.modes_covered), 100 * quality.high_quality,
                equal ? "equal" : "DIFFERENT");
  }
  return quality.modes_covered == 8 && quality.high_quality >= 0.8 && equal;
}

int run(int argc, char** argv) {
  torch::set_num_threads(1);
  const auto job = rondo::init(argc, argv);
  torch::manual_seed(1 + job.rank);  // other samples on each rank; wrapping makes the replicas equal
  const bool measured = measure_distance(job);
  const bool trained = train_ring(job);
  return measured && trained ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const rondo::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
