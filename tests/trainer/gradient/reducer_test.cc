// What the reducer promises in and between steps.
#include "trainer/gradient/reducer.h"

#include <torch/torch.h>

#include "tests/trainer/gradient/nets.h"
#include "trainer/gradient/replica.h"

namespace rondo::test {
namespace {

using ::testing::HasSubstr;
// Registered in the order in which gradients arrive, so the reverse of it is wrong.
struct BackwardsImpl : torch::nn::Module {
  BackwardsImpl() {
    third = register_module("third", torch::nn::Linear(24, 5));
    second = register_module("second", torch::nn::Linear(32, 24));
    first = register_module("first", torch::nn::Linear(12, 32));
  }
  torch::Tensor forward(const torch::Tensor& x) { return third(torch::relu(second(torch::relu(first(x))))); }
  torch::nn::Linear first{nullptr}, second{nullptr}, third{nullptr};
};
TORCH_MODULE(Backwards);

struct Explodes : torch::autograd::Function<Explodes> {
  static torch::Tensor forward(torch::autograd::AutogradContext*, const torch::Tensor& x) { return x.clone(); }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*, torch::autograd::variable_list) {
    throw std::runtime_error("no gradient today");
  }
};

// Runs a layer without a graph and again, with one, inside backward: a backward within a backward.
struct Checkpoint : torch::autograd::Function<Checkpoint> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x, int64_t layer) {
    context->save_for_backward({x});
    context->saved_data["layer"] = layer;
    const torch::NoGradGuard no_grad;
    return run(layer, x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const torch::AutoGradMode grad(true);
    auto x = context->get_saved_variables()[0].detach().requires_grad_();
    run(context->saved_data["layer"].toInt(), x).backward(gradients[0]);
    return {x.grad(), torch::Tensor()};
  }
  static torch::Tensor run(int64_t layer, const torch::Tensor& x) {
    return torch::relu(reinterpret_cast<torch::nn::LinearImpl*>(layer)->forward(x));
  }
  static torch::Tensor through(torch::nn::Linear& layer, const torch::Tensor& x) {
    return apply(x, reinterpret_cast<int64_t>(layer.get()));
  }
};

TEST(Reducer, GradientIsTheMeanOverRanksWhenBackwardReturns) {
  for (const int n : {1, 2, 3}) {
    run_jobs(n, [&](const Job& job) {
      Mlp net, plain;
      fill(*net, 5 + job.rank);
      fill(*plain, 5);
      DistributedDataParallel ddp(job, *net, kSmallBuckets);
      std::vector<Samples> batches;
      for (int rank = 0; rank < n; ++rank) batches.push_back(samples(4, 100 + rank));
      const auto expected = mean_gradients(plain, batches);
      mean_loss(net, batches[job.rank]).backward();
      for (size_t i = 0; i < expected.size(); ++i) {
        expect_close(net->parameters()[i].grad(), expected[i], "parameter " + std::to_string(i));
      }
    });
  }
}

TEST(Reducer, FirstBucketIsLaunchedBeforeBackwardEnds) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 1; step <= 2; ++step) {
      optimizer.zero_grad();
      mean_loss(net, samples(256, job.rank)).backward();
      const StepStatistics times = ddp.statistics();
      EXPECT_GT(times.bucket_count, 2);
      EXPECT_LE(times.last_ready_us, times.backward_end_us);
      EXPECT_EQ(times.step, step);
      // The first backward only shows the order.
      if (step == 1) {
        EXPECT_GE(times.first_launch_us, times.backward_end_us);
      } else {
        EXPECT_LT(times.first_launch_us, times.last_ready_us);
      }
      optimizer.step();
    }
  });
}

