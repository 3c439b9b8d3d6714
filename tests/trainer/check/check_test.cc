// rondo::check: each mistake is found, by name, on every rank alike; a program without one has no findings, and goes on
// as if nothing had looked.
#include <torch/torch.h>

#include "tests/trainer/gradient/nets.h"
#include "trainer/check/trial.h"

namespace rondo::test {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const torch::optim::SGDOptions kRate(0.1);

std::vector<Finding> of_topic(const Findings& found, const std::string& topic) {
  std::vector<Finding> some;
  for (const Finding& finding : found.list) {
    if (finding.topic == topic) some.push_back(finding);
  }
  return some;
}

/// The only finding of `topic`; an empty one, and a failure, when there is none or there are more.
Finding only(const Findings& found, const std::string& topic) {
  const auto some = of_topic(found, topic);
  EXPECT_THAT(some, SizeIs(1)) << topic << "\n" << found.text();
  return some.size() == 1 ? some[0] : Finding{};
}

/// Every rank says the same.
void expect_same_on_all_ranks(const Job& job, const Findings& found) {
  const std::string text = found.json();
  const auto hash = static_cast<int64_t>(std::hash<std::string>()(text));
  EXPECT_EQ(job.all_gather(torch::tensor({hash})).eq(hash).sum().item<int64_t>(), job.world_size) << text;
}

TEST(Check, FindsNothingInAProgramWithoutMistakes) {
  for (const int n : {1, 3}) {
    run_jobs(n, [](const Job& job) {
      Mlp net;
      fill(*net, 5 + job.rank);
      DistributedDataParallel ddp(job, *net, kSmallBuckets);
      Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
      Sampler sampler(job, 90);
      const CheckSubject subject{.optimizers = {&optimizer},
                                 .loss = [&] { return mean_loss(net, samples(4, job.rank)); },
                                 .sampler = &sampler,
                                 .equal = {{"epoch", 3}}};
      for (int step = 0; step < 3; ++step) {
        const Findings found = check(job, ddp, subject);
        EXPECT_THAT(found.list, IsEmpty()) << found.text();
        optimizer.zero_grad();
        mean_loss(net, samples(4, 10 * step + job.rank)).backward();
        optimizer.step();
      }
    });
  }
}

// A net with a buffer that forward changes.
struct CountingImpl : torch::nn::Module {
  CountingImpl() {
    mlp = register_module("mlp", Mlp());
    norm = register_module("norm", torch::nn::BatchNorm1d(12));
    drop = register_module("drop", torch::nn::Dropout(0.5));
  }
  torch::Tensor forward(const torch::Tensor& x) { return mlp->forward(drop(norm(x))); }
  Mlp mlp{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
  torch::nn::Dropout drop{nullptr};
};
TORCH_MODULE(Counting);

TEST(Check, LeavesGradientsBuffersAndRandomNumbersAsTheyWere) {
  run_jobs(1, [](const Job& job) {
    Counting checked, plain;
    for (Counting* net : {&checked, &plain}) {
      fill(**net, 5);
      const ReplicaOptions options{.one_rank = OneRank::kFullPath};
      DistributedDataParallel ddp(job, **net, options);
      Sgd optimizer(ddp, (*net)->parameters(), kRate);
      const auto look = [&] {
        if (net == &plain) return;
        check(job, ddp, {.optimizers = {&optimizer}, .loss = [&] { return mean_loss(*net, samples(6, 99)); }});
      };
      torch::manual_seed(3);
      for (int step = 0; step < 3; ++step) {
        optimizer.zero_grad();
        look();
        {
          const auto local = ddp.no_sync();
          mean_loss(*net, samples(6, 2 * step)).backward();
        }
        look();
        mean_loss(*net, samples(6, 2 * step + 1)).backward();
        look();
        optimizer.step();
      }
    }
    for (size_t i = 0; i < plain->parameters().size(); ++i) {
      EXPECT_TRUE(same_bits(checked->parameters()[i], plain->parameters()[i])) << plain->named_parameters()[i].key();
    }
    for (size_t i = 0; i < plain->buffers().size(); ++i) {
      EXPECT_TRUE(same_bits(checked->buffers()[i], plain->buffers()[i])) << plain->named_buffers()[i].key();
    }
  });
}

TEST(Check, AParameterThatNoRankUsesStaysUntouchedAfterACheckWhoseLossUsesIt) {
  run_jobs(2, [](const Job& job) {
    Heads net;
    fill(*net, 5);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), kRate);
    for (int step = 0; step < 2; ++step) {
      optimizer.zero_grad();
      net->use_right = true;
      check(job, ddp, {.optimizers = {&optimizer}, .loss = [&] { return mean_loss(net, samples(4, 1)); }});
      net->use_right = false;
      mean_loss(net, samples(4, job.rank)).backward();
      EXPECT_FALSE(net->right->weight.grad().defined());
      optimizer.step();
    }
  });
}

