// A generative adversarial network on several ranks: two wrappers, and a scope that says whose turn it is.
//
//   rondo run --nproc-per-node 2 rondo-example-gan
//
// Data: eight Gaussians on a ring. Ends with 1 when fewer than 7 modes are covered or less than 80 % of the samples
// lie within three deviations of a mode.
#include <rondo/rondo.h>
#include <torch/torch.h>

#include <cstdio>

#include "trainer/examples/ring.h"

namespace {

constexpr int64_t kNoise = 2, kWidth = 96;
constexpr int64_t kBatch = 256;  // of all ranks together
constexpr int kSteps = 5000;

torch::nn::Sequential network(int64_t in, int64_t out) {
  const auto leaky = torch::nn::LeakyReLUOptions().negative_slope(0.2);
  return torch::nn::Sequential(torch::nn::Linear(in, kWidth), torch::nn::LeakyReLU(leaky),
                               torch::nn::Linear(kWidth, kWidth), torch::nn::LeakyReLU(leaky),
                               torch::nn::Linear(kWidth, out));
}

int train(int argc, char** argv) {
  torch::set_num_threads(1);
  const auto job = rondo::init(argc, argv);
  torch::manual_seed(1 + job.rank);  // other samples on each rank; wrapping makes the replicas equal
  auto generator = network(kNoise, 2), critic = network(2, 1);
  rondo::DistributedDataParallel ddp_g(job, *generator), ddp_d(job, *critic);
  using Adam = rondo::Optimizer<torch::optim::Adam>;
  const auto options = torch::optim::AdamOptions(1e-3).betas({0.5, 0.999});
  Adam optimizer_g(ddp_g, generator->parameters(), options), optimizer_d(ddp_d, critic->parameters(), options);
  rondo::RateScheduler rates_g(optimizer_g, rondo::cosine(kSteps)), rates_d(optimizer_d, rondo::cosine(kSteps));
  rondo::Ema ema(*generator, optimizer_g, 0.995);
  const int64_t batch = kBatch / job.world_size;

  for (int step = 0; step < kSteps; ++step) {
    {
      const auto turn = ddp_d.exclusive();
      const auto fake = generator->forward(torch::randn({batch, kNoise})).detach();
      optimizer_d.zero_grad();
      (torch::softplus(-critic->forward(ring::samples(batch))) + torch::softplus(critic->forward(fake)))
          .mean()
          .backward();
      optimizer_d.step();
    }
    // The loss flows through the critic; its gradients are left alone and cleared in its own turn.
    const auto turn = ddp_g.exclusive();
    optimizer_g.zero_grad();
    torch::softplus(-critic->forward(generator->forward(torch::randn({batch, kNoise})))).mean().backward();
    optimizer_g.step();
    ema.update();
    rates_g.step();
    rates_d.step();
  }

  const torch::NoGradGuard no_grad;
  const auto averages = ema.averages();
  const auto quality = ring::quality(job, generator->forward(torch::randn({4000, kNoise})));
  const bool equal = ring::replicas_equal(job, *generator) && ring::replicas_equal(job, *critic);
  if (job.rank == 0) {
    std::printf("modes covered: %lld of 8 (bar 7)\nhigh quality: %.1f %% (bar 80 %%)\nreplicas %s\n",
                static_cast<long long>(quality.modes_covered), 100 * quality.high_quality,
                equal ? "equal" : "DIFFERENT");
  }
  return quality.modes_covered >= 7 && quality.high_quality >= 0.8 && equal ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return train(argc, argv);
  } catch (const rondo::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
