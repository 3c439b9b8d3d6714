// Ranks whose data differ in amount: the mean is that of one process over all samples.
#include "rondo/lockstep.h"

#include <torch/torch.h>

#include <list>
#include <ranges>
#include <tuple>

#include "tests/trainer/support/trainer_ranks.h"

namespace rondo::test {
namespace {

using ::testing::HasSubstr;
using Sgd = Optimizer<torch::optim::SGD>;
using Batch = torch::data::Example<>;

constexpr double kClose = 1e-11;

Batch batch_of(int64_t count, uint64_t seed) {
  const Samples made = samples(count, seed, torch::kFloat64);
  return {made.data, made.target};
}

torch::Tensor mean_of(Mlp& net, const Batch& batch) {
  return torch::nn::functional::cross_entropy(net->forward(batch.data), batch.target);
}

void make_double(Mlp& net) {
  net->to(torch::kFloat64);
  fill(*net, 3);
}

void expect_close(torch::nn::Module& net, torch::nn::Module& reference) {
  const auto actual = net.named_parameters(), expected = reference.named_parameters();
  for (const auto& item : expected) {
    const auto difference = (actual[item.key()] - item.value()).abs().max().item<double>();
    EXPECT_LE(difference, kClose) << item.key();
  }
}

// Ranks have 5, 3 and 0 batches; the last of each is short. One process takes, in each step, all their samples.
TEST(Lockstep, FiveThreeAndNoBatchesTrainAsOneProcessOverAllSamples) {
  const std::vector<std::vector<int64_t>> sizes{{4, 4, 4, 4, 3}, {4, 4, 1}, {}};
  run_jobs(3, [&](const Job& job) {
    Mlp net, reference;
    make_double(net);
    make_double(reference);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.2).momentum(0.9));
    torch::optim::SGD plain(reference->parameters(), torch::optim::SGDOptions(0.2).momentum(0.9));
    const auto of_rank = [&](size_t rank) {
      std::vector<Batch> all;
      for (size_t i = 0; i < sizes[rank].size(); ++i) all.push_back(batch_of(sizes[rank][i], 10 * rank + i));
      return all;
    };
    std::vector<Batch> mine = of_rank(static_cast<size_t>(job.rank));
    size_t steps = 0;
    for (auto& batch : job.lockstep(mine)) {
      EXPECT_EQ(batch.target.size(0), steps < mine.size() ? mine[steps].target.size(0) : 0);
      EXPECT_EQ(batch.data.size(1), 12);
      optimizer.zero_grad();
      ddp.weigh(mean_of(net, batch), static_cast<double>(batch.target.size(0))).backward();
      optimizer.step();

      std::vector<torch::Tensor> data, target;
      for (size_t rank = 0; rank < 3; ++rank) {
        if (const auto all = of_rank(rank); steps < all.size()) {
          data.push_back(all[steps].data);
          target.push_back(all[steps].target);
        }
      }
      plain.zero_grad();
      mean_of(reference, {torch::cat(data), torch::cat(target)}).backward();
      plain.step();
      ++steps;
    }
    EXPECT_EQ(steps, 5U);
    expect_close(*net, *reference);
  });
}