TEST(CheckOptimizers, StrayParametersAndThoseThatNoneStepsAreNamed) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net);
    auto all = parameters(*net);
    all.pop_back();  // "third.bias"
    if (job.rank == 1) all.push_back(torch::zeros({7}, torch::requires_grad()));
    Sgd optimizer(ddp, all, kRate);
    const Findings found = check(job, ddp, {.optimizers = {&optimizer}});
    expect_same_on_all_ranks(job, found);
    const Finding stray = only(found, "stray-parameter");
    EXPECT_EQ(stray.severity, Severity::kError);
    EXPECT_THAT(stray.names, ElementsAre("parameter 5 of group 0, float32 [7]"));
    EXPECT_THAT(stray.ranks, ElementsAre(1));
    const Finding left = only(found, "never-stepped");
    EXPECT_THAT(left.names, ElementsAre("\"third.bias\" of third (torch::nn::LinearImpl)"));
    EXPECT_THAT(left.ranks, ElementsAre(0, 1));
  });
}

TEST(CheckOptimizers, OneBuiltForTheModuleBeforeIsStale) {
  run_jobs(2, [](const Job& job) {
    torch::nn::Sequential net(torch::nn::Linear(12, 8), torch::nn::Linear(8, 5));
    torch::optim::SGD early(net->parameters(), kRate);
    net = torch::nn::Sequential(torch::nn::Linear(12, 8), torch::nn::Linear(8, 5));
    const DistributedDataParallel ddp(job, *net);
    const Findings found = check(job, ddp, {.optimizers = {&early}});
    const Finding stale = only(found, "stale-optimizer");
    EXPECT_EQ(stale.severity, Severity::kError);
    EXPECT_THAT(stale.names, SizeIs(4));
    EXPECT_EQ(stale.names[1], "\"0.bias\" of 0 (torch::nn::LinearImpl) (parameter 1 of group 0, float32 [8])");
    EXPECT_THAT(stale.cure, HasSubstr("after wrapping"));
    EXPECT_THAT(of_topic(found, "stray-parameter"), IsEmpty());
    EXPECT_THAT(of_topic(found, "never-stepped"), IsEmpty());
  });
}

TEST(CheckOptimizers, ATiedParameterListedTwiceIsSteppedTwice) {
  run_jobs(1, [](const Job& job) {
    Mlp net;
    net->register_parameter("tied", net->third->weight);
    const DistributedDataParallel ddp(job, *net);
    torch::optim::SGD plain(net->parameters(), kRate);
    torch::optim::SGD more({net->first->bias}, kRate);
    const Findings found = check(job, ddp, {.optimizers = {&plain, &more}});
    EXPECT_THAT(
        only(found, "stepped-twice").names,
        ElementsAre(AllOf(HasSubstr("\"tied\""), HasSubstr("parameter 0 of group 0 of optimizer 0, parameter 5")),
                    AllOf(HasSubstr("\"first.bias\""), HasSubstr("parameter 0 of group 0 of optimizer 1"))));
  });
}

TEST(CheckGraph, ParametersThatTheLossDoesNotReachAreNamedWithTheRanks) {
  run_jobs(2, [](const Job& job) {
    Heads net;
    DistributedDataParallel ddp(job, *net);
    const auto loss = [&] { return mean_loss(net, samples(4, 1)); };
    const Finding everywhere = only(check(job, ddp, {.loss = loss}), "never-reached");
    EXPECT_EQ(everywhere.severity, Severity::kWarning);
    EXPECT_THAT(everywhere.names, ElementsAre("\"right.weight\" of right (torch::nn::LinearImpl)",
                                              "\"right.bias\" of right (torch::nn::LinearImpl)"));
    EXPECT_THAT(everywhere.ranks, ElementsAre(0, 1));
    net->use_right = job.rank == 1;
    const auto somewhere = of_topic(check(job, ddp, {.loss = loss}), "never-reached");
    ASSERT_THAT(somewhere, SizeIs(2));
    for (const int rank : {0, 1}) {
      EXPECT_EQ(somewhere[rank].severity, Severity::kNote);
      EXPECT_THAT(somewhere[rank].ranks, ElementsAre(rank));
      EXPECT_THAT(somewhere[rank].names, Each(HasSubstr(rank == 0 ? "\"right." : "\"left.")));
    }
  });
}

