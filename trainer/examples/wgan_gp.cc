// A GAN whose critic has a gradient penalty, on several ranks: it learns eight Gaussians on a ring.
//
//   rondo run --nproc-per-node 2 rondo-example-wgan-gp
//
// Ends with 1 when a mode is not covered or less than 80 % of the samples lie within three deviations of a mode.
#include <rondo/rondo.h>
#include <torch/torch.h>

#include <cstdio>

#include "trainer/examples/critic.h"
#include "trainer/examples/ring.h"

namespace {

using Adam = rondo::Optimizer<torch::optim::Adam>;

constexpr int64_t kNoise = 2;
constexpr int64_t kBatch = 128;  // of all ranks together

bool train_ring(const rondo::Job& job) {
  auto generator = critic::network(kNoise, 2), judge = critic::network(2, 1);
  rondo::DistributedDataParallel ddp_g(job, *generator), ddp_d(job, *judge);
  const auto options = torch::optim::AdamOptions(2e-3).betas({0.5, 0.9});
  Adam optimizer_g(ddp_g, generator->parameters(), options), optimizer_d(ddp_d, judge->parameters(), options);
  constexpr int kRounds = 5000, kCriticSteps = 2;
  rondo::RateScheduler rates_g(optimizer_g, rondo::cosine(kRounds));
  rondo::RateScheduler rates_d(optimizer_d, rondo::cosine(kRounds * kCriticSteps));
  rondo::Ema ema(*generator, optimizer_g, 0.99);
  const int64_t batch = kBatch / job.world_size;
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kCriticSteps; ++i) {
      const auto turn = ddp_d.exclusive();
      const auto fake = generator->forward(torch::randn({batch, kNoise})).detach();
      optimizer_d.zero_grad();
      critic::loss(judge, ring::samples(batch), fake, 0.1).backward();
      optimizer_d.step();
      rates_d.step();
    }
    // The loss flows through the critic; its gradients are left alone and cleared in its own turn.
    const auto turn = ddp_g.exclusive();
    optimizer_g.zero_grad();
    (-judge->forward(generator->forward(torch::randn({batch, kNoise}))).mean()).backward();
    optimizer_g.step();
    ema.update();
    rates_g.step();
  }
  const torch::NoGradGuard no_grad;
  const auto averages = ema.averages();
  const auto quality = ring::quality(job, generator->forward(torch::randn({4000, kNoise})));
  const bool equal = ring::replicas_equal(job, *generator) && ring::replicas_equal(job, *judge);
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
  return train_ring(job) ? 0 : 1;
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