TEST(Lockstep, WithoutWeighTheMeanIsThatOfTheRanksWhichHaveData) {
  run_jobs(3, [](const Job& job) {
    Mlp net, reference;
    make_double(net);
    make_double(reference);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.2));
    torch::optim::SGD plain(reference->parameters(), torch::optim::SGDOptions(0.2));
    std::vector<Batch> mine;
    for (int i = 0; i < 2 - job.rank; ++i) mine.push_back(batch_of(4, static_cast<uint64_t>(10 * job.rank + i)));
    int steps = 0;
    for (auto& batch : job.lockstep(mine)) {
      optimizer.zero_grad();
      // Rank 1 runs its model on nothing, rank 2 does not run it at all.
      if (batch.target.size(0) > 0 || job.rank == 1) mean_of(net, batch).backward();
      optimizer.step();
      plain.zero_grad();
      if (steps == 0) (mean_of(reference, batch_of(4, 10)) / 2).backward();
      (mean_of(reference, batch_of(4, static_cast<uint64_t>(steps))) / (steps == 0 ? 2 : 1)).backward();
      plain.step();
      ++steps;
    }
    EXPECT_EQ(steps, 2);
    expect_close(*net, *reference);
    // After the loop a rank counts as before.
    optimizer.zero_grad();
    mean_of(net, batch_of(4, static_cast<uint64_t>(job.rank))).backward();
    plain.zero_grad();
    for (uint64_t rank = 0; rank < 3; ++rank) (mean_of(reference, batch_of(4, rank)) / 3).backward();
    optimizer.step();
    plain.step();
    expect_close(*net, *reference);
  });
}

TEST(Lockstep, ARankWithoutDataTakesPartInBatchNormOverAllRanks) {
  run_jobs(2, [](const Job& job) {
    torch::nn::Sequential net(torch::nn::Linear(12, 6), torch::nn::BatchNorm1d(6), torch::nn::Linear(6, 5));
    net->to(torch::kFloat64);
    DistributedDataParallel ddp(job, *net);
    ddp.sync_batch_norm();
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    std::vector<Batch> mine;
    if (job.rank == 0) mine.push_back(batch_of(6, 1));
    for (auto& batch : job.lockstep(mine)) {
      optimizer.zero_grad();
      const auto loss = torch::nn::functional::cross_entropy(net->forward(batch.data), batch.target);
      ddp.weigh(loss, static_cast<double>(batch.target.size(0))).backward();
      optimizer.step();
    }
    for (const auto& parameter : net->parameters()) {
      EXPECT_TRUE(torch::isfinite(parameter).all().item<bool>());
      const auto all = job.all_gather(parameter.detach());
      EXPECT_TRUE(same_bits(all[0], all[1]));
    }
  });
}

// Ranks have 0, 3 and 5 batches, and each its own BatchNorm.
TEST(Lockstep, RunningStatisticsAreThoseOfRanksThatHaveData) {
  const std::vector<uint64_t> counts{0, 3, 5};
  const auto data_of = [](uint64_t rank, uint64_t step) { return batch_of(6, 10 * rank + step); };
  for (const BufferSync policy : {BufferSync::kBroadcast, BufferSync::kMean}) {
    run_jobs(3, [&](const Job& job) {
      torch::nn::Sequential net(torch::nn::BatchNorm1d(12), torch::nn::Linear(12, 5));
      net->to(torch::kFloat64);
      ReplicaOptions options;
      options.buffers = policy;
      DistributedDataParallel ddp(job, *net, options);
      Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
      const auto rank = static_cast<uint64_t>(job.rank);
      std::vector<Batch> mine;
      for (uint64_t step = 0; step < counts[rank]; ++step) mine.push_back(data_of(rank, step));
      for (auto& batch : job.lockstep(mine)) {
        optimizer.zero_grad();
        torch::nn::functional::cross_entropy(net->forward(batch.data), batch.target).backward();
        optimizer.step();
      }
      auto mean = torch::zeros({12}, torch::kFloat64), variance = torch::ones({12}, torch::kFloat64);
      for (uint64_t step = 0; step < 5; ++step) {
        std::vector<torch::Tensor> means, variances;
        for (uint64_t of = 0; of < 3; ++of) {
          if (step >= counts[of] || (policy == BufferSync::kBroadcast && !means.empty())) continue;
          means.push_back(mean.clone());
          variances.push_back(variance.clone());
          (void)torch::batch_norm(data_of(of, step).data, {}, {}, means.back(), variances.back(), /*training=*/true,
                                  0.1, 1e-5, false);
        }
        mean = torch::stack(means).mean(0);
        variance = torch::stack(variances).mean(0);
      }
      const auto buffers = net->named_buffers();
      EXPECT_LE((buffers["0.running_mean"] - mean).abs().max().item<double>(), kClose) << "rank " << job.rank;
      EXPECT_LE((buffers["0.running_var"] - variance).abs().max().item<double>(), kClose) << "rank " << job.rank;
      EXPECT_EQ(buffers["0.num_batches_tracked"].item<int64_t>(), 5) << "rank " << job.rank;
    });
  }
}

