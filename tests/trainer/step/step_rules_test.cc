// Schedules on an optimizer, clipping, the loss scale: what is done between the step point and the optimizer.
#include <torch/torch.h>

#include <limits>

#include "tests/trainer/support/trainer_ranks.h"
#include "trainer/gradient/replica.h"

namespace rondo::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Sgd = Optimizer<torch::optim::SGD>;

Sgd sgd(const DistributedDataParallel& ddp, torch::nn::Module& net, double rate = 0.1) {
  return Sgd(ddp, net.parameters(), torch::optim::SGDOptions(rate).momentum(0.9));
}

/// One backward of `factor` times the loss on this rank's batch of step `step`.
void backward(Mlp& net, const Job& job, int step, double factor = 1) {
  (mean_loss(net, samples(8, static_cast<uint64_t>(10 * step + job.rank))) * factor).backward();
}

std::vector<torch::Tensor> copies(torch::nn::Module& module) {
  std::vector<torch::Tensor> all;
  for (const auto& parameter : module.parameters()) all.push_back(parameter.detach().clone());
  return all;
}

void expect_same(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i], b[i])) << "parameter " << i;
}

void expect_equal_on_all_ranks(const Job& job, torch::nn::Module& module) {
  for (const auto& parameter : module.parameters()) {
    const auto all = job.all_gather(parameter.detach());
    for (int rank = 1; rank < job.world_size; ++rank) EXPECT_TRUE(same_bits(all[rank], all[0]));
  }
}

TEST(RateScheduler, SetsTheRatesOfAllGroupsFromTheirOwn) {
  torch::nn::Linear first(2, 2), second(2, 2);
  torch::optim::SGD optimizer(first->parameters(), torch::optim::SGDOptions(0.1));
  optimizer.add_param_group(torch::optim::OptimizerParamGroup(
      second->parameters(), std::make_unique<torch::optim::SGDOptions>(torch::optim::SGDOptions(1.0))));
  RateScheduler scheduler(optimizer, step_decay(2, 0.5));
  EXPECT_THAT(scheduler.rates(), ElementsAre(0.1, 1.0));
  scheduler.step();
  EXPECT_THAT(scheduler.rates(), ElementsAre(0.1, 1.0));
  scheduler.step();
  EXPECT_THAT(scheduler.rates(), ElementsAre(0.05, 0.5));
  EXPECT_EQ(scheduler.position(), 2);
  torch::nn::Linear third(2, 2);
  optimizer.add_param_group(torch::optim::OptimizerParamGroup(
      third->parameters(), std::make_unique<torch::optim::SGDOptions>(torch::optim::SGDOptions(8.0))));
  scheduler.restore(4);
  EXPECT_THAT(scheduler.rates(), ElementsAre(0.025, 0.25, 2.0));
  EXPECT_THAT(error_of([&] { scheduler.restore(-1); }), HasSubstr("position -1"));
}

TEST(RateScheduler, GoesOnFromItsPositionWithAnOptimizerMadeAnew) {
  torch::nn::Linear net(2, 2);
  torch::optim::AdamW whole(net->parameters(), torch::optim::AdamWOptions(0.3));
  torch::optim::AdamW again(net->parameters(), torch::optim::AdamWOptions(0.3));
  RateScheduler one(whole, warmup(3, cosine(5)));
  for (int i = 0; i < 5; ++i) one.step();
  RateScheduler other(again, warmup(3, cosine(5)));
  other.restore(one.position());
  EXPECT_EQ(other.rates(), one.rates());
}

TEST(PlateauScheduler, LowersAllGroups) {
  torch::nn::Linear net(2, 2);
  torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1));
  PlateauScheduler scheduler(optimizer, {.factor = 0.5, .patience = 0});
  EXPECT_FALSE(scheduler.step(1));
  EXPECT_TRUE(scheduler.step(1));
  EXPECT_DOUBLE_EQ(optimizer.param_groups()[0].options().get_lr(), 0.05);
}

