// The step point: who completes a reduction, what a skipped step leaves as it was, which gradients the rules look at.
#include <torch/torch.h>

#include <cmath>
#include <limits>

#include "tests/trainer/support/trainer_ranks.h"

namespace rondo::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Sgd = Optimizer<torch::optim::SGD>;

constexpr double kInfinite = std::numeric_limits<double>::infinity();

// A batch of its own for each rank and step.
Samples batch_of(const Job& job, int step) { return samples(6, static_cast<uint64_t>(10 * step + job.rank)); }

struct Explodes : torch::autograd::Function<Explodes> {
  static torch::Tensor forward(torch::autograd::AutogradContext*, const torch::Tensor& x) { return x.clone(); }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*, torch::autograd::variable_list) {
    throw std::runtime_error("no gradient today");
  }
};

torch::Tensor throwing_loss(Mlp& net, const Samples& batch) {
  const auto y = Explodes::apply(torch::relu(net->second(torch::relu(net->first(batch.data)))));
  return torch::nn::functional::cross_entropy(net->third(y), batch.target);
}

std::vector<torch::Tensor> copies(torch::nn::Module& module) {
  std::vector<torch::Tensor> all;
  for (const auto& parameter : module.parameters()) all.push_back(parameter.detach().clone());
  return all;
}

bool same(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same_bits);
}

void expect_equal_on_all_ranks(const Job& job, torch::nn::Module& module) {
  for (const auto& named : module.named_parameters()) {
    const auto all = job.all_gather(named.value().detach());
    for (int rank = 1; rank < job.world_size; ++rank) EXPECT_TRUE(same_bits(all[rank], all[0])) << named.key();
  }
}

// The order in which most PyTorch loops do it: the loss first.
TEST(Weigh, BeforeZeroGradCountsAsAfterIt) {
  run_jobs(2, [](const Job& job) {
    Mlp early, late;
    fill(*early, 4), fill(*late, 4);
    DistributedDataParallel ddp_early(job, *early), ddp_late(job, *late);
    Sgd optimizer_early(ddp_early, early->parameters(), torch::optim::SGDOptions(0.1));
    Sgd optimizer_late(ddp_late, late->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 3; ++step) {
      const Samples batch = samples(job.rank == 0 ? 5 : 2, static_cast<uint64_t>(10 * step + job.rank));
      const auto count = static_cast<double>(batch.target.size(0));
      const auto loss = ddp_early.weigh(mean_loss(early, batch), count);
      optimizer_early.zero_grad();
      loss.backward();
      optimizer_early.step();

      optimizer_late.zero_grad();
      ddp_late.weigh(mean_loss(late, batch), count).backward();
      optimizer_late.step();
    }
    EXPECT_TRUE(same(copies(*early), copies(*late)));
  });
}

TEST(Weigh, OfABatchThatWasGivenUpIsForgottenAndOfAnAccumulatedOneIsCleared) {
  run_jobs(2, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 4), fill(*plain, 4);
    DistributedDataParallel ddp(job, *net), plain_ddp(job, *plain);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    Sgd plain_optimizer(plain_ddp, plain->parameters(), torch::optim::SGDOptions(0.1));
    const Samples batch = samples(job.rank == 0 ? 5 : 2, static_cast<uint64_t>(job.rank));
    const auto count = static_cast<double>(batch.target.size(0));
    optimizer.zero_grad();
    (void)ddp.weigh(mean_loss(net, batch), 100);  // no backward follows
    optimizer.zero_grad();
    {
      const auto scope = ddp.no_sync();
      ddp.weigh(mean_loss(net, batch), 50).backward();
    }
    optimizer.zero_grad();
    ddp.weigh(mean_loss(net, batch), count).backward();
    optimizer.step();
    plain_ddp.weigh(mean_loss(plain, batch), count).backward();
    plain_optimizer.step();
    EXPECT_TRUE(same(copies(*net), copies(*plain)));
  });
}