TEST(Lockstep, NoDataAnywhereIsNoRound) {
  run_jobs(2, [](const Job& job) {
    std::vector<Batch> none;
    int rounds = 0;
    for (auto& batch : job.lockstep(none)) rounds += 1 + static_cast<int>(batch.data.dim());
    EXPECT_EQ(rounds, 0);
  });
}

// Loaders of LibTorch's, tuples, plain tensors, and ranges that make their batches on the way.
TEST(Lockstep, TakesWhatHoldsTensorsAndWhatMakesItsBatches) {
  run_jobs(2, [](const Job& job) {
    const size_t own = job.rank == 0 ? 5 : 2;
    struct Data : torch::data::datasets::Dataset<Data> {
      explicit Data(size_t count) : count_(count) {}
      Batch get(size_t index) override { return {torch::full({2}, static_cast<double>(index)), torch::zeros({1})}; }
      std::optional<size_t> size() const override { return count_; }
      size_t count_;
    };
    auto loader = torch::data::make_data_loader<torch::data::samplers::SequentialSampler>(
        Data(own).map(torch::data::transforms::Stack<>()), 2);
    std::vector<int64_t> rows;
    for (auto& batch : job.lockstep(*loader)) rows.push_back(batch.data.size(0));
    EXPECT_EQ(rows, job.rank == 0 ? (std::vector<int64_t>{2, 2, 1}) : (std::vector<int64_t>{2, 0, 0}));

    std::list<std::tuple<torch::Tensor, torch::Tensor>> pairs;
    for (int i = 0; i < 2 * job.rank; ++i) pairs.emplace_back(torch::ones({3, 7}, torch::kLong), torch::ones({3}));
    int64_t seen = 0, rounds = 0;
    for (auto& [input, label] : job.lockstep(pairs)) {
      EXPECT_EQ(input.scalar_type(), torch::kLong) << "also where no batch showed it";
      EXPECT_EQ(input.size(1), 7);
      seen += label.size(0);
      ++rounds;
    }
    EXPECT_EQ(rounds, 2);
    EXPECT_EQ(seen, job.rank == 0 ? 0 : 6);

    std::vector<int> numbers(static_cast<size_t>(3 - job.rank), 1);
    auto made = numbers | std::views::transform([](int rows_of) { return torch::ones({rows_of, 2}); });
    rounds = 0;
    for (auto& tensor : job.lockstep(made)) rounds += 10 + tensor.size(0);
    EXPECT_EQ(rounds, job.rank == 0 ? 33 : 32);

    struct Odd {
      torch::Tensor tokens;
    };
    std::vector<Odd> odd(job.rank == 0 ? 1 : 0, Odd{torch::ones({4})});
    seen = 0;
    for (auto& batch : job.lockstep(odd, Odd{torch::zeros({0})})) seen += 1 + batch.tokens.size(0);
    EXPECT_EQ(seen, job.rank == 0 ? 5 : 1);
  });
}

TEST(Lockstep, BatchOfScalarsIsAnErrorThatNamesTheWayOut) {
  run_jobs(1, [](const Job& job) {
    std::vector<torch::Tensor> scalars{torch::ones({})};
    EXPECT_THAT(error_of([&] {
                  for (auto& batch : job.lockstep(scalars)) batch.add_(1);
                }),
                HasSubstr("job.lockstep(loader, empty_batch)"));
  });
}

