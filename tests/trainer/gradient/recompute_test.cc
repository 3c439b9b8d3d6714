// Activation checkpointing, alone and under a wrapper; autocast.
#include <torch/torch.h>

#include "tests/trainer/gradient/nets.h"

namespace rondo::test {
namespace {

using ::testing::HasSubstr;

struct DropsImpl : torch::nn::Module {
  DropsImpl() {
    first = register_module("first", torch::nn::Linear(12, 16));
    second = register_module("second", torch::nn::Linear(16, 5));
  }
  torch::Tensor whole(const torch::Tensor& x) { return second(torch::dropout(torch::relu(first(x)), 0.5, true)); }
  torch::Tensor forward(const torch::Tensor& x) {
    if (!recomputes) return whole(x);
    return checkpoint(
        [this](const torch::Tensor& input) {
          ++runs;
          return whole(input);
        },
        x);
  }
  bool recomputes = false;
  int runs = 0;
  torch::nn::Linear first{nullptr}, second{nullptr};
};
TORCH_MODULE(Drops);

std::vector<torch::Tensor> gradients_of_a_run(bool recomputes, bool casts) {
  Drops net;
  fill(*net, 5);
  net->recomputes = recomputes;
  torch::manual_seed(3);
  torch::Tensor loss;
  {
    std::optional<Autocast> autocast;
    if (casts) autocast.emplace();
    loss = mean_loss(net, samples(8, 1)).to(torch::kFloat32);
  }
  torch::rand({10});  // draws in between must not matter
  loss.backward();
  EXPECT_EQ(net->runs, recomputes ? 2 : 0);
  std::vector<torch::Tensor> result{loss.detach()};
  for (const auto& p : net->parameters()) result.push_back(p.grad());
  return result;
}

TEST(Recompute, HasTheGradientsOfThePlainNetWithDropoutAndAutocast) {
  for (const bool casts : {false, true}) {
    const auto plain = gradients_of_a_run(false, casts), again = gradients_of_a_run(true, casts);
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(same_bits(plain[i], again[i])) << i << ", casts " << casts;
  }
  // Autocast did something.
  EXPECT_FALSE(same_bits(gradients_of_a_run(false, false)[1], gradients_of_a_run(false, true)[1]));
}

TEST(Recompute, PassesGradientsToItsInputsAndRunsOnceWithoutGradMode) {
  auto x = samples(4, 1).data.requires_grad_(), y = x.detach().clone().requires_grad_();
  int runs = 0;
  const auto part = [&](const std::vector<torch::Tensor>& inputs) {
    ++runs;
    return std::vector<torch::Tensor>{inputs[0] * inputs[1], inputs[1].exp()};
  };
  const auto out = checkpoint(part, {x, y});
  (out[0].sum() + 2 * out[1].sum()).backward();
  EXPECT_TRUE(torch::equal(x.grad(), y.detach()));
  EXPECT_TRUE(torch::allclose(y.grad(), x.detach() + 2 * y.detach().exp()));
  EXPECT_EQ(runs, 2);
  const torch::NoGradGuard no_grad;
  checkpoint(part, {x, y});
  EXPECT_EQ(runs, 3);
}

TEST(Recompute, OfAWholeModelIsReducedWhenBackwardReturns) {
  run_jobs(2, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 5 + job.rank);
    fill(*plain, 5);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.0));
    for (int step = 0; step < 3; ++step) {
      std::vector<Samples> batches;
      for (int rank = 0; rank < 2; ++rank) batches.push_back(samples(4, 100 + 10 * step + rank));
      const auto expected = mean_gradients(plain, batches);
      optimizer.zero_grad();
      const Samples& mine = batches[job.rank];
      const auto out = checkpoint([&](const torch::Tensor& x) { return net->forward(x); }, mine.data);
      torch::nn::functional::cross_entropy(out, mine.target).backward();
      for (size_t i = 0; i < expected.size(); ++i) {
        expect_close(net->parameters()[i].grad(), expected[i],
                     "step " + std::to_string(step) + ", parameter " + std::to_string(i));
      }
      EXPECT_EQ(ddp.statistics().step, step + 1);
      optimizer.step();
    }
  });
}

