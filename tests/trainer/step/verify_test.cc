// Training on several ranks against one process, and against itself. Four ranks: with two, a sum has one order only.
#include <torch/torch.h>

#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "tests/trainer/support/trainer_ranks.h"

namespace rondo::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kRanks = 4;
constexpr int kSteps = 5;
constexpr int64_t kGlobalBatch = 22;  // slices of 6, 6, 5 and 5

/// Where a training goes wrong. kSlice: rank 2 takes rank 1's rows.
enum class Wrong : uint8_t { kNothing, kSlice, kWeights };

template <typename O, typename Options>
void train(Trial& trial, torch::ScalarType dtype, const Options& options, Wrong wrong = Wrong::kNothing) {
  Mlp net;
  net->to(dtype);
  fill(*net, 3);
  DistributedDataParallel ddp(trial.job(), *net, trial.options());
  Optimizer<O> optimizer(ddp, net->parameters(), options);
  for (int step = 0; step < kSteps; ++step) {
    const Samples global = samples(kGlobalBatch, static_cast<uint64_t>(100 * step), dtype);
    Samples mine{trial.slice(global.data), trial.slice(global.target)};
    if (wrong == Wrong::kSlice && trial.job().rank == 2) {
      mine = {global.data.narrow(0, 6, 5), global.target.narrow(0, 6, 5)};
    }
    optimizer.zero_grad();
    auto loss = mean_loss(net, mine);
    const auto count = static_cast<double>(mine.target.size(0));
    trial.add_loss(loss, count);
    if (wrong != Wrong::kWeights) loss = ddp.weigh(loss, count);
    loss.backward();
    optimizer.step();
  }
  trial.end(*net, optimizer);
}

torch::optim::SGDOptions sgd() { return torch::optim::SGDOptions(0.1).momentum(0.9).weight_decay(1e-3); }

void train_sgd(Trial& trial, torch::ScalarType dtype, Wrong wrong = Wrong::kNothing) {
  train<torch::optim::SGD>(trial, dtype, sgd(), wrong);
}

std::set<std::string> all_slots() {
  std::set<std::string> names{};
  for (const char* layer : {"first", "second", "third"}) {
    for (const char* of : {"weight", "bias"}) {
      const std::string parameter = std::string("\"") + layer + "." + of + "\"";
      names.insert("parameter " + parameter);
      names.insert("momentum_buffer of " + parameter);
    }
  }
  return names;
}

const SlotDistance& slot(const VerifyReport& report, const std::string& name) {
  for (const SlotDistance& distance : report.against_one) {
    if (distance.slot == name) return distance;
  }
  throw Error("there is no slot " + name);
}

TEST(Verify, FourRanksDifferFromOneProcessByRoundingAndFromThemselvesNotAtAll) {
  for (const auto dtype : {torch::kFloat32, torch::kFloat64}) {
    run_jobs(kRanks, [&](const Job& job) {
      const VerifyReport report = verify(job, [&](Trial& trial) { train_sgd(trial, dtype); });
      EXPECT_TRUE(report.passed()) << report.text();
      EXPECT_TRUE(report.replicas.empty());
      ASSERT_EQ(report.variants.size(), 3U);
      for (const VariantResult& variant : report.variants) EXPECT_EQ(variant.first_difference, "") << variant.what;
      std::set<std::string> slots;
      for (const SlotDistance& distance : report.against_one) slots.insert(distance.slot);
      EXPECT_EQ(slots, all_slots());
      EXPECT_LT(slot(report, "parameter \"first.weight\"").relative, dtype == torch::kFloat32 ? 1e-5 : 1e-13);
      EXPECT_GT(slot(report, "momentum_buffer of \"first.weight\"").ulp, 0U) << "it is another sum, not the same run";
      ASSERT_EQ(report.losses.size(), static_cast<size_t>(kSteps));
      ASSERT_EQ(report.losses_of_one.size(), static_cast<size_t>(kSteps));
      for (int step = 0; step < kSteps; ++step) EXPECT_NEAR(report.losses[step], report.losses_of_one[step], 1e-5);
      EXPECT_THAT(report.text(),
                  AllOf(HasSubstr("4 ranks, bit for bit"), HasSubstr("once more"), HasSubstr("buckets of"),
                        HasSubstr("without overlap"), HasSubstr("momentum_buffer"), Not(HasSubstr("DIFFER")),
                        HasSubstr("\nverified\n")));
    });
  }
}

TEST(Verify, SeesTheMomentsOfAdam) {
  run_jobs(kRanks, [&](const Job& job) {
    const VerifyReport report = verify(job, [&](Trial& trial) {
      train<torch::optim::AdamW>(trial, torch::kFloat64, torch::optim::AdamWOptions(1e-3));
    });
    EXPECT_TRUE(report.passed()) << report.text();
    for (const char* moment : {"exp_avg", "exp_avg_sq"}) {
      EXPECT_LT(slot(report, std::string(moment) + " of \"third.bias\"").relative, 1e-12) << moment;
    }
  });
}

TEST(Verify, SeesThatARankTookAnothersSlice) {
  run_jobs(kRanks, [](const Job& job) {
    const auto report = verify(job, [](Trial& trial) { train_sgd(trial, torch::kFloat32, Wrong::kSlice); });
    EXPECT_FALSE(report.passed());
    EXPECT_TRUE(report.replicas.empty()) << "all ranks have the same wrong gradients";
    for (const VariantResult& variant : report.variants) EXPECT_EQ(variant.first_difference, "") << variant.what;
    EXPECT_GT(slot(report, "momentum_buffer of \"third.weight\"").relative, 1e-3);
    EXPECT_THAT(report.text(), AllOf(HasSubstr("DIFFERS"), HasSubstr("\nNOT verified\n")));
  });
}

