// Several networks in one program: one wrapper each, of which one is trained at a time.
#include <torch/torch.h>

#include <thread>

#include "tests/trainer/gradient/nets.h"

namespace rondo::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

torch::nn::Sequential new_net(int64_t in, int64_t out, uint64_t seed) {
  torch::nn::Sequential net(torch::nn::Linear(in, 8), torch::nn::Tanh(), torch::nn::Linear(8, out));
  fill(*net, seed);
  return net;
}

/// Generator and critic of points in the plane.
struct Pair {
  torch::nn::Sequential g = new_net(3, 2, 40), d = new_net(2, 1, 60);
};

torch::Tensor noise_of(int step, int rank) { return numbers({6, 3}, static_cast<uint64_t>(100 * step + rank)); }
torch::Tensor real_of(int step, int rank) { return numbers({6, 2}, static_cast<uint64_t>(100 * step + rank + 50)); }

torch::Tensor d_loss(Pair& nets, int step, int rank) {
  const auto fake = nets.d->forward(nets.g->forward(noise_of(step, rank)));  // not detached: G gets gradients, too
  return torch::softplus(-nets.d->forward(real_of(step, rank))).mean() + torch::softplus(fake).mean();
}
torch::Tensor g_loss(Pair& nets, int step, int rank) {
  return torch::softplus(-nets.d->forward(nets.g->forward(noise_of(step, rank)))).mean();
}

/// Source: Gulrajani and others, "Improved training of Wasserstein GANs".
torch::Tensor critic_loss(Pair& nets, int step, int rank) {
  const auto real = real_of(step, rank);
  const auto fake = nets.g->forward(noise_of(step, rank)).detach();
  const auto mixed = (0.3 * real + 0.7 * fake).requires_grad_();
  const auto slope = torch::autograd::grad({nets.d->forward(mixed).sum()}, {mixed}, {}, true, /*create_graph=*/true)[0];
  return nets.d->forward(fake).mean() - nets.d->forward(real).mean() + 10 * (slope.norm(2, 1) - 1).square().mean();
}

/// Source: Esser, Rombach, Ommer, "Taming transformers", the weight of the adversarial loss.
torch::Tensor adaptive_loss(Pair& nets, int step, int rank) {
  const auto fake = nets.g->forward(noise_of(step, rank));
  const auto reconstruction = (fake - real_of(step, rank)).square().mean();
  const auto adversarial = -nets.d->forward(fake).mean();
  const auto last = nets.g->parameters()[2];
  const auto of_reconstruction = torch::autograd::grad({reconstruction}, {last}, {}, true)[0];
  const auto of_adversarial = torch::autograd::grad({adversarial}, {last}, {}, true)[0];
  const auto weight = (of_reconstruction.norm() / (of_adversarial.norm() + 1e-4)).clamp(0, 1e4).detach();
  return reconstruction + weight * adversarial;
}

using Loss = torch::Tensor (*)(Pair& nets, int step, int rank);
struct Turn {
  enum class Trains : uint8_t { kG, kD } trains;
  Loss loss;
};

constexpr double kRate = 0.2;

// The same turns in one process: the gradient is the mean of both ranks' losses.
Pair trained_alone(const std::vector<Turn>& turns) {
  Pair nets;
  for (int step = 0; step < std::ssize(turns); ++step) {
    auto& net = turns[step].trains == Turn::Trains::kG ? nets.g : nets.d;
    net->zero_grad();
    for (const int rank : {0, 1}) (turns[step].loss(nets, step, rank) / 2).backward();
    const torch::NoGradGuard no_grad;
    for (auto& p : net->parameters()) p.sub_(p.grad(), kRate);
  }
  return nets;
}