TEST(CheckGraph, InStrictModeTheyAreErrors) {
  run_jobs(2, [](const Job& job) {
    Heads net;
    ReplicaOptions options;
    options.unused = Unused::kRefused;
    DistributedDataParallel ddp(job, *net, options);
    EXPECT_EQ(only(check(job, ddp, {.loss = [&] { return mean_loss(net, samples(4, 1)); }}), "never-reached").severity,
              Severity::kError);
  });
}

TEST(CheckGraph, AWeightThatIsNotRegisteredIsFound) {
  run_jobs(2, [](const Job& job) {
    Mlp net, other;
    const auto weight = torch::ones({5, 5}, torch::requires_grad());
    DistributedDataParallel ddp(job, *net);
    const auto loss = [&] {
      const auto hidden = torch::matmul(net->forward(samples(4, 1).data), weight);
      return (hidden + other->forward(samples(4, 2).data)).sum();
    };
    const Findings found = check(job, ddp, {.loss = loss, .other_modules = {other.get()}});
    const Finding leaf = only(found, "unregistered");
    EXPECT_THAT(leaf.names, ElementsAre("leaf 0, float32 [5, 5]"));
    EXPECT_EQ(leaf.severity, Severity::kWarning);
    EXPECT_FALSE(weight.grad().defined()) << "its gradient was put back";
    EXPECT_THAT(only(check(job, ddp, {.loss = loss}), "unregistered").names, SizeIs(7)) << "the other module's, too";
  });
}

TEST(CheckGraph, ALossThatThrowsOnOneRankIsAnErrorThatAllRanksKnow) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), kRate);
    const auto loss = [&]() -> torch::Tensor {
      if (job.rank == 1) throw std::runtime_error("no data today");
      return mean_loss(net, samples(4, 1));
    };
    const Findings found = check(job, ddp, {.optimizers = {&optimizer}, .loss = loss});
    expect_same_on_all_ranks(job, found);
    const Finding failed = only(found, "loss-failed");
    EXPECT_EQ(failed.severity, Severity::kError);
    EXPECT_THAT(failed.what, HasSubstr("no data today"));
    EXPECT_THAT(failed.ranks, ElementsAre(1));
    EXPECT_THAT(
        only(check(job, ddp, {.loss = [&] { return mean_loss(net, samples(4, 1)).detach(); }}), "loss-failed").what,
        HasSubstr("grad"));
    mean_loss(net, samples(4, job.rank)).backward();  // training goes on
    optimizer.step();
  });
}

TEST(CheckGraph, ALossThatIsNotFiniteIsAnError) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net);
    const double factor = job.rank == 0 ? std::numeric_limits<double>::infinity() : 1;
    const Finding found =
        only(check(job, ddp, {.loss = [&] { return mean_loss(net, samples(4, 1)) * factor; }}), "loss-not-finite");
    EXPECT_EQ(found.severity, Severity::kError);
    EXPECT_THAT(found.ranks, ElementsAre(0));
  });
}

// Layers that compute in the order of `order`.
struct ShuffledImpl : torch::nn::Module {
  explicit ShuffledImpl(std::vector<int> in_order) : order(std::move(in_order)) {
    for (int i = 0; i < 4; ++i)
      layers.push_back(register_module("layer" + std::to_string(i), torch::nn::Linear(12, 12)));
  }
  torch::Tensor forward(torch::Tensor x) {
    for (const int i : order) x = torch::relu(layers[i](x));
    return x;
  }
  std::vector<int> order;
  std::vector<torch::nn::Linear> layers;
};
TORCH_MODULE(Shuffled);