TEST(StepRules, ClippingIsThatOfLibTorchOnTheReducedGradients) {
  run_jobs(2, [](const Job& job) {
    Mlp ours, theirs;
    fill(*ours, 1), fill(*theirs, 1);
    DistributedDataParallel ddp(job, *ours), plain(job, *theirs);
    Sgd optimizer = sgd(ddp, *ours), reference = sgd(plain, *theirs);
    for (const double most : {0.05, 1000.0}) {  // below the norm, above it
      optimizer.set_rules({.clip_norm = most});
      for (int step = 0; step < 3; ++step) {
        optimizer.zero_grad(), reference.zero_grad();
        backward(ours, job, step), backward(theirs, job, step);
        const double norm = torch::nn::utils::clip_grad_norm_(theirs->parameters(), most);
        optimizer.step(), reference.step();
        EXPECT_TRUE(optimizer.last_step().applied);
        EXPECT_DOUBLE_EQ(optimizer.last_step().norm, norm);
        expect_same(copies(*ours), copies(*theirs));
      }
    }
    expect_equal_on_all_ranks(job, *ours);
  });
}

TEST(StepRules, GradientsThatAreNotFiniteOnOneRankAreSkippedOnAllOrOnNone) {
  run_jobs(3, [](const Job& job) {
    Mlp net;
    fill(*net, 1);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer = sgd(ddp, *net);
    optimizer.set_rules({.non_finite = StepRules::NonFinite::kSkipped});
    const auto before = copies(*net);
    backward(net, job, 0, job.rank == 1 ? std::numeric_limits<double>::infinity() : 1);
    optimizer.step();
    EXPECT_FALSE(optimizer.last_step().applied);
    expect_same(copies(*net), before);
    optimizer.zero_grad();
    backward(net, job, 1);
    optimizer.step();
    EXPECT_TRUE(optimizer.last_step().applied) << "the next one is taken";
    expect_equal_on_all_ranks(job, *net);
    optimizer.set_rules({});
    optimizer.zero_grad();
    backward(net, job, 2, job.rank == 1 ? std::numeric_limits<double>::quiet_NaN() : 1);
    optimizer.step();
    EXPECT_TRUE(optimizer.last_step().applied);
    EXPECT_TRUE(net->parameters()[0].isnan().any().item<bool>()) << "without the rule it is taken, as in PyTorch";
  });
}

TEST(LossScale, ScalesUnscalesAndChangesNoBit) {
  run_jobs(2, [](const Job& job) {
    Mlp scaled, plain;
    fill(*scaled, 1), fill(*plain, 1);
    DistributedDataParallel ddp(job, *scaled), reference_ddp(job, *plain);
    Sgd optimizer = sgd(ddp, *scaled), reference = sgd(reference_ddp, *plain);
    LossScale scale(LossScale::Options{.initial = 1024, .interval = 2});
    optimizer.set_rules({.clip_norm = 0.5, .loss_scale = &scale});
    reference.set_rules({.clip_norm = 0.5});
    for (int step = 0; step < 5; ++step) {
      optimizer.zero_grad(), reference.zero_grad();
      scale.scale(mean_loss(scaled, samples(8, static_cast<uint64_t>(10 * step + job.rank)))).backward();
      backward(plain, job, step);
      optimizer.step(), reference.step();
      expect_same(copies(*scaled), copies(*plain));  // powers of two are exact
    }
    EXPECT_DOUBLE_EQ(scale.factor(), 4096) << "doubled after two good steps, and after two more";
  });
}

TEST(LossScale, AnOverflowOnOneRankSkipsTheStepAndHalvesTheFactorOnAll) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    fill(*net, 1);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer = sgd(ddp, *net);
    LossScale scale;
    optimizer.set_rules({.loss_scale = &scale});
    const auto before = copies(*net);
    backward(net, job, 0, job.rank == 0 ? std::numeric_limits<double>::infinity() : scale.factor());
    optimizer.step();
    EXPECT_FALSE(optimizer.last_step().applied);
    EXPECT_EQ(scale.state(), (LossScale::State{.factor = 32'768, .good_steps = 0}));
    expect_same(copies(*net), before);
  });
}