TEST(Weights, OfMaskedTokensGiveTheMeanOverAllTokensThatCount) {
  run_jobs(3, [](const Job& job) {
    Mlp net, reference;
    make_double(net);
    make_double(reference);
    DistributedDataParallel ddp(job, *net);
    // Of rank r's 6 tokens, every (r + 2)nd is masked; on rank 2 all are.
    const auto tokens = [](int rank) {
      Batch batch = batch_of(6, static_cast<uint64_t>(40 + rank));
      for (int64_t i = 0; i < 6; ++i) {
        if (rank == 2 || i % (rank + 2) == 0) batch.target[i] = -100;  // cross_entropy's ignore_index
      }
      return batch;
    };
    const Batch mine = tokens(job.rank);
    ddp.weigh(mean_of(net, mine), (mine.target >= 0).sum().item<double>()).backward();
    mean_of(reference, {torch::cat({tokens(0).data, tokens(1).data, tokens(2).data}),
                        torch::cat({tokens(0).target, tokens(1).target, tokens(2).target})})
        .backward();
    for (size_t i = 0; i < net->parameters().size(); ++i) {
      const auto difference = net->parameters()[i].grad() - reference->parameters()[i].grad();
      EXPECT_LE(difference.abs().max().item<double>(), kClose) << "parameter " << i;
    }
  });
}

TEST(Weights, ARankThatWeighsNothingLeavesTheBuffersToTheOthers) {
  run_jobs(2, [](const Job& job) {
    torch::nn::Sequential net(torch::nn::BatchNorm1d(12), torch::nn::Linear(12, 5));
    net->to(torch::kFloat64);
    DistributedDataParallel ddp(job, *net);
    const Batch mine = batch_of(4 * job.rank, 1);
    const auto loss = torch::nn::functional::cross_entropy(net->forward(mine.data), mine.target);
    ddp.weigh(loss, static_cast<double>(mine.target.size(0))).backward();
    const auto expected = 0.1 * batch_of(4, 1).data.mean(0);
    EXPECT_LE((net->named_buffers()["0.running_mean"] - expected).abs().max().item<double>(), kClose)
        << "rank " << job.rank;
  });
}

TEST(Weights, OfUnequalMicroBatchesUnderNoSyncGiveTheMeanOverAllSamples) {
  const std::vector<std::vector<int64_t>> sizes{{5, 2, 1}, {3, 3, 4}};
  run_jobs(2, [&](const Job& job) {
    Mlp net, reference;
    make_double(net);
    make_double(reference);
    DistributedDataParallel ddp(job, *net);
    Sgd optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.1));
    for (int step = 0; step < 2; ++step) {
      std::vector<torch::Tensor> data, target;
      optimizer.zero_grad();
      for (size_t rank = 0; rank < 2; ++rank) {
        for (size_t i = 0; i < 3; ++i) {
          const Batch batch = batch_of(sizes[rank][i], 100 * static_cast<uint64_t>(step) + 10 * rank + i);
          data.push_back(batch.data);
          target.push_back(batch.target);
          if (static_cast<int>(rank) != job.rank) continue;
          const auto loss = ddp.weigh(mean_of(net, batch), static_cast<double>(sizes[rank][i]));
          if (i < 2) {
            const auto scope = ddp.no_sync();
            loss.backward();
          } else {
            loss.backward();
          }
        }
      }
      reference->zero_grad();
      mean_of(reference, {torch::cat(data), torch::cat(target)}).backward();
      for (size_t i = 0; i < net->parameters().size(); ++i) {
        const auto difference = net->parameters()[i].grad() - reference->parameters()[i].grad();
        EXPECT_LE(difference.abs().max().item<double>(), kClose) << "step " << step << " parameter " << i;
      }
      optimizer.step();
      const torch::NoGradGuard no_grad;
      for (const auto& parameter : reference->parameters()) parameter.sub_(parameter.grad(), 0.1);
    }
  });
}

}  // namespace
}  // namespace rondo::test