TEST(Reducer, WithoutOverlapEverythingIsLaunchedAfterTheLastGradientAndTheBitsAreTheSame) {
  std::vector<std::vector<torch::Tensor>> trained[2];
  for (const Overlap overlap : {Overlap::kOn, Overlap::kOff}) {
    auto& results = trained[static_cast<int>(overlap)];
    results.resize(3);
    run_jobs(3, [&](const Job& job) {
      Backwards net;
      fill(*net, 3);
      auto options = kSmallBuckets;
      options.overlap = overlap;
      DistributedDataParallel ddp(job, *net, options);
      Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
      for (int step = 0; step < 4; ++step) {
        optimizer.zero_grad();
        mean_loss(net, samples(8, 10 * step + job.rank)).backward();
        const StepStatistics times = ddp.statistics();
        if (overlap == Overlap::kOff) {
          EXPECT_GE(times.first_launch_us, times.last_ready_us);
        }
        optimizer.step();
      }
      results[job.rank] = net->parameters();
    });
  }
  for (int rank = 0; rank < 3; ++rank) {
    for (size_t i = 0; i < trained[0][0].size(); ++i) {
      EXPECT_TRUE(same_bits(trained[0][rank][i], trained[1][rank][i])) << "rank " << rank << " parameter " << i;
    }
  }
}

TEST(Reducer, PlanFollowsTheOrderThatRankZeroSawAndStays) {
  run_jobs(2, [](const Job& job) {
    Backwards net, plain;
    fill(*plain, 9);
    fill(*net, 9);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.0));
    trainer::Reducer& reducer = ddp.replica()->reducer();
    EXPECT_TRUE(reducer.plan().empty());
    const std::vector<Samples> batches{samples(4, 1), samples(4, 2)};
    const auto expected = mean_gradients(plain, batches);
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad(/*set_to_none=*/false);
      mean_loss(net, batches[job.rank]).backward();
      for (size_t i = 0; i < expected.size(); ++i) {
        expect_close(net->parameters()[i].grad(), expected[i], "step " + std::to_string(step));
      }
      optimizer.step();
    }
    // named_parameters: 0 = third.weight, 1 = third.bias, ...; the last layer's gradients come first.
    const auto plan = reducer.plan();
    ASSERT_GT(plan.size(), 2);
    EXPECT_LE(plan.front().slots.front().parameter, 1);
    EXPECT_GE(plan.back().slots.back().parameter, 4);
    // What rank 1 sees first is not asked.
    mean_loss(net, batches[job.rank]).backward();
    EXPECT_EQ(reducer.plan(), plan);
  });
}

TEST(Reducer, RanksThatSeeAnotherOrderTakeRankZeros) {
  run_jobs(2, [](const Job& job) {
    Heads net;
    fill(*net, 5);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    const auto y = torch::relu(net->trunk(samples(4, 1).data));
    // What was called last has its gradients first.
    const auto first = job.rank == 0 ? net->left(y) : net->right(y);
    const auto second = job.rank == 0 ? net->right(y) : net->left(y);
    (first + second).sum().backward();
    // named_parameters: 2, 3 = left, 4, 5 = right.
    const int arrives_first = ddp.replica()->reducer().plan().front().slots.front().parameter;
    EXPECT_GE(arrives_first, 4) << "rank " << job.rank;
  });
}

TEST(Reducer, ParameterUnusedOnOneRankGetsTheMeanWithZeros) {
  run_jobs(2, [](const Job& job) {
    Heads net;
    fill(*net, 4);
    DistributedDataParallel ddp(job, *net);
    net->use_right = job.rank == 1;
    mean_loss(net, samples(4, 1)).backward();
    Heads plain;
    fill(*plain, 4);
    plain->use_right = true;
    mean_loss(plain, samples(4, 1)).backward();
    expect_close(net->right->weight.grad(), plain->right->weight.grad() / 2, "right.weight");
    EXPECT_TRUE(net->left->weight.grad().defined());
  });
}