// The embedding of many a model has an optimizer of its own.
TEST(SeveralOptimizers, ShareOneReductionAndItsVerdict) {
  run_jobs(2, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 4), fill(*plain, 4);
    DistributedDataParallel ddp(job, *net, {.unused = Unused::kRefused}), plain_ddp(job, *plain);
    Sgd lower(ddp, net->first->parameters(), torch::optim::SGDOptions(0.1));
    torch::optim::SGD middle(net->second->parameters(), torch::optim::SGDOptions(0.1));
    Sgd upper(ddp, net->third->parameters(), torch::optim::SGDOptions(0.1));
    Sgd reference(plain_ddp, plain->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 4; ++step) {
      const bool throws = job.rank == 1 && step == 1;
      const Samples batch = batch_of(job, step);
      lower.zero_grad(), middle.zero_grad(), upper.zero_grad();
      try {
        (throws ? throwing_loss(net, batch) : mean_loss(net, batch)).backward();
        lower.step();
        lower.zero_grad();
        ddp.step(middle);
        upper.step();
      } catch (const std::runtime_error&) {
        EXPECT_TRUE(throws);
        upper.zero_grad();
      }
      if (!throws) {
        EXPECT_EQ(upper.last_step().applied, step != 1) << "step " << step;
      }
      if (step == 1) continue;
      reference.zero_grad();
      mean_loss(plain, batch).backward();
      reference.step();
    }
    EXPECT_TRUE(same(copies(*net), copies(*plain)));
    EXPECT_EQ(ddp.statistics().step, 4) << "one reduction a step";
    expect_equal_on_all_ranks(job, *net);
  });
}

TEST(SeveralOptimizers, TheNextStepOfARankWithoutALossIsAnotherOne) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    fill(*net, 4);
    DistributedDataParallel ddp(job, *net);
    Sgd lower(ddp, net->first->parameters(), torch::optim::SGDOptions(0.1));
    Sgd upper(ddp, net->third->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 3; ++step) {
      lower.zero_grad(), upper.zero_grad();
      if (job.rank == 0 || step != 1) mean_loss(net, batch_of(job, step)).backward();
      lower.step();
      upper.step();
    }
    EXPECT_EQ(ddp.statistics().step, 3);
    expect_equal_on_all_ranks(job, *net);
  });
}

// Plain optimizers, whose zero_grad() the wrapper does not see.
TEST(SeveralOptimizers, OfLossesInTurnEachHaveAReductionAlsoWhereARankHasRunOutOfData) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    fill(*net, 4);
    DistributedDataParallel ddp(job, *net);
    torch::optim::SGD one(net->parameters(), torch::optim::SGDOptions(0.1));
    torch::optim::SGD other(net->parameters(), torch::optim::SGDOptions(0.05));
    for (int step = 0; step < 4; ++step) {
      for (torch::optim::SGD* optimizer : {&one, &other}) {
        optimizer->zero_grad();
        if (job.rank == 0 || step < 2) mean_loss(net, batch_of(job, step)).backward();
        EXPECT_TRUE(ddp.step(*optimizer));
      }
    }
    EXPECT_EQ(ddp.statistics().step, 8);
    expect_equal_on_all_ranks(job, *net);
  });
}

// A rank whose exception goes past the end of the loop's body calls neither; the others do.
TEST(SkippedStep, LeavesRatesAndAveragesAsTheyWere) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    fill(*net, 4);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.5));
    RateScheduler rates(optimizer, step_decay(1, 0.5));
    Ema average(*net, optimizer, 0.5);
    for (int step = 0; step < 4; ++step) {
      const bool throws = job.rank == 1 && step == 2;
      try {
        optimizer.zero_grad();
        (throws ? throwing_loss(net, batch_of(job, step)) : mean_loss(net, batch_of(job, step))).backward();
        optimizer.step();
        rates.step();
        average.update();
      } catch (const std::runtime_error&) {
        optimizer.zero_grad();
      }
    }
    EXPECT_EQ(rates.position(), 3);
    EXPECT_EQ(average.updates(), 3);
    expect_equal_on_all_ranks(job, *net);
    const auto scope = average.averages();
    expect_equal_on_all_ranks(job, *net);
  });
}

TEST(SkippedStep, OfAnEpochThatLearnedSomethingMovesTheRates) {
  run_jobs(1, [](const Job& job) {
    Mlp net;
    fill(*net, 4);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.5));
    optimizer.set_rules({.non_finite = StepRules::NonFinite::kSkipped});
    RateScheduler rates(optimizer, step_decay(1, 0.5));
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      (mean_loss(net, batch_of(job, step)) * (step == 2 ? kInfinite : 1)).backward();
      optimizer.step();
    }
    rates.step();
    EXPECT_EQ(rates.position(), 1);
    rates.step();
    EXPECT_EQ(rates.position(), 1) << "nothing was learned in between";
  });
}

