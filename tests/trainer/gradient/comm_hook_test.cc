// Comm hooks: what they leave in the gradients, and their state.
#include <torch/torch.h>

#include <limits>

#include "tests/trainer/gradient/nets.h"

namespace rondo::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<torch::Tensor> gradients_of(torch::nn::Module& net) {
  std::vector<torch::Tensor> gradients;
  for (const auto& p : net.parameters()) gradients.push_back(p.grad().clone());
  return gradients;
}

// Gradients of each of `steps` backwards on `n` ranks, with the hook that `make` makes; equal on all ranks.
std::vector<std::vector<torch::Tensor>> reduced(int n, int steps,
                                                const std::function<std::shared_ptr<CommHook>()>& make) {
  std::vector<std::vector<torch::Tensor>> result(steps);
  run_jobs(n, [&](const Job& job) {
    Mlp net;
    fill(*net, 5);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    if (auto hook = make()) ddp.set_comm_hook(std::move(hook));
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.0));
    for (int step = 0; step < steps; ++step) {
      optimizer.zero_grad();
      mean_loss(net, samples(8, 10 + job.rank)).backward();
      for (const auto& p : net->parameters()) {
        const auto all = job.all_gather(p.grad());
        for (int rank = 1; rank < n; ++rank) EXPECT_TRUE(same_bits(all[0], all[rank]));
      }
      if (job.rank == 0) result[step] = gradients_of(*net);
      optimizer.step();
    }
  });
  return result;
}

double distance(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]).square().sum().item<double>();
    norm += b[i].square().sum().item<double>();
  }
  return std::sqrt(difference / norm);
}

TEST(CommHook, SixteenBitHooksAreCloseAndNotEqual) {
  const auto exact = reduced(3, 2, [] { return nullptr; });
  const auto bf16 = reduced(3, 2, bf16_hook), fp16 = reduced(3, 2, fp16_hook);
  for (int step = 0; step < 2; ++step) {
    EXPECT_LT(distance(bf16[step], exact[step]), 1e-2);
    EXPECT_GT(distance(bf16[step], exact[step]), 1e-5);
    EXPECT_LT(distance(fp16[step], exact[step]), 1e-3);
    EXPECT_GT(distance(fp16[step], exact[step]), 1e-6);
  }
}

// A gradient above float16's largest number on one rank, with a mean that fits.
TEST(CommHook, Fp16DividesBeforeItRounds) {
  run_jobs(4, [](const Job& job) {
    torch::nn::Linear net(torch::nn::LinearOptions(1, 1).bias(false));
    DistributedDataParallel ddp(job, *net);
    ddp.set_comm_hook(fp16_hook());
    net(torch::full({1, 1}, job.rank == 2 ? 200'000.0F : 0.0F)).sum().backward();
    EXPECT_NEAR(net->weight.grad().item<float>(), 50'000, 50);
  });
}

// Counts, and halves the mean.
class Halving final : public CommHook {
 public:
  struct Seen {
    int index;
    bool is_last;
    size_t gradients;
    bool in_buffer;
  };
  explicit Halving(std::vector<Seen>& seen) : seen_(seen) {}
  std::string name() const override { return "halving"; }
  void launch(HookBucket& bucket) override {
    const auto* begin = static_cast<const char*>(bucket.buffer.data_ptr());
    bool inside = bucket.names.size() == bucket.gradients.size();
    for (const auto& gradient : bucket.gradients) {
      const auto* data = static_cast<const char*>(gradient.data_ptr());
      inside = inside && data >= begin && data + gradient.nbytes() <= begin + bucket.buffer.nbytes();
    }
    seen_.push_back({bucket.index, bucket.is_last, bucket.gradients.size(), inside});
    bucket.mean(bucket.buffer);
  }
  void finish(HookBucket& bucket) override {
    bucket.wait();
    bucket.buffer.div_(2);
  }

 private:
  std::vector<Seen>& seen_;
};

TEST(CommHook, OfTheUserSeesEveryBucketInOrderAndHasTheLastWord) {
  std::vector<Halving::Seen> seen[2];
  std::atomic<int> next = 0;
  const auto halved = reduced(2, 1, [&] { return std::make_shared<Halving>(seen[next++]); });
  const auto exact = reduced(2, 1, [] { return nullptr; });
  for (size_t i = 0; i < exact[0].size(); ++i) EXPECT_TRUE(same_bits(halved[0][i] * 2, exact[0][i]));
  for (const auto& of_rank : seen) {
    ASSERT_GT(of_rank.size(), 2);
    size_t gradients = 0;
    for (int b = 0; b < std::ssize(of_rank); ++b) {
      EXPECT_EQ(of_rank[b].index, b);
      EXPECT_EQ(of_rank[b].is_last, b + 1 == std::ssize(of_rank));
      EXPECT_TRUE(of_rank[b].in_buffer);
      gradients += of_rank[b].gradients;
    }
    EXPECT_EQ(gradients, 6);
  }
}

TEST(CommHook, ThatThrowsEndsTheReductionOnAllRanksWithItsWords) {
  class Throwing final : public CommHook {
   public:
    std::string name() const override { return "throwing"; }
    void launch(HookBucket& bucket) override {
      if (rank == 1 && bucket.index == 1) throw std::runtime_error("cannot pack");
      bucket.mean(bucket.buffer);
    }
    void finish(HookBucket& bucket) override { bucket.wait(); }
    int rank = 0;
  };
  std::string said[2];
  run_jobs(2, [&](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    const auto hook = std::make_shared<Throwing>();
    hook->rank = job.rank;
    ddp.set_comm_hook(hook);
    said[job.rank] = error_of([&] { mean_loss(net, samples(4, 1)).backward(); });
  });
  for (const std::string& text : said) EXPECT_THAT(text, AllOf(HasSubstr("cannot pack"), HasSubstr("throwing")));
}

TEST(CommHook, MustBeTheSameOnAllRanksAndIsNotChangedWithinAStep) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net);
    mean_loss(net, samples(4, 1)).backward();
    EXPECT_THAT(error_of([&] { ddp.set_comm_hook(bf16_hook()); }), HasSubstr("between a step point"));
  });
  run_jobs(2, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net);
    EXPECT_THAT(error_of([&] { ddp.set_comm_hook(job.rank == 0 ? bf16_hook() : fp16_hook()); }),
                AllOf(HasSubstr("bf16"), HasSubstr("fp16")));
  });
}