TEST(LossScale, GrowsAndFallsAsGradScalerDoes) {
  LossScale scale(LossScale::Options{.initial = 8, .growth = 2, .backoff = 0.5, .interval = 3});
  std::vector<double> factors;
  for (const bool finite : {true, true, false, true, true, true, true, false, false, true}) {
    scale.update(finite);
    factors.push_back(scale.factor());
  }
  // torch.amp.GradScaler("cpu", init_scale=8, growth_interval=3), torch 2.11.
  EXPECT_THAT(factors, ElementsAre(8, 8, 4, 4, 4, 8, 8, 4, 2, 2));
  LossScale other;
  other.restore(scale.state());
  EXPECT_EQ(other.state(), scale.state());
  EXPECT_THAT(error_of([] { LossScale(LossScale::Options{.backoff = 1}); }), HasSubstr("backoff between 0 and 1"));
  LossScale huge(LossScale::Options{.initial = 2e38, .interval = 1});
  huge.update(true);
  EXPECT_DOUBLE_EQ(huge.factor(), 2e38) << "a factor that float32 cannot hold would end all gradients";
}

// torch.optim.swa_utils.AveragedModel of Linear(1, 1), get_ema_multi_avg_fn(0.75), torch 2.11; the weight was set to
// these values in turn.
TEST(Ema, HasTheNumbersOfAveragedModel) {
  torch::nn::Linear net(1, 1);
  const torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1));
  Ema ema(*net, optimizer, 0.75);
  const std::vector<std::pair<float, float>> expected = {
      {1.0F, 1.0F}, {0.3F, 0.825F}, {-2.0F, 0.11875F}, {0.7F, 0.26406246F}};
  for (const auto& [weight, average] : expected) {
    {
      const torch::NoGradGuard no_grad;
      net->weight.fill_(weight);
    }
    ema.update();
    EXPECT_FLOAT_EQ(ema.state()[0].second.item<float>(), average);
    EXPECT_FLOAT_EQ(net->weight.item<float>(), weight);
    const auto scope = ema.averages();
    EXPECT_FLOAT_EQ(net->weight.item<float>(), average);
  }
  EXPECT_FLOAT_EQ(net->weight.item<float>(), 0.7F) << "its own came back";
  EXPECT_EQ(ema.updates(), 4);
}

TEST(Ema, IsEqualOnAllRanksAndGoesOnFromItsState) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    fill(*net, 1);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer = sgd(ddp, *net);
    Ema whole(*net, optimizer, 0.9), first(*net, optimizer, 0.9);
    std::optional<Ema> second;
    for (int step = 0; step < 6; ++step) {
      if (step == 3) {
        second.emplace(*net, optimizer, 0.9);
        second->restore(first.state(), first.updates());
      }
      optimizer.zero_grad();
      backward(net, job, step);
      optimizer.step();
      whole.update();
      (second ? *second : first).update();
    }
    for (size_t i = 0; i < whole.state().size(); ++i)
      EXPECT_TRUE(same_bits(second->state()[i].second, whole.state()[i].second));
    const auto scope = whole.averages();
    expect_equal_on_all_ranks(job, *net);
  });
}

TEST(Ema, RefusesWhatItCannotServe) {
  torch::nn::Linear net(2, 3), other(2, 4);
  const torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1));
  EXPECT_THAT(error_of([&] { Ema(*net, optimizer, 1); }), HasSubstr("decay of an average is 1"));
  Ema ema(*net, optimizer, 0.5), of_other(*other, optimizer, 0.5);
  EXPECT_THAT(error_of([&] { ema.restore({}, 1); }), HasSubstr("\"weight\", float32 [3, 2], is missing"));
  EXPECT_THAT(error_of([&] { ema.restore(of_other.state(), 1); }), HasSubstr("is float32 [4, 2] in the state"));
  const auto scope = ema.averages();
  EXPECT_THAT(error_of([&] { ema.update(); }), HasSubstr("inside its averages() scope"));
  EXPECT_THAT(error_of([&] { (void)ema.averages(); }), HasSubstr("inside a scope"));
  EXPECT_THAT(error_of([&] { ema.restore(ema.state(), 1); }), HasSubstr("inside its averages() scope"));
}

TEST(StepRules, RefuseWhatTheyCannotServe) {
  run_jobs(1, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer = sgd(ddp, *net);
    EXPECT_THAT(error_of([&] { optimizer.set_rules({.clip_norm = -1}); }), HasSubstr("clip_norm -1"));
    optimizer.set_rules({.clip_norm = 1});
    EXPECT_THAT(error_of([&] { optimizer.step([] { return torch::Tensor(); }); }),
                HasSubstr("step(closure) takes no rules"));
  });
}

}  // namespace
}  // namespace rondo::test