TEST(Reducer, ParameterUnusedOnAllRanksKeepsItsGradientUntouched) {
  run_jobs(2, [](const Job& job) {
    Heads net;
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    mean_loss(net, samples(4, job.rank)).backward();
    EXPECT_FALSE(net->right->weight.grad().defined());
    optimizer.step();

    // Now right has a gradient, in its bucket; the next step does not use it.
    optimizer.zero_grad();
    net->use_right = true;
    mean_loss(net, samples(4, 3 + job.rank)).backward();
    optimizer.step();
    const auto kept = net->right->weight.grad().clone();
    net->use_right = false;
    mean_loss(net, samples(4, 7 + job.rank)).backward();
    EXPECT_TRUE(same_bits(net->right->weight.grad(), kept));
    optimizer.step();

    // Equal gradients are their own mean, but not when they are divided by weights that they were not multiplied by.
    ddp.weigh(mean_loss(net, samples(4, 9 + job.rank)), 3 + job.rank).backward();
    EXPECT_TRUE(same_bits(net->right->weight.grad(), kept));
  });
}

TEST(Reducer, RankWhoseLossReachesNoParameterContributesZeros) {
  run_jobs(2, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 4);
    fill(*plain, 4);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(1.0));
    if (job.rank == 0) mean_loss(net, samples(4, 1)).backward();
    optimizer.step();
    mean_loss(plain, samples(4, 1)).backward();
    torch::NoGradGuard no_grad;
    expect_close(net->first->weight, plain->first->weight - plain->first->weight.grad() / 2, "first.weight");
  });
}

TEST(Reducer, MissingStepPointIsNamedWithItsCure) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    mean_loss(net, samples(4, job.rank)).backward();
    const std::string at_zero_grad = error_of([&] { optimizer.zero_grad(); });
    EXPECT_THAT(at_zero_grad, HasSubstr("no step point"));
    EXPECT_THAT(at_zero_grad, HasSubstr("no_sync"));
    const std::string at_backward = error_of([&] { mean_loss(net, samples(4, job.rank)).backward(); });
    EXPECT_THAT(at_backward, HasSubstr("no step point"));
    // All ranks skip that step together and go on.
    optimizer.step();
    optimizer.zero_grad();
    mean_loss(net, samples(4, job.rank)).backward();
    optimizer.step();
  });
}

TEST(Reducer, NoSyncAccumulatesAndTheSyncedBackwardReducesTheSum) {
  run_jobs(2, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 4);
    fill(*plain, 4);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.0));
    const std::vector<Samples> batches{samples(4, 1), samples(4, 2), samples(4, 3), samples(4, 4)};
    auto expected = mean_gradients(plain, batches);  // of four; here two ranks, two sums each
    for (int round = 0; round < 2; ++round) {
      optimizer.zero_grad();
      {
        const NoSync scope = ddp.no_sync();
        mean_loss(net, batches[job.rank]).backward();
      }
      mean_loss(net, batches[2 + job.rank]).backward();
      for (size_t i = 0; i < expected.size(); ++i) {
        expect_close(net->parameters()[i].grad(), 2 * expected[i], "parameter " + std::to_string(i));
      }
      optimizer.step();
    }
  });
}

TEST(Reducer, WeighedBatchesOfFiveThreeAndZeroGiveTheMeanOverAllSamples) {
  run_jobs(3, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 4);
    fill(*plain, 4);
    DistributedDataParallel ddp(job, *net);
    const Samples all = samples(8, 6);
    const int64_t begin[] = {0, 5, 8};
    const int64_t end[] = {5, 8, 8};
    using torch::indexing::Slice;
    const Slice mine(begin[job.rank], end[job.rank]);
    const Samples part{all.data.index({mine}), all.target.index({mine})};
    ddp.weigh(mean_loss(net, part), static_cast<double>(part.target.size(0))).backward();
    mean_loss(plain, all).backward();
    for (size_t i = 0; i < plain->parameters().size(); ++i) {
      expect_close(net->parameters()[i].grad(), plain->parameters()[i].grad(), "parameter " + std::to_string(i));
    }
  });
}

TEST(Reducer, WeighOnOneRankOnlyIsAMismatch) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net);
    const std::string error = error_of([&] {
      auto loss = mean_loss(net, samples(4, 1));
      (job.rank == 0 ? ddp.weigh(loss, 4) : loss).backward();
    });
    EXPECT_THAT(error, HasSubstr("weigh"));
  });
}

