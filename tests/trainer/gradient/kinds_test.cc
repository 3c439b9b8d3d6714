// Parameters, gradients and buffers of every kind.
#include <torch/torch.h>

#include "tests/trainer/gradient/nets.h"
#include "trainer/gradient/replica.h"

namespace rondo::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct BagImpl : torch::nn::Module {
  explicit BagImpl(bool sparse) {
    words = register_module("words", torch::nn::Embedding(torch::nn::EmbeddingOptions(50, 6).sparse(sparse)));
    head = register_module("head", torch::nn::Linear(6, 5));
  }
  torch::Tensor forward(const torch::Tensor& ids) { return head(words(ids).mean(1)); }
  torch::nn::Embedding words{nullptr};
  torch::nn::Linear head{nullptr};
};
TORCH_MODULE(Bag);

// (4, 3) words of this rank and step; the ranks share some of them.
torch::Tensor ids_of(int rank, int step) {
  return (torch::arange(12, torch::kLong).view({4, 3}) * (rank + 2) + 7 * step + rank) % 50;
}

std::vector<std::vector<torch::Tensor>> trained_bags(bool sparse, const std::vector<double>& counts) {
  std::vector<std::vector<torch::Tensor>> result(2);
  run_jobs(2, [&](const Job& job) {
    Bag net(sparse);
    fill(*net, 5);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.5));
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      ddp.weigh(net->forward(ids_of(job.rank, step)).square().mean(), counts[job.rank]).backward();
      EXPECT_EQ(net->words->weight.grad().is_sparse(), sparse);
      optimizer.step();
    }
    result[job.rank] = net->parameters();
  });
  return result;
}

TEST(Kinds, SparseGradientsEqualDenseOnesAndAreEqualOnAllRanks) {
  for (const std::vector<double>& counts : {std::vector<double>{1, 1}, {3, 5}, {4, 0}}) {
    const auto sparse = trained_bags(true, counts), dense = trained_bags(false, counts);
    for (size_t i = 0; i < sparse[0].size(); ++i) {
      EXPECT_TRUE(same_bits(sparse[0][i].detach(), sparse[1][i].detach()));
      expect_close(sparse[0][i].detach(), dense[0][i].detach(), "parameter " + std::to_string(i));
    }
  }
}

TEST(Kinds, SparseGradientHoldsOnlyTheRowsThatSomeRankUsed) {
  run_jobs(2, [](const Job& job) {
    Bag net(true);
    DistributedDataParallel ddp(job, *net);
    net->forward(ids_of(job.rank, 0)).sum().backward();
    std::set<int64_t> rows;
    for (const int rank : {0, 1}) {
      const auto ids = ids_of(rank, 0).flatten();
      rows.insert(ids.data_ptr<int64_t>(), ids.data_ptr<int64_t>() + ids.numel());
    }
    EXPECT_EQ(net->words->weight.grad().coalesce().indices().numel(), std::ssize(rows));
    // The embedding has no place in the buckets.
    EXPECT_LT(ddp.statistics().bucket_bytes, 50 * 6 * 4);
  });
}

TEST(Kinds, SparseGradientOfALayerThatDoesNotSaySoIsRefusedWithTheCure) {
  run_jobs(1, [](const Job& job) {
    Bag net(false);
    DistributedDataParallel ddp(job, *net);
    const auto options = torch::nn::functional::EmbeddingFuncOptions().sparse(true);
    const std::string error =
        error_of([&] { torch::nn::functional::embedding(ids_of(0, 0), net->words->weight, options).sum().backward(); });
    EXPECT_THAT(error, AllOf(HasSubstr("\"words.weight\""), HasSubstr("sparse(true)")));
  });
}

TEST(Kinds, ComplexParametersAndSeveralDtypesAreAveraged) {
  struct MixedImpl : torch::nn::Module {
    MixedImpl() {
      phase = register_parameter("phase", torch::zeros({7}, torch::kComplexFloat));
      wide = register_parameter("wide", torch::zeros({5}, torch::kFloat64));
      half = register_parameter("half", torch::zeros({3}, torch::kBFloat16));
      plain = register_parameter("plain", torch::zeros({9}));
    }
    torch::Tensor phase, wide, half, plain;
  };
  run_jobs(3, [](const Job& job) {
    MixedImpl net;
    DistributedDataParallel ddp(job, net);
    for (int step = 0; step < 2; ++step) {
      net.zero_grad();
      const double r = job.rank + 1;
      // d/dz of real(conj(c) z) is c: LibTorch's gradient of a complex parameter.
      const auto c = torch::complex(torch::arange(7).to(torch::kFloat32) * r, torch::full({7}, -static_cast<float>(r)));
      const auto loss = torch::real(torch::conj(c) * net.phase).sum().to(torch::kFloat64) + (net.wide * r).sum() +
                        (net.half * r).sum().to(torch::kFloat64) + (net.plain * r).sum().to(torch::kFloat64);
      loss.backward();
      EXPECT_TRUE(torch::equal(torch::view_as_real(net.phase.grad()),
                               torch::stack({2 * torch::arange(7).to(torch::kFloat32), torch::full({7}, -2.0F)}, 1)));
      for (const auto& p : {net.wide, net.half, net.plain}) {
        EXPECT_TRUE(torch::equal(p.grad(), torch::full_like(p, 2).detach())) << p.grad();
      }
      ASSERT_EQ(ddp.replica()->reducer().reach_step_point().status().text(), comm::Status().text());
    }
  });
}

