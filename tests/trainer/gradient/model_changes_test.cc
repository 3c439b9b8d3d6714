// Models that are changed after they were wrapped, and parameters that a backward does not reach.
#include <torch/torch.h>

#include <filesystem>

#include "tests/trainer/gradient/nets.h"
#include "trainer/gradient/replica.h"

namespace rondo::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

template <typename Net>
void expect_equal_on_all_ranks(const Job& job, Net& net) {
  for (const auto& parameter : net->parameters()) {
    const auto all = job.all_gather(parameter.detach());
    for (int rank = 1; rank < job.world_size; ++rank) EXPECT_TRUE(same_bits(all[0], all[rank]));
  }
}

// A step of plain SGD over the batches of both ranks: what two ranks must end with.
template <typename Net>
void plain_step(Net& net, const std::vector<Samples>& batches, double rate) {
  net->zero_grad();
  for (const Samples& batch : batches) (mean_loss(net, batch) / static_cast<double>(batches.size())).backward();
  const torch::NoGradGuard no_grad;
  for (auto& p : net->parameters()) {
    if (p.grad().defined()) p.sub_(p.grad(), rate);
  }
}

template <typename Net>
void expect_close_nets(Net& net, Net& plain) {
  for (size_t i = 0; i < net->parameters().size(); ++i) {
    expect_close(net->parameters()[i].detach(), plain->parameters()[i].detach(), net->named_parameters()[i].key());
  }
}

// Trains two steps, changes the net by `change` on both sides, and trains two more.
template <typename Net>
void expect_training_goes_on_after(const std::function<void(Net&)>& change, torch::ScalarType dtype) {
  run_jobs(2, [&](const Job& job) {
    Net net, plain;
    fill(*net, 5);
    fill(*plain, 5);
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 4; ++step) {
      if (step == 2) {
        change(net);
        change(plain);
      }
      const torch::ScalarType type = step < 2 ? torch::kFloat32 : dtype;
      const std::vector<Samples> batches{samples(4, 10 * step + 1, type), samples(4, 10 * step + 2, type)};
      optimizer.zero_grad();
      mean_loss(net, batches[job.rank]).backward();
      optimizer.step();
      plain_step(plain, batches, 0.1);
    }
    expect_equal_on_all_ranks(job, net);
    expect_close_nets(net, plain);
  });
}

TEST(ModelChanges, ConversionToAnotherDtypeIsTakenUp) {
  expect_training_goes_on_after<Mlp>([](Mlp& net) { net->to(torch::kFloat64); }, torch::kFloat64);
}

TEST(ModelChanges, ConversionThereAndBackIsTakenUp) {
  expect_training_goes_on_after<Mlp>(
      [](Mlp& net) {
        net->to(torch::kFloat64);
        net->to(torch::kFloat32);
      },
      torch::kFloat32);
}

// As far as addresses go nothing has changed: only autograd's node is another one.
TEST(ModelChanges, ConversionThereAndBackIntoTheSameMemoryIsTakenUp) {
  expect_training_goes_on_after<Mlp>(
      [](Mlp& net) {
        for (auto& parameter : net->parameters()) {
          const torch::Tensor memory = parameter.detach();
          parameter.set_data(memory.to(torch::kFloat64));
          parameter.set_data(memory);
          ASSERT_EQ(parameter.const_data_ptr(), memory.const_data_ptr());
        }
      },
      torch::kFloat32);
}

TEST(ModelChanges, LoadedWeightsAreTakenUp) {
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "model_changes.pt";
  Mlp saved;
  fill(*saved, 77);
  torch::save(saved, file.string());
  expect_training_goes_on_after<Mlp>([&](Mlp& net) { torch::load(net, file.string()); }, torch::kFloat32);
  std::filesystem::remove(file);
}

TEST(ModelChanges, FrozenParametersStayAndThawedOnesAreAveraged) {
  expect_training_goes_on_after<Mlp>([](Mlp& net) { net->second->weight.set_requires_grad(false); }, torch::kFloat32);
  run_jobs(2, [](const Job& job) {
    Mlp net, plain;
    for (Mlp* each : {&net, &plain}) {
      fill(**each, 5);
      (*each)->second->weight.set_requires_grad(false);
    }
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 4; ++step) {
      if (step == 2) {
        net->second->weight.set_requires_grad(true);
        plain->second->weight.set_requires_grad(true);
      }
      const std::vector<Samples> batches{samples(4, 10 * step + 1), samples(4, 10 * step + 2)};
      optimizer.zero_grad();
      mean_loss(net, batches[job.rank]).backward();
      optimizer.step();
      plain_step(plain, batches, 0.1);
      if (step == 1) {
        EXPECT_FALSE(net->second->weight.grad().defined());
      }
    }
    expect_equal_on_all_ranks(job, net);
    expect_close_nets(net, plain);
  });
}