struct TiedImpl : torch::nn::Module {
  TiedImpl() {
    in = register_parameter("in", torch::zeros({5, 12}));
    register_parameter("out", in);
    scale = register_parameter("scale", torch::ones({5}), /*requires_grad=*/false);
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return torch::matmul(torch::matmul(torch::matmul(x, in.t()), in), in.t()) * scale;
  }
  torch::Tensor in, scale;
};
TORCH_MODULE(Tied);

TEST(Reducer, TiedParameterIsReducedAndSteppedOnceAndFrozenOneIsLeftAlone) {
  run_jobs(2, [](const Job& job) {
    Tied net, plain;
    fill(*net, 4 + job.rank);
    fill(*plain, 4);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(1.0));
    EXPECT_EQ(optimizer.parameters().size(), 2U);
    EXPECT_TRUE(same_bits(net->scale, plain->scale)) << "rank 0's frozen values go to all";
    mean_loss(net, samples(4, 1)).backward();
    optimizer.step();
    mean_loss(plain, samples(4, 1)).backward();
    EXPECT_FALSE(net->scale.grad().defined());
    torch::NoGradGuard no_grad;
    expect_close(net->in, plain->in - plain->in.grad(), "in");
    EXPECT_TRUE(same_bits(net->scale, plain->scale));
  });
}

TEST(Reducer, BackwardThatThrowsOnOneRankIsSkippedOnAllAndTheNextWorks) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    fill(*net, 4);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(1.0));
    const auto before = net->first->weight.detach().clone();
    // The last layer's gradients are there, then rank 1 throws in the middle.
    const Samples batch = samples(4, job.rank);
    auto y = torch::relu(net->second(torch::relu(net->first(batch.data))));
    if (job.rank == 1) y = Explodes::apply(y);
    const auto loss = torch::nn::functional::cross_entropy(net->third(y), batch.target);
    if (job.rank == 1) {
      EXPECT_THROW(loss.backward(), std::runtime_error);
    } else {
      loss.backward();
      optimizer.step();
    }
    optimizer.zero_grad();
    EXPECT_TRUE(same_bits(net->first->weight, before)) << "the step was skipped";
    mean_loss(net, batch).backward();
    optimizer.step();
    EXPECT_FALSE(same_bits(net->first->weight, before));
    const auto all = job.all_gather(net->first->weight.detach());
    EXPECT_TRUE(same_bits(all[0], all[1]));
  });
}

TEST(Reducer, BackwardAgainAfterOneThatThrewIsAClearError) {
  run_jobs(1, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net);
    const Samples batch = samples(4, 1);
    auto y = Explodes::apply(torch::relu(net->second(torch::relu(net->first(batch.data)))));
    EXPECT_THROW(torch::nn::functional::cross_entropy(net->third(y), batch.target).backward(), std::runtime_error);
    EXPECT_THAT(error_of([&] { mean_loss(net, batch).backward(); }), HasSubstr("threw"));
  });
}

TEST(Reducer, PeerThatEndsInTheMiddleOfBackwardIsNamed) {
  std::string seen;
  run_jobs(2, [&](const Job& job) {
    try {
      const Job mine = job;
      Mlp net;
      DistributedDataParallel ddp(mine, *net, kSmallBuckets);
      const Samples batch = samples(4, 1);
      auto y = torch::relu(net->second(torch::relu(net->first(batch.data))));
      if (job.rank == 1) y = Explodes::apply(y);
      torch::nn::functional::cross_entropy(net->third(y), batch.target).backward();
    } catch (const Error& error) {
      EXPECT_EQ(job.rank, 0);
      EXPECT_EQ(error.culprit_rank(), 1) << error.what();
      seen = error.what();
    } catch (const std::runtime_error&) {
      EXPECT_EQ(job.rank, 1);
    }
  });
  EXPECT_THAT(seen, HasSubstr("rank 1"));
}

