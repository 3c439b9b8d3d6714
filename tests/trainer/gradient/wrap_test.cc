// Wrapping: replicas are compared before anything is mixed, then made equal.
#include <torch/torch.h>

#include "tests/trainer/support/trainer_ranks.h"

namespace rondo::test {
namespace {

using ::testing::HasSubstr;

// A net that can be spoilt in each way that matters.
struct Spoilt {
  int64_t width = 8;
  std::string name = "last";
  torch::ScalarType dtype = torch::kFloat32;
  bool frozen = false;
  bool extra = false;
  bool transposed = false;
  torch::ScalarType buffer_dtype = torch::kInt64;
};
struct NetImpl : torch::nn::Module {
  explicit NetImpl(const Spoilt& how) {
    register_module("first", torch::nn::Linear(12, 8));
    torch::Tensor weight = torch::ones({how.width, 4}, how.dtype);
    if (how.transposed) weight = torch::ones({4, how.width}, how.dtype).t();
    register_parameter(how.name, weight, !how.frozen);
    if (how.extra) register_parameter("extra", torch::ones({3}));
    register_buffer("count", torch::zeros({2}, how.buffer_dtype));
  }
};
TORCH_MODULE(Net);

std::vector<std::string> errors_when_rank_1_is(const Spoilt& how, int n = 3) {
  std::vector<std::string> errors(n);
  run_jobs(n, [&](const Job& job) {
    Net net(job.rank == 1 ? how : Spoilt{});
    errors[job.rank] = error_of([&] { const DistributedDataParallel ddp(job, *net); });
  });
  return errors;
}

void expect_on_every_rank(const Spoilt& how, const std::string& difference) {
  for (const std::string& error : errors_when_rank_1_is(how)) EXPECT_THAT(error, HasSubstr(difference));
}

TEST(Wrap, DifferentShapeIsNamedWithBothSidesOnEveryRank) {
  expect_on_every_rank({.width = 6}, "parameter \"last\": rank 0 has float32 [8, 4], rank 1 has float32 [6, 4]");
}

TEST(Wrap, DifferentNameIsNamed) {
  expect_on_every_rank({.name = "lost"}, "parameter \"last\": rank 0 has float32 [8, 4], rank 1 has none");
}

TEST(Wrap, DifferentDtypeIsNamed) {
  expect_on_every_rank({.dtype = torch::kFloat64}, "rank 0 has float32 [8, 4], rank 1 has float64 [8, 4]");
}

TEST(Wrap, ParameterFrozenOnOneRankIsNamed) {
  expect_on_every_rank({.frozen = true}, "rank 0 has float32 [8, 4], rank 1 has float32 [8, 4], frozen");
}

TEST(Wrap, AdditionalParameterIsNamed) {
  expect_on_every_rank({.extra = true}, "parameter \"extra\": rank 1 has float32 [3], rank 0 has none");
}

TEST(Wrap, DifferentStridesAreNamed) {
  expect_on_every_rank({.transposed = true}, "rank 1 has float32 [8, 4] strides [1, 8]");
}

TEST(Wrap, DifferentBufferIsNamed) {
  expect_on_every_rank({.buffer_dtype = torch::kBool}, "buffer \"count\": rank 0 has int64 [2], rank 1 has bool [2]");
}

TEST(Wrap, DifferentBucketOptionIsNamed) {
  run_jobs(2, [](const Job& job) {
    Net net{Spoilt{}};
    const ReplicaOptions options{.bucket_cap_bytes = job.rank == 0 ? 4096 : 8192};
    EXPECT_THAT(error_of([&] { const DistributedDataParallel ddp(job, *net, options); }),
                HasSubstr("option \"bucket_cap_bytes\": rank 0 has 4096, rank 1 has 8192"));
  });
}

TEST(Wrap, ModuleWithoutTrainableParametersIsRefused) {
  run_jobs(2, [](const Job& job) {
    torch::nn::Linear net(3, 3);
    for (auto& parameter : net->parameters()) parameter.requires_grad_(false);
    EXPECT_THAT(error_of([&] { const DistributedDataParallel ddp(job, *net); }), HasSubstr("no parameter"));
  });
}

struct MixedImpl : torch::nn::Module {
  explicit MixedImpl(int rank) {
    const auto value = [&](int i) { return 10 * rank + i; };
    register_parameter("big", torch::full({1200, 1100}, value(1), torch::kFloat32));  // more than one packed transfer
    register_parameter("transposed", numbers({5, 7}, value(2)).t());
    register_parameter("half", torch::full({3}, value(3), torch::kHalf), /*requires_grad=*/false);
    register_parameter("holes",
                       numbers({6, 6}, value(4)).index({torch::indexing::Slice(), torch::indexing::Slice(0, 6, 2)}));
    register_buffer("flags", rank == 0 ? torch::tensor({true, false, true}) : torch::tensor({false, false, false}));
    register_buffer("count", torch::tensor(int64_t{7} + rank));
    register_buffer("empty", torch::zeros({0}));
  }
};
TORCH_MODULE(Mixed);

TEST(Wrap, EveryRankHoldsRankZerosParametersAndBuffersOfAnyDtypeAfterwards) {
  run_jobs(3, [](const Job& job) {
    Mixed net(job.rank), reference(0);
    std::vector<uint64_t> versions;
    for (const auto& p : net->parameters()) versions.push_back(p._version());
    const DistributedDataParallel ddp(job, *net);
    for (const auto& item : reference->named_parameters()) {
      EXPECT_TRUE(same_bits(net->named_parameters()[item.key()], item.value())) << item.key() << ", rank " << job.rank;
    }
    for (const auto& item : reference->named_buffers()) {
      EXPECT_TRUE(same_bits(net->named_buffers()[item.key()], item.value())) << item.key() << ", rank " << job.rank;
    }
    for (size_t i = 0; i < versions.size(); ++i) {
      EXPECT_EQ(net->parameters()[i]._version(), versions[i]) << net->named_parameters()[i].key();
    }
  });
}

TEST(Wrap, SaysHowMuchWillTravelBeforeTheFirstStep) {
  for (const int n : {1, 2}) {
    run_jobs(n, [](const Job& job) {
      torch::nn::Linear net(torch::nn::LinearOptions(500, 500).bias(false));
      const DistributedDataParallel ddp(job, *net);
      EXPECT_THAT(ddp.description(), HasSubstr(job.world_size == 1 ? "nothing to reduce" : "; 1.0 MB of gradients"));
    });
  }
}

TEST(Wrap, TwoNetsTrainSideBySide) {
  run_jobs(2, [](const Job& job) {
    Mlp a, b;
    DistributedDataParallel ddp_a(job, *a), ddp_b(job, *b);
    Optimizer<torch::optim::SGD> optimizer_a(ddp_a, a->parameters(), torch::optim::SGDOptions(0.1));
    Optimizer<torch::optim::SGD> optimizer_b(ddp_b, b->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 2; ++step) {
      optimizer_a.zero_grad();
      optimizer_b.zero_grad();
      mean_loss(a, samples(4, job.rank)).backward();
      mean_loss(b, samples(4, 5 + job.rank)).backward();
      optimizer_a.step();
      optimizer_b.step();
    }
    for (const auto& p : {a->first->weight, b->first->weight}) {
      const auto all = job.all_gather(p.detach());
      EXPECT_TRUE(same_bits(all[0], all[1]));
    }
  });
}

TEST(JobCollectives, GiveClosedFormResultsForEachDtype) {
  for (const int n : {1, 2, 3}) {
    run_jobs(n, [n](const Job& job) {
      for (const auto dtype : {torch::kFloat32, torch::kFloat64, torch::kInt64}) {
        const auto mine = (torch::arange(7) + 10 * (job.rank + 1)).to(dtype);
        auto sum = mine.clone();
        job.all_reduce(sum);
        EXPECT_TRUE(torch::equal(sum, (n * torch::arange(7) + 10 * n * (n + 1) / 2).to(dtype)));
        auto largest = mine.clone();
        job.all_reduce(largest, Reduction::kMax);
        EXPECT_TRUE(torch::equal(largest, (torch::arange(7) + 10 * n).to(dtype)));
        auto copy = mine.clone();
        job.broadcast(copy, n - 1);
        EXPECT_TRUE(torch::equal(copy, (torch::arange(7) + 10 * n).to(dtype)));
      }
      auto mean = torch::full({2, 3}, static_cast<double>(job.rank)).t();  // not row-major
      job.all_reduce(mean, Reduction::kMean);
      EXPECT_TRUE(torch::allclose(mean, torch::full({3, 2}, (n - 1) / 2.0)));
      const auto flags = job.all_gather(torch::tensor({job.rank == 0, true}));
      EXPECT_EQ(flags.sizes(), (std::vector<int64_t>{n, 2}));
      EXPECT_EQ(flags.sum().item<int64_t>(), n + 1);
      EXPECT_EQ(job.sum(job.rank + 1), n * (n + 1) / 2);
      EXPECT_EQ(job.sum(0.5), 0.5 * n);
      job.barrier();
    });
  }
}

TEST(JobCollectives, RefuseATensorThatRequiresGradAndAMeanOfIntegers) {
  run_jobs(1, [](const Job& job) {
    EXPECT_THAT(error_of([&] { job.all_reduce(torch::ones({2}, torch::requires_grad())); }), HasSubstr("detach"));
    EXPECT_THAT(error_of([&] { job.all_reduce(torch::ones({2}, torch::kInt64), Reduction::kMean); }),
                HasSubstr("int64"));
    EXPECT_THAT(error_of([&] { job.all_reduce(torch::ones({2}, torch::kBool)); }), HasSubstr("bool"));
  });
}

}  // namespace
}  // namespace rondo::test