TEST(CheckOrder, RegistrationAgainstComputeOrderIsMeasured) {
  run_jobs(2, [](const Job& job) {
    Shuffled net(std::vector<int>{3, 1, 2, 0});
    const ReplicaOptions one_layer_a_bucket{.bucket_cap_bytes = 640, .first_bucket_bytes = 640};
    DistributedDataParallel ddp(job, *net, one_layer_a_bucket);
    const Finding found =
        only(check(job, ddp, {.loss = [&] { return net->forward(samples(4, 1).data).sum(); }}), "compute-order");
    EXPECT_EQ(found.severity, Severity::kNote);
    // Gradients come as 0 2 1 3, the reverse of registration is 3 2 1 0: 5 of 6 pairs of layers, 4 pairs of parameters
    // each.
    EXPECT_THAT(found.what, HasSubstr("20 of 24 pairs"));
    EXPECT_THAT(found.what, HasSubstr("registration, the first bucket is full after 8 of 8 gradients"));
    EXPECT_THAT(found.what, HasSubstr("as they arrive, after 2."));
    EXPECT_THAT(found.names, ElementsAre(HasSubstr("\"layer0.")));
  });
}

TEST(CheckOrder, ARankWhoseGradientsArriveInAnotherOrderIsNamed) {
  run_jobs(3, [](const Job& job) {
    Shuffled net(job.rank == 2 ? std::vector<int>{1, 0, 2, 3} : std::vector<int>{0, 1, 2, 3});
    DistributedDataParallel ddp(job, *net);
    const Finding found =
        only(check(job, ddp, {.loss = [&] { return net->forward(samples(4, 1).data).sum(); }}), "arrival-order");
    EXPECT_EQ(found.severity, Severity::kNote);
    EXPECT_THAT(found.ranks, ElementsAre(2));
  });
}

TEST(CheckModule, AMemberAssignedToTieWeightsLeavesAnOrphan) {
  run_jobs(2, [](const Job& job) {
    Shuffled net(std::vector<int>{0, 1, 2, 3});
    net->layers[2]->weight = net->layers[0]->weight;
    net->layers[3]->bias = torch::zeros({12}, torch::requires_grad());
    DistributedDataParallel ddp(job, *net);
    const Findings found = check(job, ddp, {.loss = [&] { return net->forward(samples(4, 1).data).sum(); }});
    const auto orphans = of_topic(found, "orphan");
    ASSERT_THAT(orphans, SizeIs(2));
    EXPECT_EQ(orphans[0].severity, Severity::kError);
    EXPECT_THAT(orphans[0].names, ElementsAre("\"layer3.bias\""));
    EXPECT_THAT(orphans[0].what, HasSubstr("another tensor, float32 [12], that is not registered"));
    EXPECT_EQ(orphans[1].severity, Severity::kWarning);
    EXPECT_THAT(orphans[1].names, ElementsAre("\"layer2.weight\""));
    EXPECT_THAT(orphans[1].what, HasSubstr("computes with \"layer0.weight\""));
    EXPECT_THAT(of_topic(found, "never-reached"), IsEmpty()) << "said already";
  });
}

TEST(CheckModule, ATieOfMemoryAloneIsFoundAndItsBreakByAConversionToo) {
  run_jobs(2, [](const Job& job) {
    Shuffled net(std::vector<int>{0, 1, 2, 3});
    net->layers[2]->weight.set_data(net->layers[0]->weight.data());
    DistributedDataParallel ddp(job, *net);
    const Finding shared = only(check(job, ddp), "shared-memory");
    EXPECT_EQ(shared.severity, Severity::kError);
    EXPECT_THAT(shared.names, ElementsAre("\"layer0.weight\" and \"layer2.weight\""));
    EXPECT_THAT(of_topic(check(job, ddp), "broken-tie"), IsEmpty());
    net->to(torch::kFloat64);
    const Findings found = check(job, ddp);
    const Finding broken = only(found, "broken-tie");
    EXPECT_EQ(broken.severity, Severity::kError);
    EXPECT_THAT(broken.names, ElementsAre("\"layer0.weight\" and \"layer2.weight\""));
    EXPECT_THAT(of_topic(found, "shared-memory"), IsEmpty());
  });
}