TEST(CommHook, SetWithinAStepKeepsWhatTheStepHasGathered) {
  for (const int n : {1, 2}) {
    run_jobs(n, [](const Job& job) {
      torch::nn::Linear net(torch::nn::LinearOptions(1, 1).bias(false));
      DistributedDataParallel ddp(job, *net);
      const auto loss = [&] { return net(torch::full({1, 1}, 6.0F)).sum(); };
      {
        const auto local = ddp.no_sync();
        ddp.weigh(loss(), 1).backward();
      }
      const auto weighed = ddp.weigh(loss(), 3);
      ddp.set_comm_hook(bf16_hook());
      weighed.backward();
      EXPECT_EQ(net->weight.grad().item<float>(), 6) << job.world_size << " ranks";
    });
  }
}

// Matrix products of a hook would lose digits there.
TEST(CommHook, BackwardInsideAnAutocastScopeReducesInFullPrecision) {
  for (const bool factors : {false, true}) {
    run_jobs(2, [&](const Job& job) {
      Mlp net, reference;
      fill(*net, 5), fill(*reference, 5);
      DistributedDataParallel ddp(job, *net, kSmallBuckets);
      if (factors) ddp.set_comm_hook(power_sgd_hook({.rank = 64, .start_step = 0, .min_compression_rate = 0}));
      Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.0));
      const auto backward = [](Mlp& of, uint64_t seed) {
        const auto loss = mean_loss(of, samples(8, seed));
        const Autocast scope;
        loss.backward();
      };
      backward(reference, 10), backward(reference, 11);
      std::vector<torch::Tensor> expected;
      for (const auto& gradient : gradients_of(*reference)) expected.push_back(gradient / 2);
      for (int step = 0; step < 2; ++step) {
        optimizer.zero_grad();
        backward(net, static_cast<uint64_t>(10 + job.rank));
        EXPECT_LT(distance(gradients_of(*net), expected), 1e-5) << "step " << step << (factors ? ", PowerSGD" : "");
        for (const auto& p : net->parameters()) EXPECT_EQ(p.grad().scalar_type(), torch::kFloat32);
        optimizer.step();
      }
    });
  }
}

TEST(PowerSgd, OfFullRankIsExact) {
  const auto exact = reduced(2, 3, [] { return nullptr; });
  const auto full =
      reduced(2, 3, [] { return power_sgd_hook({.rank = 64, .start_step = 0, .min_compression_rate = 0}); });
  for (int step = 0; step < 3; ++step) EXPECT_LT(distance(full[step], exact[step]), 1e-5);
}

TEST(PowerSgd, StartsAtItsStepAndThenLosesSomething) {
  const auto exact = reduced(2, 3, [] { return nullptr; });
  const auto late = reduced(2, 3, [] { return power_sgd_hook({.rank = 1, .start_step = 2}); });
  for (size_t i = 0; i < exact[0].size(); ++i) {
    EXPECT_TRUE(same_bits(late[0][i], exact[0][i]));
    EXPECT_TRUE(same_bits(late[1][i], exact[1][i]));
  }
  EXPECT_GT(distance(late[2], exact[2]), 1e-2);
}