TEST(Kinds, GradientsLieInTheBucketsAfterEitherFormOfZeroGrad) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    net->first->weight.set_data(net->first->weight.t().contiguous().t());  // column-major
    DistributedDataParallel ddp(job, *net, kSmallBuckets);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    std::vector<void*> places;
    for (int step = 0; step < 4; ++step) {
      if (step > 0) optimizer.zero_grad(/*set_to_none=*/step % 2 == 0);
      mean_loss(net, samples(4, job.rank)).backward();
      std::vector<void*> now;
      for (const auto& p : net->parameters()) {
        now.push_back(p.grad().data_ptr());
        EXPECT_EQ(p.grad().strides(), p.strides());
      }
      if (step > 0) {
        EXPECT_EQ(places, now) << "step " << step;
      }
      places = now;
      optimizer.step();
    }
  });
}

/// The identity, whose backward says nothing of its input.
struct Silent : torch::autograd::Function<Silent> {
  static torch::Tensor forward(torch::autograd::AutogradContext*, const torch::Tensor& x) { return x.clone(); }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list&) {
    return {torch::Tensor()};
  }
};

TEST(Kinds, AnUndefinedGradientCountsAsZerosAndOnAllRanksAsNone) {
  struct TwoImpl : torch::nn::Module {
    TwoImpl() {
      told = register_parameter("told", torch::ones({5}));
      silent = register_parameter("silent", torch::ones({3}));
    }
    torch::Tensor told, silent;
  };
  run_jobs(2, [](const Job& job) {
    TwoImpl net;
    DistributedDataParallel ddp(job, net);
    Sgd optimizer(ddp, net.parameters(), torch::optim::SGDOptions(0.0));
    for (const int silent_ranks : {1, 2, 1, 2}) {  // the first backward has no buckets yet
      optimizer.zero_grad();
      const bool is_silent = job.rank < silent_ranks;
      ((is_silent ? Silent::apply(net.silent) : net.silent) * 3).sum().add(net.told.sum()).backward();
      EXPECT_TRUE(torch::equal(net.told.grad(), torch::ones({5})));
      if (silent_ranks == 2) {
        EXPECT_FALSE(net.silent.grad().defined()) << net.silent.grad();
      } else {
        EXPECT_TRUE(torch::equal(net.silent.grad(), torch::full({3}, 1.5F))) << net.silent.grad();
      }
      optimizer.step();
    }
  });
}

TEST(Kinds, IgnoredOnesStayEachRanksOwn) {
  run_jobs(2, [](const Job& job) {
    Heads net;
    fill(*net, 5 + 100 * job.rank);
    const auto own = net->right->weight.detach().clone();
    ReplicaOptions options;
    options.ignore = {"right", "trunk.bias"};
    DistributedDataParallel ddp(job, *net, options);
    EXPECT_TRUE(same_bits(own, net->right->weight.detach()));
    net->use_right = true;
    mean_loss(net, samples(4, 1 + job.rank)).backward();
    const auto of_right = job.all_gather(net->right->weight.grad());
    const auto of_trunk = job.all_gather(net->trunk->weight.grad());
    const auto of_bias = job.all_gather(net->trunk->bias.grad());
    EXPECT_FALSE(same_bits(of_right[0], of_right[1]));
    EXPECT_FALSE(same_bits(of_bias[0], of_bias[1]));
    EXPECT_TRUE(same_bits(of_trunk[0], of_trunk[1]));
  });
}

TEST(Kinds, AnIgnoredOneMayChangeOnOneRankAlone) {
  run_jobs(2, [](const Job& job) {
    Heads net;
    fill(*net, 5);
    DistributedDataParallel ddp(job, *net, {.ignore = {"right"}});
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 3; ++step) {
      if (step == 1 && job.rank == 1) net->right->weight.set_data(torch::zeros({5, 8}, torch::kFloat64));
      optimizer.zero_grad();
      mean_loss(net, samples(4, static_cast<uint64_t>(10 * step + job.rank))).backward();
      optimizer.step();
    }
    const auto all = job.all_gather(net->trunk->weight.detach());
    EXPECT_TRUE(same_bits(all[0], all[1]));
  });
}

TEST(Kinds, UnknownNameInAListIsRefusedWithTheNamesThereAre) {
  run_jobs(1, [](const Job& job) {
    Heads net;
    ReplicaOptions options;
    options.ignore = {"rihgt"};
    EXPECT_THAT(error_of([&] { DistributedDataParallel(job, *net, options); }),
                AllOf(HasSubstr("\"rihgt\""), HasSubstr("right.weight")));
    options.ignore = {};
    options.buffers_of = {{"norm.running_mean", BufferSync::kMean}};
    EXPECT_THAT(error_of([&] { DistributedDataParallel(job, *net, options); }), HasSubstr("\"norm.running_mean\""));
    options.buffers_of = {};
    options.buffers = BufferSync::kCustom;
    EXPECT_THAT(error_of([&] { DistributedDataParallel(job, *net, options); }), HasSubstr("reduce_buffer"));
  });
}