TEST(Reducer, BackwardWithinABackwardIsReducedOnceAtTheEndOfTheOuterOne) {
  run_jobs(2, [](const Job& job) {
    Mlp net, plain;
    fill(*net, 4);
    fill(*plain, 4);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.0));
    const std::vector<Samples> batches{samples(4, 1), samples(4, 2)};
    const auto expected = mean_gradients(plain, batches);
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_grad();
      const Samples& batch = batches[job.rank];
      const auto hidden = torch::relu(net->first(batch.data));
      const auto y = net->third(Checkpoint::through(net->second, hidden));
      torch::nn::functional::cross_entropy(y, batch.target).backward();
      for (size_t i = 0; i < expected.size(); ++i) {
        expect_close(net->parameters()[i].grad(), expected[i], "parameter " + std::to_string(i));
      }
      optimizer.step();
    }
  });
}

TEST(Reducer, ModelThatLiesWhollyInsideANestedBackwardIsReducedAtTheStepPoint) {
  run_jobs(2, [](const Job& job) {
    torch::nn::Linear net(12, 5), plain(12, 5);
    fill(*net, 4);
    fill(*plain, 4);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(1.0));
    auto data = samples(4, 1 + job.rank).data.requires_grad_();
    Checkpoint::through(net, data).sum().backward();
    optimizer.step();
    for (const int rank : {0, 1}) (torch::relu(plain(samples(4, 1 + rank).data)).sum() / 2).backward();
    torch::NoGradGuard no_grad;
    expect_close(net->weight, plain->weight - plain->weight.grad(), "weight");
  });
}

TEST(Reducer, AWrapperThatEndedLeavesNoHookOnItsParameters) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    std::vector<std::shared_ptr<torch::autograd::Node>> nodes;  // kept, so that the wrapper hangs its hooks on them
    for (const auto& p : net->parameters()) nodes.push_back(torch::autograd::impl::grad_accumulator(p));
    for (int wraps = 0; wraps < 3; ++wraps) {
      const DistributedDataParallel ddp(job, *net);
      mean_loss(net, samples(4, job.rank)).backward();
      for (const auto& node : nodes) EXPECT_EQ(node->post_hooks().size(), 1U);
    }
    for (const auto& node : nodes) EXPECT_TRUE(node->post_hooks().empty());
  });
}

TEST(Reducer, CreateGraphIsRefusedWithAdvice) {
  run_jobs(1, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net);
    const auto loss = mean_loss(net, samples(4, 1));
    const std::string error =
        error_of([&] { loss.backward({}, /*retain_graph=*/std::nullopt, /*create_graph=*/true); });
    EXPECT_THAT(error, HasSubstr("create_graph"));
    EXPECT_THAT(error, HasSubstr("autograd::grad"));
  });
}

TEST(Reducer, PlainOptimizerStepsThroughTheWrapper) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    fill(*net, 4);
    DistributedDataParallel ddp(job, *net);
    torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_grad();
      mean_loss(net, samples(4, job.rank)).backward();
      ddp.step(optimizer);
    }
    const auto all = job.all_gather(net->third->weight.detach());
    EXPECT_TRUE(same_bits(all[0], all[1]));
    EXPECT_EQ(ddp.statistics().step, 2);
  });
}

TEST(Reducer, BuffersFollowRankZeroAtTheEndOfEachBackward) {
  run_jobs(2, [](const Job& job) {
    torch::nn::Sequential net(torch::nn::Linear(12, 6), torch::nn::BatchNorm1d(6), torch::nn::Linear(6, 5));
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_grad();
      mean_loss(net, samples(8, 10 * step + job.rank)).backward();
      optimizer.step();
      for (const auto& buffer : net->buffers()) {
        const auto all = job.all_gather(buffer);
        EXPECT_TRUE(same_bits(all[0], all[1]));
      }
    }
  });
}

}  // namespace
}  // namespace rondo::test