TEST(Recompute, WithinAutocastIsReducedToTheMeanOfThePlainNets) {
  run_jobs(2, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 5 + job.rank);
    fill(*plain, 5);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    for (int rank = 0; rank < 2; ++rank) {
      torch::Tensor loss;
      {
        const Autocast autocast;
        const Samples batch = samples(4, 100 + rank);
        const auto out = plain->forward(batch.data);
        ASSERT_EQ(out.scalar_type(), torch::kBFloat16);
        loss = torch::nn::functional::cross_entropy(out.to(torch::kFloat32), batch.target) / 2;
      }
      loss.backward();
    }
    torch::Tensor loss;
    {
      const Autocast autocast;
      const Samples mine = samples(4, 100 + job.rank);
      const auto out = checkpoint([&](const torch::Tensor& x) { return net->forward(x); }, mine.data);
      ASSERT_EQ(out.scalar_type(), torch::kBFloat16);
      loss = torch::nn::functional::cross_entropy(out.to(torch::kFloat32), mine.target);
    }
    loss.backward();
    for (size_t i = 0; i < plain->parameters().size(); ++i) {
      expect_close(net->parameters()[i].grad(), plain->parameters()[i].grad(), "parameter " + std::to_string(i));
    }
  });
}

// Autocast keeps its 16-bit copies of weights as long as a scope lives. Those of a recomputation must go with it: the
// optimizer writes the weights next.
TEST(Recompute, WithinAutocastSeesTheWeightsOfEachStep) {
  run_jobs(1, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 5), fill(*plain, 5);
    DistributedDataParallel ddp(job, *net), plain_ddp(job, *plain);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.5));
    Sgd plain_optimizer(plain_ddp, plain->parameters(), torch::optim::SGDOptions(0.5));
    const auto train = [](Sgd& with, const std::function<torch::Tensor(const torch::Tensor&)>& forward) {
      std::vector<torch::Tensor> losses;
      for (uint64_t step = 0; step < 3; ++step) {
        const Samples batch = samples(8, step);
        with.zero_grad();
        {
          const Autocast autocast;
          losses.push_back(torch::nn::functional::cross_entropy(forward(batch.data).to(torch::kFloat32), batch.target));
        }
        losses.back().backward();
        with.step();
      }
      return losses;
    };
    // One after the other: a scope of the one would clear what the other kept.
    const auto recomputed = train(optimizer, [&](const torch::Tensor& data) {
      return checkpoint([&](const torch::Tensor& x) { return net->forward(x); }, data);
    });
    const auto expected = train(plain_optimizer, [&](const torch::Tensor& data) { return plain->forward(data); });
    for (size_t step = 0; step < expected.size(); ++step) {
      EXPECT_TRUE(same_bits(recomputed[step].detach(), expected[step].detach())) << "step " << step;
    }
    for (size_t i = 0; i < plain->parameters().size(); ++i) {
      EXPECT_TRUE(same_bits(net->parameters()[i].detach(), plain->parameters()[i].detach())) << "parameter " << i;
    }
  });
}

// One rank: ranks as threads share the generator that dropout draws from.
TEST(Recompute, UnderAWrapperDropsWhatThePlainNetDrops) {
  run_jobs(1, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 5);
    fill(*plain, 5);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    const auto dropped = [](Mlp& mlp, const torch::Tensor& x) { return torch::dropout(mlp->forward(x), 0.5, true); };
    const Samples batch = samples(16, 3);
    torch::manual_seed(9);
    dropped(plain, batch.data).pow(2).sum().backward();
    torch::manual_seed(9);
    checkpoint([&](const torch::Tensor& x) { return dropped(net, x); }, batch.data).pow(2).sum().backward();
    for (size_t i = 0; i < plain->parameters().size(); ++i) {
      EXPECT_TRUE(same_bits(net->parameters()[i].grad(), plain->parameters()[i].grad())) << "parameter " << i;
    }
  });
}