void expect_equals_training_alone(const std::vector<Turn>& turns, bool freezes_d) {
  const Pair alone = trained_alone(turns);
  run_jobs(2, [&](const Job& job) {
    Pair nets;
    DistributedDataParallel g(job, *nets.g), d(job, *nets.d);
    Sgd of_g(g, nets.g->parameters(), torch::optim::SGDOptions(kRate));
    Sgd of_d(d, nets.d->parameters(), torch::optim::SGDOptions(kRate));
    for (int step = 0; step < std::ssize(turns); ++step) {
      const bool trains_g = turns[step].trains == Turn::Trains::kG;
      const auto freeze_d = [&](bool frozen) {
        for (auto& p : nets.d->parameters()) p.set_requires_grad(!frozen);
      };
      if (freezes_d) freeze_d(trains_g);
      const auto only = trains_g ? g.exclusive() : d.exclusive();
      Sgd& optimizer = trains_g ? of_g : of_d;
      optimizer.zero_grad();
      turns[step].loss(nets, step, job.rank).backward();
      optimizer.step();
    }
    for (const auto& [ours, theirs] : {std::pair(nets.g, alone.g), std::pair(nets.d, alone.d)}) {
      for (size_t i = 0; i < ours->parameters().size(); ++i) {
        const auto mine = ours->parameters()[i].detach();
        expect_close(mine, theirs->parameters()[i].detach(), "parameter " + std::to_string(i));
        const auto all = job.all_gather(mine);
        EXPECT_TRUE(same_bits(all[0], all[1]));
      }
    }
  });
}

constexpr auto kG = Turn::Trains::kG;
constexpr auto kD = Turn::Trains::kD;

TEST(Networks, OfAGanTrainInTurns) {
  const std::vector<Turn> turns{{kD, d_loss}, {kG, g_loss}, {kD, d_loss}, {kG, g_loss}, {kD, d_loss}, {kG, g_loss}};
  expect_equals_training_alone(turns, /*freezes_d=*/false);
  expect_equals_training_alone(turns, /*freezes_d=*/true);
}

TEST(Networks, SeveralCriticStepsWithAGradientPenaltyForOneOfTheGenerator) {
  expect_equals_training_alone({{kD, critic_loss},
                                {kD, critic_loss},
                                {kD, critic_loss},
                                {kG, g_loss},
                                {kD, critic_loss},
                                {kD, critic_loss},
                                {kD, critic_loss},
                                {kG, g_loss}},
                               /*freezes_d=*/false);
}

TEST(Networks, AnAdaptiveWeightAsksForGradientsOfTheLastLayerFirst) {
  expect_equals_training_alone({{kG, adaptive_loss}, {kD, d_loss}, {kG, adaptive_loss}, {kD, d_loss}}, false);
}

TEST(Networks, WithoutAScopeTheErrorNamesIt) {
  run_jobs(2, [](const Job& job) {
    Pair nets;
    DistributedDataParallel g(job, *nets.g), d(job, *nets.d);
    Sgd of_g(g, nets.g->parameters(), torch::optim::SGDOptions(kRate));
    Sgd of_d(d, nets.d->parameters(), torch::optim::SGDOptions(kRate));
    g_loss(nets, 0, job.rank).backward();  // reduces D's gradients, too
    of_g.step();
    EXPECT_THAT(error_of([&] { of_d.zero_grad(); }), AllOf(HasSubstr("no step point"), HasSubstr("exclusive()")));
  });
}

TEST(Networks, OneScopeAtATimeAndTheSameOneNests) {
  run_jobs(1, [](const Job& job) {
    Pair nets;
    DistributedDataParallel g(job, *nets.g), d(job, *nets.d);
    {
      const auto outer = g.exclusive();
      const auto inner = g.exclusive();
      EXPECT_THAT(error_of([&] { static_cast<void>(d.exclusive()); }), HasSubstr("another wrapper"));
    }
    const auto later = d.exclusive();
  });
}

TEST(Networks, TwoThreadsTrainTwoNetworksOfOneJobAtOnce) {
  run_jobs(2, [](const Job& job) {
    std::array<torch::nn::Sequential, 2> nets{new_net(12, 5, 10), new_net(12, 5, 20)};
    std::vector<std::unique_ptr<DistributedDataParallel>> wrapped;
    for (auto& net : nets) wrapped.push_back(std::make_unique<DistributedDataParallel>(job, *net));
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&, i] {
        torch::set_num_threads(1);
        Sgd optimizer(*wrapped[i], nets[i]->parameters(), torch::optim::SGDOptions(0.1));
        for (int step = 0; step < 20; ++step) {
          optimizer.zero_grad();
          mean_loss(nets[i], samples(4, static_cast<uint64_t>(10 * step + job.rank))).backward();
          optimizer.step();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (auto& net : nets) {
      const auto all = job.all_gather(net->parameters()[0].detach());
      EXPECT_TRUE(same_bits(all[0], all[1]));
    }
  });
}

}  // namespace
}  // namespace rondo::test