struct CountersImpl : torch::nn::Module {
  CountersImpl() {
    weight = register_parameter("weight", torch::zeros({3}));
    for (const char* name : {"rank_zeros", "mean", "sum", "own"}) {
      buffers[name] = register_buffer(name, torch::zeros({2}));
    }
    count = register_buffer("count", torch::zeros({1}, torch::kLong));
  }
  torch::Tensor weight, count;
  std::map<std::string, torch::Tensor> buffers;
};

TEST(Buffers, EachFollowsItsPolicyAtTheEndOfTheSyncedBackward) {
  run_jobs(3, [](const Job& job) {
    CountersImpl net;
    ReplicaOptions options;
    options.buffers = BufferSync::kBroadcast;
    options.buffers_of = {{"mean", BufferSync::kMean},
                          {"count", BufferSync::kMean},
                          {"sum", BufferSync::kCustom},
                          {"own", BufferSync::kNone}};
    std::vector<std::string> reduced;
    options.reduce_buffer = [&](const std::string& name, const torch::Tensor& buffer) {
      reduced.push_back(name);
      job.all_reduce(buffer);
    };
    DistributedDataParallel ddp(job, net, options);
    {
      torch::NoGradGuard no_grad;
      for (auto& [name, buffer] : net.buffers) buffer.fill_(job.rank + 1);
      net.count.fill_(job.rank + 10);
    }
    net.weight.sum().backward();
    EXPECT_TRUE(torch::equal(net.buffers["rank_zeros"], torch::full({2}, 1.0F)));
    EXPECT_TRUE(torch::equal(net.buffers["mean"], torch::full({2}, 2.0F)));
    EXPECT_TRUE(torch::equal(net.buffers["sum"], torch::full({2}, 6.0F)));
    EXPECT_TRUE(torch::equal(net.buffers["own"], torch::full({2}, job.rank + 1.0F)));
    EXPECT_EQ(net.count.item<int64_t>(), 10);
    EXPECT_EQ(reduced, std::vector<std::string>{"sum"});
  });
}

TEST(Buffers, TwoForwardsBeforeOneBackwardWorkInTrainAndInEvalMode) {
  for (const bool train : {true, false}) {
    run_jobs(2, [&](const Job& job) {
      const auto make = [&] {
        torch::nn::Sequential net(torch::nn::Linear(12, 6), torch::nn::BatchNorm1d(6), torch::nn::Linear(6, 5));
        fill(*net, 5);
        net->train(train);
        return net;
      };
      torch::nn::Sequential net = make();
      std::vector<torch::nn::Sequential> plain{make(), make()};  // of each rank, without Rondo
      const auto backward = [](torch::nn::Sequential& of, int rank) {
        const auto first = mean_loss(of, samples(8, 1 + rank)), second = mean_loss(of, samples(8, 3 + rank));
        (first + second).backward();
      };
      DistributedDataParallel ddp(job, *net);
      Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
      for (int step = 0; step < 2; ++step) {
        optimizer.zero_grad();
        backward(net, job.rank);
        optimizer.step();
        for (const int rank : {0, 1}) {
          plain[rank]->zero_grad();
          backward(plain[rank], rank);
        }
        const torch::NoGradGuard no_grad;
        for (size_t i = 0; i < net->parameters().size(); ++i) {
          const auto mean = (plain[0]->parameters()[i].grad() + plain[1]->parameters()[i].grad()) / 2;
          for (const int rank : {0, 1}) plain[rank]->parameters()[i].sub_(mean, 0.1);
        }
        for (size_t i = 0; i < net->buffers().size(); ++i) plain[1]->buffers()[i].copy_(plain[0]->buffers()[i]);
      }
      for (const auto& item : plain[0]->named_parameters()) {
        expect_close(net->named_parameters()[item.key()].detach(), item.value().detach(), item.key());
      }
      for (const auto& item : plain[0]->named_buffers()) {
        expect_close(net->named_buffers()[item.key()], item.value(), item.key());
      }
      const auto all = job.all_gather(net->parameters()[0].detach());
      EXPECT_TRUE(same_bits(all[0], all[1]));
    });
  }
}

TEST(Buffers, AReductionThatThrowsIsNamedAndNobodyHangs) {
  run_jobs(2, [](const Job& job) {
    CountersImpl net;
    ReplicaOptions options;
    options.buffers = BufferSync::kCustom;
    options.reduce_buffer = [](const std::string& name, const torch::Tensor&) {
      throw std::runtime_error("no rule for " + name);
    };
    DistributedDataParallel ddp(job, net, options);
    EXPECT_THAT(error_of([&] { net.weight.sum().backward(); }), HasSubstr("no rule for"));
  });
}

}  // namespace
}  // namespace rondo::test