TEST(StepWithAClosure, EveryEvaluationIsReduced) {
  run_jobs(2, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 4), fill(*plain, 4);
    DistributedDataParallel ddp(job, *net);
    const auto options = torch::optim::LBFGSOptions(0.5).max_iter(4).line_search_fn("strong_wolfe");
    Optimizer<torch::optim::LBFGS> optimizer(ddp, net->parameters(), options);
    torch::optim::LBFGS reference(plain->parameters(), options);
    int evaluations = 0;
    for (int step = 0; step < 2; ++step) {
      optimizer.step([&] {
        ++evaluations;
        optimizer.zero_grad();
        const Samples batch = samples(3 + 2 * job.rank, static_cast<uint64_t>(10 * step + job.rank));
        auto loss = ddp.weigh(mean_loss(net, batch), static_cast<double>(batch.target.size(0)));
        loss.backward();
        return loss;
      });
      EXPECT_TRUE(optimizer.last_step().applied);
      const Samples first = samples(3, static_cast<uint64_t>(10 * step));
      const Samples second = samples(5, static_cast<uint64_t>(10 * step + 1));
      reference.step([&] {
        reference.zero_grad();
        auto loss = (3 * mean_loss(plain, first) + 5 * mean_loss(plain, second)) / 8;
        loss.backward();
        return loss;
      });
    }
    EXPECT_GT(evaluations, 2);
    EXPECT_EQ(ddp.statistics().step, evaluations);
    EXPECT_EQ(optimizer.applied_steps(), 2);
    expect_equal_on_all_ranks(job, *net);
    for (size_t i = 0; i < net->parameters().size(); ++i) {
      EXPECT_TRUE(torch::allclose(net->parameters()[i], plain->parameters()[i], 1e-4, 1e-5)) << "parameter " << i;
    }
  });
}

TEST(StepWithAClosure, EndsOnAllRanksWhenOneCannotDoAnEvaluation) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    fill(*net, 4);
    DistributedDataParallel ddp(job, *net);
    Optimizer<torch::optim::LBFGS> optimizer(ddp, net->parameters(), torch::optim::LBFGSOptions(0.5).max_iter(4));
    for (int step = 0; step < 5; ++step) {
      int evaluations = 0;
      std::string error;
      try {
        optimizer.step([&] {
          optimizer.zero_grad();
          const bool bad = job.rank == 1 && (step == 1 || step == 3) && ++evaluations == 2;
          auto loss = bad && step == 1 ? throwing_loss(net, batch_of(job, step)) : mean_loss(net, batch_of(job, step));
          loss.backward();
          if (bad && step == 3)
            throw std::runtime_error("no gradient today");  // behind a reduction that came to its end
          return loss;
        });
      } catch (const std::runtime_error& caught) {
        error = caught.what();
        optimizer.zero_grad();
      }
      const bool failed = step % 2 == 1;
      EXPECT_EQ(optimizer.last_step().applied, !failed) << "step " << step;
      EXPECT_EQ(error.empty(), !failed) << error;
      const std::string expected = job.rank == 1 ? "no gradient today" : "could not do this evaluation";
      EXPECT_THAT(error, HasSubstr(failed ? expected : ""));
    }
    expect_equal_on_all_ranks(job, *net);
  });
}

TEST(SkipStep, AfterBackwardIsTooLate) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    fill(*net, 4);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    mean_loss(net, batch_of(job, 0)).backward();
    if (job.rank == 1) {
      EXPECT_THAT(error_of([&] { ddp.skip_step("a bad batch"); }),
                  AllOf(HasSubstr("averaged already"), HasSubstr("before backward()")));
    }
    optimizer.step();
    EXPECT_TRUE(optimizer.last_step().applied);
    expect_equal_on_all_ranks(job, *net);
  });
}

TEST(LossScale, OfSeveralOptimizersDividesAllByOneFactorAndCountsOneStep) {
  run_jobs(2, [](const Job& job) {
    Mlp scaled, plain;
    fill(*scaled, 4), fill(*plain, 4);
    DistributedDataParallel ddp(job, *scaled), plain_ddp(job, *plain);
    Sgd lower(ddp, scaled->first->parameters(), torch::optim::SGDOptions(0.1));
    Sgd upper(ddp, scaled->third->parameters(), torch::optim::SGDOptions(0.1));
    Sgd plain_lower(plain_ddp, plain->first->parameters(), torch::optim::SGDOptions(0.1));
    Sgd plain_upper(plain_ddp, plain->third->parameters(), torch::optim::SGDOptions(0.1));
    LossScale scale(LossScale::Options{.initial = 1024, .interval = 2});
    lower.set_rules({.loss_scale = &scale});
    upper.set_rules({.loss_scale = &scale});
    for (int step = 0; step < 5; ++step) {
      lower.zero_grad(), upper.zero_grad(), plain_lower.zero_grad(), plain_upper.zero_grad();
      scale.scale(mean_loss(scaled, batch_of(job, step))).backward();
      mean_loss(plain, batch_of(job, step)).backward();
      lower.step(), upper.step(), plain_lower.step(), plain_upper.step();
      EXPECT_TRUE(same(copies(*scaled), copies(*plain))) << "step " << step;  // powers of two are exact
    }
    EXPECT_DOUBLE_EQ(scale.factor(), 4096) << "doubled after two good steps, and after two more";

    lower.zero_grad(), upper.zero_grad();
    scale.scale(mean_loss(scaled, batch_of(job, 9))).backward();
    scaled->first->weight.mutable_grad().fill_(kInfinite);
    lower.step(), upper.step();
    EXPECT_FALSE(lower.last_step().applied);
    EXPECT_TRUE(upper.last_step().applied) << "as with torch.amp.GradScaler";
    EXPECT_DOUBLE_EQ(scale.factor(), 2048) << "one of them overflowed";
  });
}