TEST(Recompute, OfSomeLayersOfAModelIsReducedOnceAtTheEnd) {
  run_jobs(2, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 4);
    fill(*plain, 4);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.0));
    const std::vector<Samples> batches{samples(4, 1), samples(4, 2)};
    const auto expected = mean_gradients(plain, batches);
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      const Samples& batch = batches[job.rank];
      const auto hidden = checkpoint([&](const torch::Tensor& x) { return torch::relu(net->first(x)); }, batch.data);
      const auto next = checkpoint([&](const torch::Tensor& x) { return torch::relu(net->second(x)); }, hidden);
      torch::nn::functional::cross_entropy(net->third(next), batch.target).backward();
      for (size_t i = 0; i < expected.size(); ++i) {
        expect_close(net->parameters()[i].grad(), expected[i], "step " + std::to_string(step));
      }
      optimizer.step();
    }
  });
}

// Each segment's backward is one of its own, so the layer's gradient grows after its bucket has gone.
TEST(Recompute, ALayerInSeveralSegmentsNeedsABackwardWithoutOverlap) {
  const auto train = [](const Job& job, Overlap overlap) {
    Mlp net;
    fill(*net, 4);
    ReplicaOptions options = kSmallBuckets;
    options.overlap = overlap;
    DistributedDataParallel ddp(job, *net, options);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    const auto twice = [&](const torch::Tensor& x) { return torch::relu(net->first(x)); };
    for (int step = 0; step < 3; ++step) {
      const Samples batch = samples(4, static_cast<uint64_t>(10 * step + job.rank));
      optimizer.zero_grad();
      const auto hidden = checkpoint(twice, batch.data) + checkpoint(twice, 2 * batch.data);
      torch::nn::functional::cross_entropy(net->third(torch::relu(net->second(hidden))), batch.target).backward();
      optimizer.step();
    }
    const auto all = job.all_gather(net->first->weight.detach());
    EXPECT_TRUE(same_bits(all[0], all[1]));
  };
  run_jobs(2, [&](const Job& job) { train(job, Overlap::kOff); });
  run_jobs(2, [&](const Job& job) {
    EXPECT_THAT(error_of([&] { train(job, Overlap::kOn); }),
                AllOf(HasSubstr("\"first."), HasSubstr("changed after its bucket was launched"),
                      HasSubstr("wrap the model with Overlap::kOff")));
  });
}

TEST(Autocast, RefusesWidthsThatItDoesNotKnowAndEndsWithItsScope) {
  EXPECT_THAT(error_of([] { const Autocast autocast(torch::kFloat64); }), HasSubstr("kBFloat16"));
  const auto a = torch::ones({4, 4});
  {
    const Autocast autocast;
    EXPECT_EQ(torch::matmul(a, a).scalar_type(), torch::kBFloat16);
    {
      const Autocast inner(torch::kHalf);
      EXPECT_EQ(torch::matmul(a, a).scalar_type(), torch::kHalf);
    }
    EXPECT_EQ(torch::matmul(a, a).scalar_type(), torch::kBFloat16);
  }
  EXPECT_EQ(torch::matmul(a, a).scalar_type(), torch::kFloat32);
}

TEST(Autocast, GradientsOfAWrappedModelKeepTheirDtypeAndAreAveraged) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    fill(*net, 4);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    torch::Tensor loss;
    {
      const Autocast autocast;
      loss = mean_loss(net, samples(4, job.rank));
    }
    loss.backward();
    for (const auto& p : net->parameters()) {
      EXPECT_EQ(p.grad().scalar_type(), torch::kFloat32);
      const auto all = job.all_gather(p.grad());
      EXPECT_TRUE(same_bits(all[0], all[1]));
    }
  });
}

}  // namespace
}  // namespace rondo::test
