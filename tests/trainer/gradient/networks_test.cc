// Several networks in one program, and one network in a recomputed part: against a plain loop that accumulates the
// batches of both ranks.
#include <torch/torch.h>

#include <functional>
#include <thread>

#include "tests/trainer/gradient/nets.h"

namespace rondo::test {
namespace {

using ::testing::HasSubstr;
using torch::autograd::grad;

constexpr int kRanks = 2;

// Two smooth layers, so that second derivatives are not zero.
struct SmoothImpl : torch::nn::Module {
  SmoothImpl(int64_t in, int64_t out) {
    first = register_module("first", torch::nn::Linear(in, 16));
    last = register_module("last", torch::nn::Linear(16, out));
  }
  torch::Tensor forward(const torch::Tensor& x) { return last(torch::tanh(first(x))); }
  torch::nn::Linear first{nullptr}, last{nullptr};
};
TORCH_MODULE(Smooth);

// A generator of 4 -> 12 numbers and a critic of 12 -> 1.
struct Networks {
  explicit Networks(uint64_t seed) {
    fill(*g, seed);
    fill(*d, seed + 50);
  }
  std::vector<torch::Tensor> all() const {
    auto both = g->parameters();
    for (const auto& p : d->parameters()) both.push_back(p);
    return both;
  }
  Smooth g{4, 12}, d{12, 1};
};

struct Turn {
  int step = 0, rank = 0;
  uint64_t seed() const { return 1000 * static_cast<uint64_t>(step) + 10 * static_cast<uint64_t>(rank); }
  torch::Tensor real() const { return numbers({6, 12}, seed()) + 1; }
  torch::Tensor noise() const { return numbers({6, 4}, seed() + 1); }
};

using Loss = std::function<torch::Tensor(Networks&, const Turn&)>;

torch::Tensor critic_loss(Networks& nets, const Turn& turn) {
  const auto fake = nets.g(turn.noise()).detach();
  return (torch::softplus(-nets.d(turn.real())) + torch::softplus(nets.d(fake))).mean();
}

torch::Tensor generator_loss(Networks& nets, const Turn& turn) {
  return torch::softplus(-nets.d(nets.g(turn.noise()))).mean();
}

// The slope of the critic between real and fake samples is pulled towards 1.
torch::Tensor penalised_critic_loss(Networks& nets, const Turn& turn) {
  const auto real = turn.real(), fake = nets.g(turn.noise()).detach();
  const auto part = numbers({6, 1}, turn.seed() + 2).sigmoid();
  const auto between = (part * real + (1 - part) * fake).requires_grad_();
  const auto slope = grad({nets.d(between).sum()}, {between}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
  return nets.d(fake).mean() - nets.d(real).mean() + 10 * (slope.norm(2, 1) - 1).pow(2).mean();
}

// Reconstruction and critic weigh alike at the generator's last layer: each rank asks for both gradients first.
torch::Tensor adaptively_weighed_loss(Networks& nets, const Turn& turn) {
  const auto made = nets.g(turn.noise());
  const auto reconstruction = (made - turn.real()).pow(2).mean();
  const auto judged = -nets.d(made).mean();
  const auto& last = nets.g->last->weight;
  const auto by_reconstruction = grad({reconstruction}, {last}, {}, /*retain_graph=*/true)[0].norm();
  const auto by_judge = grad({judged}, {last}, {}, /*retain_graph=*/true)[0].norm();
  return reconstruction + (by_reconstruction / (by_judge + 1e-4)).clamp(0, 1e4).detach() * judged;
}

// How a generator's step keeps the critic out.
enum class Critic : uint8_t { kFrozen, kExclusive };

struct Game {
  Loss critic = critic_loss, generator = generator_loss;
  int rounds = 3;
  int critic_steps = 1;
  Critic in_generator_step = Critic::kExclusive;
};

torch::optim::SGDOptions sgd() { return torch::optim::SGDOptions(0.05).momentum(0.5); }

std::vector<torch::Tensor> played_alone(const Game& game) {
  torch::set_num_threads(1);
  Networks nets(7);
  torch::optim::SGD g(nets.g->parameters(), sgd()), d(nets.d->parameters(), sgd());
  int step = 0;
  const auto turn = [&](const Loss& loss, torch::optim::SGD& optimizer) {
    optimizer.zero_grad();
    for (int rank = 0; rank < kRanks; ++rank) (loss(nets, {step, rank}) / kRanks).backward();
    optimizer.step();
    ++step;
  };
  for (int round = 0; round < game.rounds; ++round) {
    for (int i = 0; i < game.critic_steps; ++i) turn(game.critic, d);
    turn(game.generator, g);
  }
  return nets.all();
}

std::vector<torch::Tensor> played_by_ranks(const Game& game) {
  std::vector<std::vector<torch::Tensor>> results(kRanks);
  run_jobs(kRanks, [&](const Job& job) {
    Networks nets(7 + 100 * static_cast<uint64_t>(job.rank));
    DistributedDataParallel ddp_g(job, *nets.g, kSmallBuckets), ddp_d(job, *nets.d, kSmallBuckets);
    Sgd g(ddp_g, nets.g->parameters(), sgd()), d(ddp_d, nets.d->parameters(), sgd());
    const auto critic_needs_gradients = [&](bool needed) {
      for (const auto& p : nets.d->parameters()) p.requires_grad_(needed);
    };
    int step = 0;
    for (int round = 0; round < game.rounds; ++round) {
      for (int i = 0; i < game.critic_steps; ++i) {
        const auto scope = ddp_d.exclusive();
        d.zero_grad();
        game.critic(nets, {step++, job.rank}).backward();
        d.step();
      }
      g.zero_grad();
      if (game.in_generator_step == Critic::kFrozen) {
        critic_needs_gradients(false);
        game.generator(nets, {step++, job.rank}).backward();
        critic_needs_gradients(true);
      } else {
        const auto scope = ddp_g.exclusive();
        game.generator(nets, {step++, job.rank}).backward();
      }
      g.step();
    }
    results[job.rank] = nets.all();
  });
  for (size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_TRUE(same_bits(results[0][i], results[1][i])) << "replicas differ in parameter " << i;
  }
  return results[0];
}

void expect_bits_of_one_process(const Game& game) {
  const auto expected = played_alone(game), actual = played_by_ranks(game);
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(same_bits(actual[i], expected[i]))
        << "parameter " << i << " is off by " << (actual[i] - expected[i]).abs().max().item<double>();
  }
}

TEST(Networks, GanWithAFrozenCriticInTheGeneratorsStepHasTheBitsOfOneProcess) {
  expect_bits_of_one_process({.in_generator_step = Critic::kFrozen});
}

TEST(Networks, GanWithAnExclusiveScopeHasTheBitsOfOneProcess) {
  expect_bits_of_one_process({.in_generator_step = Critic::kExclusive});
}

TEST(Networks, FiveStepsOfTheCriticForOneOfTheGenerator) { expect_bits_of_one_process({.critic_steps = 5}); }

TEST(Networks, GradientPenaltyWithinTheCriticsLoss) {
  expect_bits_of_one_process({.critic = penalised_critic_loss, .critic_steps = 2});
}

TEST(Networks, WeightFromGradientsOfTheLastLayerBeforeTheSyncedBackward) {
  expect_bits_of_one_process({.generator = adaptively_weighed_loss});
}

// Without a scope the generator's backward reduces the critic's gradients too, and nobody steps them.
TEST(Networks, GeneratorsStepThroughTheCriticWithoutAScopeNamesTheScope) {
  run_jobs(kRanks, [](const Job& job) {
    Networks nets(7);
    DistributedDataParallel ddp_g(job, *nets.g), ddp_d(job, *nets.d);
    Sgd g(ddp_g, nets.g->parameters(), sgd()), d(ddp_d, nets.d->parameters(), sgd());
    generator_loss(nets, {0, job.rank}).backward();
    g.step();
    EXPECT_THAT(error_of([&] { d.zero_grad(); }), HasSubstr("exclusive()"));
    EXPECT_THAT(error_of([&] { critic_loss(nets, {1, job.rank}).backward(); }), HasSubstr("exclusive()"));
    d.step();  // skipped on all ranks
    d.zero_grad();
    critic_loss(nets, {2, job.rank}).backward();
    d.step();
    const auto gathered = job.all_gather(nets.d->first->weight.detach());
    EXPECT_TRUE(same_bits(gathered[0], gathered[1]));
  });
}

TEST(Networks, BackwardsOfBothBeforeTheStepOfEitherNameTheScopeAndTrainOn) {
  run_jobs(kRanks, [](const Job& job) {
    Networks nets(7);
    DistributedDataParallel ddp_g(job, *nets.g), ddp_d(job, *nets.d);
    Sgd g(ddp_g, nets.g->parameters(), sgd()), d(ddp_d, nets.d->parameters(), sgd());
    const auto before = nets.d->first->weight.detach().clone();
    critic_loss(nets, {0, job.rank}).backward();
    EXPECT_THAT(error_of([&] { generator_loss(nets, {1, job.rank}).backward(); }), HasSubstr("exclusive()"));
    d.step();
    g.step();
    EXPECT_TRUE(same_bits(before, nets.d->first->weight.detach())) << "a mixed gradient was stepped";
    d.zero_grad();
    g.zero_grad();
    critic_loss(nets, {2, job.rank}).backward();
    d.step();
    {
      const auto scope = ddp_g.exclusive();
      generator_loss(nets, {3, job.rank}).backward();
      g.step();
    }
    for (const auto& p : nets.all()) {
      const auto gathered = job.all_gather(p.detach());
      EXPECT_TRUE(same_bits(gathered[0], gathered[1]));
    }
  });
}

TEST(Networks, ExclusiveScopeOfASecondWrapperIsRefusedUntilTheFirstEnds) {
  run_jobs(kRanks, [](const Job& job) {
    Networks nets(7);
    DistributedDataParallel ddp_g(job, *nets.g), ddp_d(job, *nets.d);
    {
      const auto outer = ddp_g.exclusive();
      EXPECT_THAT(error_of([&] { const auto inner = ddp_d.exclusive(); }), HasSubstr("End that one first"));
    }
    EXPECT_EQ(error_of([&] { const auto scope = ddp_d.exclusive(); }), "");
  });
}

TEST(Networks, TwoThreadsTrainTwoNetsAtOnce) {
  constexpr int kSteps = 8;
  std::vector<Networks> trained;
  for (int rank = 0; rank < kRanks; ++rank) trained.emplace_back(7 + 100 * static_cast<uint64_t>(rank));
  const auto g_loss = [](Networks& nets, const Turn& turn) { return nets.g(turn.noise()).pow(2).mean(); };
  const auto d_loss = [](Networks& nets, const Turn& turn) { return nets.d(turn.real()).pow(2).mean(); };
  run_jobs(kRanks, [&](const Job& job) {
    Networks& nets = trained[job.rank];
    DistributedDataParallel ddp_g(job, *nets.g, kSmallBuckets), ddp_d(job, *nets.d, kSmallBuckets);
    const auto train = [&](DistributedDataParallel& ddp, Smooth& net, const Loss& loss) {
      torch::set_num_threads(1);
      Sgd optimizer(ddp, net->parameters(), sgd());
      for (int step = 0; step < kSteps; ++step) {
        optimizer.zero_grad();
        loss(nets, {step, job.rank}).backward();
        optimizer.step();
      }
    };
    std::string other_error;
    std::thread other([&] { other_error = error_of([&] { train(ddp_d, nets.d, d_loss); }); });
    const std::string error = error_of([&] { train(ddp_g, nets.g, g_loss); });
    other.join();
    EXPECT_EQ(error, "");
    EXPECT_EQ(other_error, "");
  });
  Networks plain(7);
  torch::optim::SGD g(plain.g->parameters(), sgd()), d(plain.d->parameters(), sgd());
  for (int step = 0; step < kSteps; ++step) {
    g.zero_grad();
    d.zero_grad();
    for (int rank = 0; rank < kRanks; ++rank) {
      (g_loss(plain, {step, rank}) / kRanks).backward();
      (d_loss(plain, {step, rank}) / kRanks).backward();
    }
    g.step();
    d.step();
  }
  const auto expected = plain.all();
  for (const Networks& nets : trained) {
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(same_bits(nets.all()[i], expected[i])) << "parameter " << i;
    }
  }
}

}  // namespace
}  // namespace rondo::test