// The sum of what was applied approaches the sum of the true gradients only when errors are fed back.
TEST(PowerSgd, FeedsBackWhatItLost) {
  constexpr int kSteps = 40;
  const auto exact = reduced(2, 1, [] { return nullptr; });
  const auto mean_of = [&](bool feedback) {
    const auto steps = reduced(
        2, kSteps, [&] { return power_sgd_hook({.rank = 1, .start_step = 0, .use_error_feedback = feedback}); });
    std::vector<torch::Tensor> mean;
    for (size_t i = 0; i < exact[0].size(); ++i) {
      mean.push_back(torch::zeros_like(exact[0][i]));
      for (const auto& step : steps) mean.back() += step[i] / kSteps;
    }
    return mean;
  };
  const double with = distance(mean_of(true), exact[0]), without = distance(mean_of(false), exact[0]);
  EXPECT_LT(with, without / 2) << "with " << with << ", without " << without;
}

TEST(PowerSgd, WarmStartComesNearerToTheBestFactorsWithEachStep) {
  constexpr int kSteps = 10;
  const auto exact = reduced(2, 1, [] { return nullptr; });
  const auto error_of_last_steps = [&](bool warm) {
    const auto steps = reduced(2, kSteps, [&] {
      return power_sgd_hook({.rank = 1, .start_step = 0, .use_error_feedback = false, .warm_start = warm});
    });
    double sum = 0;
    for (int step = kSteps / 2; step < kSteps; ++step) sum += distance(steps[step], exact[0]);
    return sum;
  };
  EXPECT_LT(error_of_last_steps(true), error_of_last_steps(false));
}

TEST(PowerSgd, AnOverflowThatWasSkippedLeavesNothingBehind) {
  run_jobs(2, [](const Job& job) {
    constexpr int kSteps = 30, kOverflow = 3;
    Mlp net;
    fill(*net, 5);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    const auto hook = power_sgd_hook({.rank = 1, .start_step = 0});
    ddp.set_comm_hook(hook);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.5));
    optimizer.set_rules({.non_finite = StepRules::NonFinite::kSkipped});
    double first = 0, last = 0;
    for (int step = 0; step < kSteps; ++step) {
      optimizer.zero_grad();
      auto loss = mean_loss(net, samples(8, static_cast<uint64_t>(10 + job.rank)));
      (step == 0 ? first : last) = loss.item<double>();
      if (step == kOverflow && job.rank == 1) loss = loss * std::numeric_limits<float>::infinity();
      loss.backward();
      optimizer.step();
      EXPECT_EQ(optimizer.last_step().applied, step != kOverflow) << "step " << step;
      for (const auto& [name, tensor] : hook->state()) {
        EXPECT_TRUE(torch::isfinite(tensor).all().item<bool>()) << name << " after step " << step;
      }
    }
    EXPECT_LT(last, 0.9 * first);
  });
}

TEST(PowerSgd, GoesOnFromItsStateAsIfItHadNotStopped) {
  std::vector<torch::Tensor> through[2], resumed[2];
  run_jobs(2, [&](const Job& job) {
    CommHook::State state;
    for (const bool stops : {false, true}) {
      Mlp net;
      fill(*net, 5);
      DistributedDataParallel ddp(job, *net, kSmallBuckets);
      auto hook = power_sgd_hook({.rank = 1, .start_step = 1});
      ddp.set_comm_hook(hook);
      Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.0));
      for (int step = 0; step < 6; ++step) {
        if (stops && step == 3) {
          const auto kept = hook->state();
          hook = power_sgd_hook({.rank = 1, .start_step = 1});
          hook->restore(kept);
          ddp.set_comm_hook(hook);
        }
        optimizer.zero_grad();
        mean_loss(net, samples(8, 10 + job.rank)).backward();
        optimizer.step();
      }
      (stops ? resumed : through)[job.rank] = gradients_of(*net);
    }
  });
  for (const int rank : {0, 1}) {
    for (size_t i = 0; i < through[rank].size(); ++i) EXPECT_TRUE(same_bits(through[rank][i], resumed[rank][i]));
  }
}

TEST(PowerSgd, InsideANarrowHookIsClose) {
  const auto exact = reduced(2, 2, [] { return nullptr; });
  const auto both = reduced(2, 2, [] {
    return narrow_hook(Narrow::kBFloat16, power_sgd_hook({.rank = 64, .start_step = 0, .min_compression_rate = 0}));
  });
  EXPECT_LT(distance(both[1], exact[1]), 3e-2);
  EXPECT_GT(distance(both[1], exact[1]), 1e-5);
}

TEST(PowerSgd, RefusesOptionsThatMeanNothing) {
  EXPECT_THAT(error_of([] { power_sgd_hook({.rank = 0}); }), HasSubstr("rank >= 1"));
  EXPECT_THAT(error_of([] { power_sgd_hook()->restore({{"nonsense", torch::zeros(1)}}); }), HasSubstr("nonsense"));
}

}  // namespace
}  // namespace rondo::test
