// What a Job and its neighbours promise beyond collectives of equal shapes.
#include <torch/torch.h>

#include <atomic>
#include <csignal>
#include <optional>
#include <stdexcept>

#include "tests/trainer/support/trainer_ranks.h"

namespace rondo::test {
namespace {

using ::testing::HasSubstr;

TEST(Gather, RowsComeInTheOrderOfRanksAlsoFromOneThatHasNone) {
  run_jobs(3, [](const Job& job) {
    const int64_t counts[] = {2, 0, 3};
    const auto rows = torch::arange(counts[job.rank] * 2, torch::kLong).reshape({-1, 2}) + 100 * job.rank;
    const auto all = job.gather(rows);
    const auto expected = torch::tensor({{0, 1}, {2, 3}, {200, 201}, {202, 203}, {204, 205}}, torch::kLong);
    EXPECT_TRUE(torch::equal(all, expected)) << all;
    EXPECT_THAT(error_of([&] { job.gather(torch::ones({1, 2 + job.rank / 2})); }), HasSubstr("rank 2 has"));
    EXPECT_THAT(error_of([&] { job.gather(torch::ones({1}).requires_grad_()); }), HasSubstr("detach()"));
    const auto deep = torch::ones(std::vector<int64_t>(20, 1));
    EXPECT_THAT(error_of([&] { job.gather(deep); }), HasSubstr("rows of 19 dimensions"));
    EXPECT_EQ(job.gather(torch::ones(std::vector<int64_t>(15, 1))).size(0), job.world_size);
  });
}

TEST(Gather, PredictionsComeInTheOrderOfTheDataSetForEveryPartition) {
  run_jobs(3, [](const Job& job) {
    for (const Partition partition : {Partition::kPadded, Partition::kExact, Partition::kBlocks}) {
      for (const Shuffle shuffle : {Shuffle::kOn, Shuffle::kOff}) {
        Sampler sampler(job, 11, {.seed = 4, .shuffle = shuffle, .partition = partition});
        sampler.reset();
        std::vector<float> mine;
        while (const auto batch = sampler.next(3))
          for (const size_t index : *batch) mine.push_back(10.0F * static_cast<float>(index));
        const auto all = gather(job, torch::tensor(mine), sampler);
        EXPECT_TRUE(torch::equal(all, 10 * torch::arange(11, torch::kFloat32))) << all;
        const auto short_by_one = torch::tensor(mine).slice(0, 0, static_cast<int64_t>(mine.size()) - job.rank / 2);
        EXPECT_THAT(error_of([&] { gather(job, short_by_one, sampler); }), HasSubstr("rank 2 has"));
      }
    }
  });
}

TEST(RankZeroFirst, OthersWaitUntilItsScopeEnds) {
  std::atomic<int> done{0};
  run_jobs(3, [&](const Job& job) {
    for (int round = 1; round <= 3; ++round) {
      const auto scope = job.rank_zero_first();
      if (job.rank == 0) done = round;
      EXPECT_GE(done.load(), round) << "rank " << job.rank;
    }
  });
}

TEST(RankZeroFirst, AnExceptionInItsScopeIsAnErrorOfTheOthersAndTheJobGoesOn) {
  run_jobs(2, [](const Job& job) {
    const auto enter = [&] {
      const auto scope = job.rank_zero_first();
      if (job.rank == 0) throw std::runtime_error("no such file");
    };
    if (job.rank == 0) {
      EXPECT_THROW(enter(), std::runtime_error);
    } else {
      EXPECT_THAT(error_of(enter), HasSubstr("rank 0 left its scope by an exception"));
    }
    { const auto again = job.rank_zero_first(); }
    EXPECT_EQ(job.sum(1), 2);
  });
}

TEST(JobAbort, EndsWhatTheOthersWaitForWithItsReason) {
  run_jobs(2, [](const Job& job) {
    if (job.rank == 1) {
      job.barrier();  // rank 0 has joined
      return job.abort("the disk is full");
    }
    EXPECT_THAT(error_of([&] {
                  job.barrier();
                  job.barrier();
                }),
                HasSubstr("rank 1 aborted the job: the disk is full"));
  });
}

TEST(Log, LinesCarryRankAndLevelAndStayOneLine) {
  EXPECT_EQ(trainer::log_line(1, LogLevel::kWarning, "a\nb"), "rondo[1]: warning: a b\n");
  EXPECT_EQ(trainer::log_line(0, LogLevel::kInfo, "joined"), "rondo[0]: joined\n");
  EXPECT_EQ(trainer::default_log_level(0), LogLevel::kInfo);
  EXPECT_EQ(trainer::default_log_level(3), LogLevel::kWarning);
  EXPECT_EQ(log_level("debug"), LogLevel::kDebug);
  EXPECT_EQ(log_level("loud"), std::nullopt);
}

template <typename O, typename Options>
void expect_broadcast_makes_equal(const Options& options) {
  run_jobs(3, [&](const Job& job) {
    Mlp net;
    fill(*net, 3);
    O optimizer(net->parameters(), options);
    if (job.rank == 0) {  // a checkpoint that rank 0 alone has loaded
      mean_loss(net, samples(4, 1)).backward();
      optimizer.step();
      optimizer.param_groups()[0].options().set_lr(0.03);
    }
    DistributedDataParallel ddp(job, *net);
    if (!optimizer.param_groups().empty()) {
      const auto before = state_differences(job, *net, optimizer);
      ASSERT_FALSE(before.empty());
      for (const auto& difference : before) EXPECT_EQ(difference.ranks, (std::vector<int>{1, 2})) << difference.slot;
    }
    broadcast(job, optimizer);
    for (const auto& difference : state_differences(job, *net, optimizer)) ADD_FAILURE() << difference.slot;
    EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.03);
  });
}

TEST(OptimizerState, OfRankZeroIsEverywhereAfterABroadcastForEachOfLibTorchsOptimizers) {
  expect_broadcast_makes_equal<torch::optim::SGD>(torch::optim::SGDOptions(0.1).momentum(0.9));
  expect_broadcast_makes_equal<torch::optim::Adam>(torch::optim::AdamOptions(0.1).amsgrad(true));
  expect_broadcast_makes_equal<torch::optim::AdamW>(torch::optim::AdamWOptions(0.1));
  expect_broadcast_makes_equal<torch::optim::RMSprop>(torch::optim::RMSpropOptions(0.1).momentum(0.9));
  expect_broadcast_makes_equal<torch::optim::Adagrad>(torch::optim::AdagradOptions(0.1));
}

TEST(OptimizerState, TheSlotThatDiffersIsNamed) {
  run_jobs(2, [](const Job& job) {
    Mlp net;
    fill(*net, 3);
    torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
    mean_loss(net, samples(4, 1)).backward();
    optimizer.step();
    for (const auto& difference : state_differences(job, *net, optimizer)) ADD_FAILURE() << difference.slot;
    auto& state = *optimizer.state()[net->second->weight.unsafeGetTensorImpl()];
    if (job.rank == 1) static_cast<torch::optim::SGDParamState&>(state).momentum_buffer().view(-1)[3] += 1;
    EXPECT_EQ(state_differences(job, *net, optimizer),
              (std::vector<StateDifference>{{"momentum_buffer of \"second.weight\"", {1}}}));
  });
}

// Ranks are threads here, and signals those of one process: rank 1 makes its second object when it has heard of the
// checkpoint that rank 0's second object hears of later.
TEST(Requests, OfASecondObjectGiveTheSameAnswerOnEveryRank) {
  run_jobs(2, [](const Job& job) {
    Requests first(job);
    EXPECT_FALSE(first.agree().checkpoint);
    std::optional<Requests> second;
    if (job.rank == 0) second.emplace(job);
    job.barrier();
    if (job.rank == 1) {
      std::raise(SIGUSR1);
      second.emplace(job);
    }
    job.barrier();
    for (const bool expected : {true, false}) EXPECT_EQ(second->agree().checkpoint, expected) << "rank " << job.rank;
    EXPECT_TRUE(first.agree().checkpoint) << "rank " << job.rank;
    job.barrier();
  });
}

TEST(Requests, AreHeardByAllRanksAtTheSameStepAndOnce) {
  run_jobs(3, [](const Job& job) {
    Requests requests(job);
    (void)requests.agree();  // hears what a test before this one asked for
    EXPECT_FALSE(requests.agree().checkpoint);
    if (job.rank == 1) std::raise(SIGUSR1);  // one signal, for one rank
    const auto first = requests.agree();
    EXPECT_TRUE(first.checkpoint) << "rank " << job.rank;
    EXPECT_FALSE(first.stop);
    EXPECT_FALSE(requests.agree().checkpoint) << "rank " << job.rank;
    if (job.rank == 2) std::raise(SIGTERM);  // this process goes on
    const auto last = requests.agree();
    EXPECT_TRUE(last.stop && last.checkpoint) << "rank " << job.rank;
    EXPECT_EQ(last.signal, SIGTERM);
    job.barrier();
  });
  struct sigaction now {};
  ::sigaction(SIGTERM, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_DFL) << "it outlives its maker";
}

}  // namespace
}  // namespace rondo::test