TEST(ModelChanges, AnAddedLayerGetsRankZerosValuesAndIsAveraged) {
  run_jobs(2, [](const Job& job) {
    torch::nn::Sequential net(torch::nn::Linear(12, 5));
    fill(*net, 5);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    mean_loss(net, samples(4, job.rank)).backward();
    optimizer.step();

    torch::nn::Linear added(5, 5);
    fill(*added, 50 + job.rank);
    net->push_back(added);
    optimizer.add_param_group(torch::optim::OptimizerParamGroup(added->parameters()));
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_grad();
      mean_loss(net, samples(4, 10 + step + job.rank)).backward();
      const auto gradients = job.all_gather(added->weight.grad());
      EXPECT_TRUE(same_bits(gradients[0], gradients[1]));
      optimizer.step();
    }
    expect_equal_on_all_ranks(job, net);
  });
}

TEST(ModelChanges, AChangeOnOneRankAloneIsAMismatchThatSaysWhat) {
  std::string said[2];
  run_jobs(2, [&](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_grad();
      if (step == 1 && job.rank == 1) net->third->to(torch::kFloat64);
      said[job.rank] = error_of([&] {
        auto y = torch::relu(net->second(torch::relu(net->first(samples(4, 1).data))));
        net->third(y.to(net->third->weight.scalar_type())).sum().backward();
        optimizer.step();
      });
    }
  });
  for (const std::string& text : said) EXPECT_THAT(text, AllOf(HasSubstr("kMismatch"), HasSubstr("model")));
}

TEST(Unused, GraphsMayChangeInEveryStep) {
  run_jobs(2, [](const Job& job) {
    Heads net, plain;
    fill(*net, 5);
    fill(*plain, 5);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 6; ++step) {
      const std::vector<Samples> batches{samples(4, 10 * step + 1), samples(4, 10 * step + 2)};
      optimizer.zero_grad();
      net->use_right = (step + job.rank) % 3 == 0;
      mean_loss(net, batches[job.rank]).backward();
      optimizer.step();
      plain->zero_grad();
      for (const int rank : {0, 1}) {
        plain->use_right = (step + rank) % 3 == 0;
        (mean_loss(plain, batches[rank]) / 2).backward();
      }
      const torch::NoGradGuard no_grad;
      for (auto& p : plain->parameters()) {
        if (p.grad().defined()) p.sub_(p.grad(), 0.1);
      }
    }
    expect_equal_on_all_ranks(job, net);
    expect_close_nets(net, plain);
  });
}

TEST(Unused, StrictModeNamesParameterAndModuleInTheSameBackwardAndAllRanksSkip) {
  run_jobs(2, [](const Job& job) {
    Heads net;
    fill(*net, 5);
    ReplicaOptions options;
    options.unused = Unused::kRefused;
    DistributedDataParallel ddp(job, *net, options);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    const auto both = [&](uint64_t seed) {
      const auto y = torch::relu(net->trunk(samples(4, seed).data));
      return (net->left(y) + net->right(y)).sum();
    };
    both(1).backward();
    optimizer.step();

    const auto before = net->trunk->weight.detach().clone();
    optimizer.zero_grad();
    const std::string error =
        error_of([&] { job.rank == 0 ? both(2).backward() : mean_loss(net, samples(4, 2)).backward(); });
    if (job.rank == 0) {
      EXPECT_EQ(error, "");
    } else {
      EXPECT_THAT(error, AllOf(HasSubstr("\"right.weight\" of right (torch::nn::LinearImpl)"),
                               HasSubstr("\"right.bias\""), Not(HasSubstr("left."))));
    }
    optimizer.step();
    EXPECT_TRUE(same_bits(before, net->trunk->weight));

    optimizer.zero_grad();
    both(3).backward();
    optimizer.step();
    EXPECT_FALSE(same_bits(before, net->trunk->weight));
    expect_equal_on_all_ranks(job, net);
  });
}

TEST(Unused, StrictModeSpeaksAtTheStepPointOfARankWithoutABackward) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    ReplicaOptions options;
    options.unused = Unused::kRefused;
    DistributedDataParallel ddp(job, *net, options);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    if (job.rank == 0) mean_loss(net, samples(4, 1)).backward();
    const std::string error = error_of([&] { optimizer.step(); });
    EXPECT_EQ(error.empty(), job.rank == 0);
    if (job.rank == 1) {
      EXPECT_THAT(error, HasSubstr("\"first.weight\""));
    }
  });
}

}  // namespace
}  // namespace rondo::test