TEST(Verify, SeesThatUnequalSlicesWereNotWeighed) {
  run_jobs(kRanks, [](const Job& job) {
    const auto report = verify(job, [](Trial& trial) { train_sgd(trial, torch::kFloat32, Wrong::kWeights); });
    EXPECT_FALSE(report.passed());
    EXPECT_GT(slot(report, "momentum_buffer of \"third.weight\"").relative, 1e-3);
    const auto generous =
        verify(job, [](Trial& trial) { train_sgd(trial, torch::kFloat32, Wrong::kWeights); }, {.rounding = 1});
    EXPECT_TRUE(generous.passed()) << "the bound is the caller's";
  });
}

TEST(Verify, SeesATrainingThatDependsOnMoreThanItsSeed) {
  run_jobs(kRanks, [](const Job& job) {
    int runs = 0;
    const auto report = verify(job, [&](Trial& trial) {
      ++runs;
      train<torch::optim::SGD>(trial, torch::kFloat32, torch::optim::SGDOptions(runs == 2 ? 0.1001 : 0.1));
    });
    EXPECT_EQ(runs, 5);
    EXPECT_FALSE(report.passed());
    EXPECT_EQ(report.variants[0].what, "once more");
    EXPECT_EQ(report.variants[0].first_difference, "parameter \"first.bias\"");
    EXPECT_EQ(report.variants[1].first_difference, "");
    EXPECT_THAT(report.text(), HasSubstr("DIFFERS: first in parameter \"first.bias\""));
  });
}

TEST(Verify, NamesTheRankWhoseReplicaDiffers) {
  run_jobs(kRanks, [](const Job& job) {
    const auto report = verify(job, [](Trial& trial) {
      Mlp net;
      fill(*net, 3);
      torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.1));
      if (trial.job().rank == 3) {
        const torch::NoGradGuard no_grad;
        net->second->bias[7] += 1;
      }
      trial.end(*net, optimizer);
    });
    EXPECT_FALSE(report.passed());
    ASSERT_EQ(report.replicas.size(), 1U);
    EXPECT_EQ(report.replicas[0], (StateDifference{.slot = "parameter \"second.bias\"", .ranks = {3}}));
    EXPECT_THAT(report.text(), HasSubstr("DIFFER: parameter \"second.bias\", first on rank 3"));
  });
}

TEST(Verify, ATrainingThatShowsNoEndIsRefused) {
  run_jobs(2,
           [](const Job& job) { EXPECT_THAT(error_of([&] { verify(job, [](Trial&) {}); }), HasSubstr("Trial::end")); });
}

// --- The same bits, whatever carries them.

struct Way {
  comm::TransportKind transport = comm::TransportKind::kInproc;
  std::string algorithm = {};
  ReplicaOptions replica = {};
};

/// What four ranks end with; all ranks' are compared.
TrainedState trained(const Way& way) {
  std::map<int, TrainedState> states;
  std::mutex mutex;
  RankOptions ranks;
  ranks.transport = way.transport;
  run_endpoints(
      kRanks,
      [&](comm::Endpoint& endpoint) {
        torch::set_num_threads(1);
        Trial trial(trainer::make_job(endpoint, {.algorithm = way.algorithm}), way.replica);
        train_sgd(trial, torch::kFloat32);
        EXPECT_TRUE(trial.replicas().empty());
        const std::lock_guard lock(mutex);
        states[trial.job().rank] = trial.state();
      },
      ranks);
  return states[0];
}

TEST(CanonicalClass, TransportsAlgorithmsBucketsAndOverlapGiveTheSameBits) {
  using Kind = comm::TransportKind;
  const TrainedState reference = trained({});
  std::set<std::string> slots;
  for (const auto& [name, tensor] : reference.tensors) slots.insert(name);
  EXPECT_EQ(slots, all_slots());
  const std::vector<std::pair<std::string, Way>> ways{
      {"once more", {}},
      {"tcp", {.transport = Kind::kTcp}},
      {"shm", {.transport = Kind::kShm}},
      {"direct", {.algorithm = "direct"}},
      {"one-shot over tcp", {.transport = Kind::kTcp, .algorithm = "one-shot"}},
      {"parameter-server", {.algorithm = "parameter-server"}},
      {"small buckets", {.replica = {.bucket_cap_bytes = 700, .first_bucket_bytes = 300}}},
      {"small buckets over shm", {.transport = Kind::kShm, .replica = {.bucket_cap_bytes = 1500}}},
      {"no overlap", {.replica = {.bucket_cap_bytes = 1500, .overlap = Overlap::kOff}}},
  };
  for (const auto& [what, way] : ways) EXPECT_EQ(first_difference(trained(way), reference), "") << what;
}

TEST(CanonicalClass, TheRingIsNotInItAndItsBitsFollowTheBuckets) {
  const TrainedState reference = trained({});
  const TrainedState ring = trained({.algorithm = "ring"});
  EXPECT_NE(first_difference(ring, reference), "");
  EXPECT_NE(first_difference(trained({.algorithm = "ring", .replica = {.bucket_cap_bytes = 700}}), ring), "");
  for (const SlotDistance& distance : distances(ring, reference)) EXPECT_TRUE(distance.is_rounding()) << distance.slot;
}

}  // namespace
}  // namespace rondo::test