TEST(CheckModule, WhatWasChangedAfterWrapIsNamedUntilTheNextPlan) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), kRate);
    net->first->weight.set_data(net->first->weight.data().clone());
    net->first->bias.set_data(torch::zeros({32}, torch::kFloat64));
    net->second->weight.set_requires_grad(false);
    net->register_parameter("added", torch::zeros({3}));
    const Finding changed = only(check(job, ddp), "changed-after-wrap");
    EXPECT_EQ(changed.severity, Severity::kWarning);
    EXPECT_THAT(changed.names, testing::UnorderedElementsAre("\"first.weight\" (lies in other memory)",
                                                             "\"first.bias\" (was float32 [32], is float64 [32])",
                                                             "\"second.weight\" (needed a gradient, is frozen now)",
                                                             "\"added\" (was registered, float32 [3])"));
    net->first->bias.set_data(torch::zeros({32}));
    optimizer.zero_grad();
    mean_loss(net, samples(4, job.rank)).backward();
    optimizer.step();
    EXPECT_THAT(of_topic(check(job, ddp), "changed-after-wrap"), IsEmpty());
    if (job.rank == 1) net->third->to(torch::kFloat64);
    const Finding alone = only(check(job, ddp), "changed-after-wrap");
    EXPECT_EQ(alone.severity, Severity::kError);
    EXPECT_THAT(alone.ranks, ElementsAre(1));
    if (job.rank == 1) net->third->to(torch::kFloat32);
  });
}

TEST(CheckRanks, ParametersBuffersAndOptimizerStateThatDifferAreNamed) {
  run_jobs(3, [](const Job& job) {
    Counting net;
    ReplicaOptions options;
    options.ignore = {"mlp.third"};
    options.buffers_of = {{"norm.running_var", BufferSync::kNone}};
    DistributedDataParallel ddp(job, *net, options);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
    const Findings before = check(job, ddp, {.optimizers = {&optimizer}});
    EXPECT_THAT(of_topic(before, "state-differs"), IsEmpty()) << before.text();
    {
      const torch::NoGradGuard no_grad;
      net->mlp->third->weight.fill_(job.rank);  // its own
      net->norm->running_var.fill_(job.rank);   // its own
      if (job.rank == 1) net->mlp->first->bias.fill_(7);
      if (job.rank == 2) net->norm->running_mean.fill_(7);
    }
    if (job.rank == 2) optimizer.param_groups()[0].options().set_lr(0.5);
    const Findings found = check(job, ddp, {.optimizers = {&optimizer}});
    expect_same_on_all_ranks(job, found);
    const auto different = of_topic(found, "state-differs");
    ASSERT_THAT(different, SizeIs(2)) << found.text();
    for (const Finding& finding : different) {
      EXPECT_EQ(finding.severity, Severity::kError);
      if (finding.ranks == std::vector<int>{1}) {
        EXPECT_THAT(finding.names, ElementsAre("parameter \"mlp.first.bias\""));
      } else {
        EXPECT_THAT(finding.ranks, ElementsAre(2));
        EXPECT_THAT(finding.names, testing::UnorderedElementsAre("buffer \"norm.running_mean\"", "lr of group 0"));
      }
    }
  });
}

TEST(CheckRanks, EpochsSeedsAndCountsOfSamplesAreCompared) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    const DistributedDataParallel ddp(job, *net);
    Sampler sampler(job, 91, {.seed = job.rank == 0 ? 1U : 2U, .partition = Partition::kExact});
    sampler.reset();
    if (job.rank == 1) sampler.reset();
    const Findings found = check(job, ddp, {.sampler = &sampler, .equal = {{"batch", 64}, {"width", 10 + job.rank}}});
    std::vector<std::string> said;
    for (const Finding& finding : of_topic(found, "setting-differs")) {
      EXPECT_EQ(finding.severity, Severity::kError);
      said.push_back(finding.names[0] + ": " + finding.what);
    }
    EXPECT_THAT(said, testing::UnorderedElementsAre("epoch of the sampler: rank 0 has 0, rank 1 has 1",
                                                    "seed of the sampler: rank 0 has 1, rank 1 has 2",
                                                    "width: rank 0 has 10, rank 1 has 11"));
    EXPECT_EQ(only(found, "sample-counts").what, "rank 0 has 46, rank 1 has 45");
  });
}