struct KindsImpl : torch::nn::Module {
  KindsImpl() {
    words = register_module("words", torch::nn::Embedding(torch::nn::EmbeddingOptions(20, 4).sparse(true)));
    phases = register_parameter("phases", torch::ones({4}, torch::kComplexFloat));
  }
  torch::Tensor loss(const torch::Tensor& ids) { return torch::abs(words->forward(ids).sum(0) * phases).sum(); }
  torch::nn::Embedding words{nullptr};
  torch::Tensor phases;
};
TORCH_MODULE(Kinds);

TEST(StepRules, TakeSparseAndComplexGradients) {
  run_jobs(2, [](const Job& job) {
    Kinds net, plain;
    {
      const torch::NoGradGuard no_grad;
      plain->words->weight.copy_(net->words->weight.copy_(numbers({20, 4}, 3)));
    }
    DistributedDataParallel ddp(job, *net), plain_ddp(job, *plain);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    Sgd reference(plain_ddp, plain->parameters(), torch::optim::SGDOptions(0.1));
    const auto ids = torch::tensor({1, 1, 7 + job.rank});
    LossScale scale(LossScale::Options{.initial = 8});
    optimizer.set_rules({.clip_norm = 1e9, .loss_scale = &scale});
    scale.scale(net->loss(ids)).backward();
    optimizer.step();
    plain->loss(ids).backward();
    double squares = 0;
    for (const auto& parameter : plain->parameters()) {
      const auto gradient = parameter.grad().is_sparse() ? parameter.grad().to_dense() : parameter.grad();
      squares += torch::abs(gradient).pow(2).sum().item<double>();
    }
    reference.step();
    EXPECT_NEAR(optimizer.last_step().norm, std::sqrt(squares), 1e-5 * std::sqrt(squares));
    for (size_t i = 0; i < net->parameters().size(); ++i) {
      EXPECT_TRUE(torch::allclose(net->parameters()[i], plain->parameters()[i])) << "parameter " << i;
    }
    optimizer.zero_grad();
    (net->loss(ids) * (job.rank == 1 ? kInfinite : 1)).backward();
    optimizer.step();
    EXPECT_FALSE(optimizer.last_step().applied);
  });
}

// What is not averaged differs between ranks, and must not make the others' gradients differ.
TEST(StepRules, OfIgnoredParametersLeaveTheAveragedOnesEqual) {
  run_jobs(2, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 4), fill(*plain, 4);
    DistributedDataParallel ddp(job, *net, {.ignore = {"third"}});
    fill(*net->third, 40 + static_cast<uint64_t>(job.rank));
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    optimizer.set_rules({.clip_norm = 1e-3});
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      (mean_loss(net, batch_of(job, step)) * (1 + 9 * job.rank)).backward();
      optimizer.step();
    }
    const auto norm = job.all_gather(torch::tensor(optimizer.last_step().norm, torch::kFloat64));
    EXPECT_TRUE(same_bits(norm[0], norm[1]));
    expect_equal_on_all_ranks(job, *net->first);
    expect_equal_on_all_ranks(job, *net->second);

    optimizer.set_rules({.non_finite = StepRules::NonFinite::kSkipped});
    const auto before = copies(*net);
    optimizer.zero_grad();
    mean_loss(net, batch_of(job, 3)).backward();
    if (job.rank == 1) net->third->weight.mutable_grad().fill_(kInfinite);
    optimizer.step();
    EXPECT_FALSE(optimizer.last_step().applied) << "also on the rank whose own gradients are finite";
    EXPECT_TRUE(same(before, copies(*net)));
  });
}

}  // namespace
}  // namespace rondo::test