TEST(CheckMemory, ExpandedAndOverlappingTensorsAreNamedWithSizesStridesCauseAndCure) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    net->register_buffer("window", torch::zeros({4}));
    DistributedDataParallel ddp(job, *net);
    const auto row = torch::zeros({12});
    net->first->weight.set_data(row.expand({32, 12}));
    net->named_buffers()["window"].set_data(row.as_strided({3, 4}, {2, 1}));
    net->third->bias.mutable_grad() = torch::ones({1}).expand({5});
    const auto found = of_topic(check(job, ddp), "self-overlap");
    ASSERT_THAT(found, SizeIs(3));
    const auto about = [&](const std::string& name) {
      for (const Finding& finding : found) {
        if (finding.names[0] == name) return finding;
      }
      ADD_FAILURE() << name;
      return Finding{};
    };
    const Finding weight = about("\"first.weight\"");
    EXPECT_EQ(weight.severity, Severity::kError);
    EXPECT_THAT(weight.what, HasSubstr("float32 [32, 12] strides [0, 1]: 384 elements at 12 addresses"));
    EXPECT_THAT(weight.cause, HasSubstr("expand()"));
    EXPECT_THAT(weight.cure, HasSubstr("clone()"));
    const Finding window = about("\"window\"");
    EXPECT_THAT(window.what, HasSubstr("float32 [3, 4] strides [2, 1]: 12 elements at 8 addresses"));
    EXPECT_THAT(window.cause, HasSubstr("as_strided()"));
    EXPECT_THAT(about("the gradient of \"third.bias\"").what,
                HasSubstr("float32 [5] strides [0]: 5 elements at 1 address"));
    net->third->bias.mutable_grad() = torch::Tensor();
  });
}

TEST(CheckMemory, ASliceOfAnotherParameterSharesItsMemoryAndItsNeighbourDoesNot) {
  run_jobs(1, [](const Job& job) {
    Mlp net;
    const auto whole = torch::zeros({6, 8});
    net->register_parameter("left", whole.slice(1, 0, 5));
    net->register_parameter("right", whole.slice(1, 4, 8));
    net->register_parameter("far_right", whole.slice(1, 5, 8).clone());
    net->register_parameter("even", torch::zeros({6, 8}).slice(1, 0, 8, 2));
    const DistributedDataParallel ddp(job, *net);
    const Finding found = only(check(job, ddp), "shared-memory");
    EXPECT_THAT(found.names, ElementsAre("\"left\" and \"right\""));
    EXPECT_THAT(found.what, HasSubstr("float32 [6, 5] strides [8, 1] and float32 [6, 4] strides [8, 1]"));
  });
}

TEST(CheckMemory, AnExpandedParameterIsRefusedWhenItIsWrapped) {
  for (const int n : {1, 2}) {
    run_jobs(n, [](const Job& job) {
      Mlp net;
      net->register_parameter("scale", torch::ones({1, 3}).expand({4, 3}));
      EXPECT_THAT(error_of([&] { const DistributedDataParallel ddp(job, *net); }),
                  HasSubstr("\"scale\", float32 [4, 3] strides [0, 1], has 12 elements at 3 addresses"));
    });
  }
}

TEST(Check, IsRefusedInsideAnExclusiveScope) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    DistributedDataParallel ddp(job, *net);
    const auto only_this = ddp.exclusive();
    EXPECT_THAT(error_of([&] { check(job, ddp, {.loss = [&] { return mean_loss(net, samples(4, 1)); }}); }),
                HasSubstr("exclusive() scope"));
  });
}

TEST(Check, SeesThatALossDrawsFromTheDefaultGeneratorAndPutsItBack) {
  run_jobs(1, [](const Job& job) {
    Mlp net;
    const DistributedDataParallel ddp(job, *net);
    const std::function<torch::Tensor()> draws = [&] { return mean_loss(net, samples(4, 1)) * torch::rand({}); };
    const std::function<torch::Tensor()> does_not = [&] { return mean_loss(net, samples(4, 1)); };
    const auto try_it = [&](const std::function<torch::Tensor()>& loss) {
      return trainer::try_out(*job.state(), {.module = *net, .parameters = parameters(*net), .loss = loss}).drew;
    };
    torch::manual_seed(8);
    const auto expected = torch::rand({3});
    torch::manual_seed(8);
    EXPECT_TRUE(try_it(draws));
    EXPECT_FALSE(try_it(does_not));
    EXPECT_TRUE(same_bits(torch::rand({3}), expected));
  });
}

}  // namespace
}  // namespace rondo::test
