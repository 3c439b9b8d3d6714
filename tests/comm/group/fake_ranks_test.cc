/// Many fake ranks in one thread, under a virtual clock: the same protocols as in production, no thread and no sleep.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "comm/collective/collective_state.h"
#include "comm/group/formation.h"
#include "comm/sim/sim_env.h"
#include "rondo/comm/collectives.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

constexpr float contribution(int rank, int64_t index) { return static_cast<float>((rank + 1) * 1000 + index % 97); }
constexpr float sum_over_ranks(int n, int64_t index) {
  return static_cast<float>(n * (n + 1) / 2 * 1000 + n * (index % 97));
}

// A world of `n` fake ranks over one transport. Everything advances in turn; when all are blocked, time passes.
class FakeWorld {
 public:
  FakeWorld(int n, TransportKind transport, SimOptions sim = {}) : sim_(SimWorld::make(sim)) {
    const auto control = sim_->env("control");
    const auto store = in_process_store();
    const JobId job = JobId::draw(*control);
    const Secret secret = Secret::draw(*control);
    std::shared_ptr<InprocFabric> fabric;
    auto page_memory = Region::allocate(JobPage::byte_count(n), "page of fake ranks");
    EXPECT_TRUE(page_memory.ok());
    auto page = JobPage::format(std::move(*page_memory), n);
    EXPECT_TRUE(page.ok()) << page.status().text();
    const std::shared_ptr<JobPage> shared_page = std::move(*page);
    if (transport == TransportKind::kInproc) fabric = *make_inproc_fabric(n);
    for (int rank = 0; rank < n; ++rank) {
      const std::string name = "rank-" + std::to_string(rank);
      auto endpoint = Endpoint::create({.at = {.rank = rank, .world_size = n},
                                        .local_rank = rank,
                                        .job = job,
                                        .secret = secret,
                                        .env = sim_->env(name),
                                        .store = store,
                                        .transport = transport,
                                        .fabric = fabric,
                                        .listen = {"sim:" + name},
                                        .keeper = EndpointOptions::Keeper::kOff});
      EXPECT_TRUE(endpoint.ok()) << endpoint.status().text();
      if (!fabric) {
        EXPECT_TRUE(endpoint->state()->install_page(shared_page).ok());
      }
      endpoints_.push_back(*endpoint);
    }
  }

  SimWorld& sim() { return *sim_; }
  std::vector<Endpoint>& endpoints() { return endpoints_; }

  // Asks every one of `advance(rank)` in turn until all say true, `step` of simulated time a round; false when `limit`
  // passes first.
  template <typename Advance>
  bool run(const Advance& advance, Duration step = std::chrono::microseconds(50),
           Duration limit = std::chrono::seconds(60)) {
    const TimePoint end = sim_->now() + limit;
    std::vector<bool> done(endpoints_.size());
    size_t left = done.size();
    while (left > 0) {
      for (size_t rank = 0; rank < done.size(); ++rank) {
        if (done[rank]) {
          endpoints_[rank].state()->progress();  // its peers may wait for its acknowledgements
        } else if (advance(rank)) {
          done[rank] = true;
          --left;
        }
      }
      sim_->advance(step);
      if (sim_->now() > end) return false;
    }
    return true;
  }

  std::vector<Group> form(GroupOptions options) {
    std::vector<GroupFormation> formations;
    for (const auto& endpoint : endpoints_) formations.emplace_back(endpoint.state(), options);
    EXPECT_TRUE(run([&](size_t rank) {
      const Progress progress = formations[rank].advance(sim_->now());
      EXPECT_NE(progress, Progress::kFailed) << formations[rank].status().text();
      return progress == Progress::kDone || progress == Progress::kFailed;
    }));
    std::vector<Group> groups;
    for (auto& formation : formations) groups.push_back(formation.take());
    return groups;
  }

 private:
  std::shared_ptr<SimWorld> sim_;
  std::vector<Endpoint> endpoints_;
};

class FakeRanks : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(OneThread, FakeRanks, testing::Values(TransportKind::kInproc, TransportKind::kTcp),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(FakeRanks, SixtyFourFormAGroupAndReduceUnderAVirtualClock) {
  const int n = 64;
  FakeWorld world(n, GetParam(),
                  {.latency_min = std::chrono::microseconds(5), .latency_max = std::chrono::microseconds(80)});
  auto groups = world.form({.segment_bytes = 256});
  const int64_t count = 1000;
  std::vector<std::vector<float>> values(n, std::vector<float>(count));
  std::vector<Work> works;
  for (int rank = 0; rank < n; ++rank) {
    auto& mine = values[static_cast<size_t>(rank)];
    for (int64_t i = 0; i < count; ++i) mine[static_cast<size_t>(i)] = contribution(rank, i);
    works.push_back(all_reduce(groups[static_cast<size_t>(rank)], view(mine), ReduceOp::kSum, {.tag = "fake"}));
  }
  ASSERT_TRUE(world.run([&](size_t rank) { return works[rank].progress(); }));
  for (int rank = 0; rank < n; ++rank) {
    RONDO_ASSERT_OK(works[static_cast<size_t>(rank)].status());
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_EQ(values[static_cast<size_t>(rank)][static_cast<size_t>(i)], sum_over_ranks(n, i)) << rank << " " << i;
    }
  }
}

TEST(FakeRanksFaults, ARankThatDiesInTheMiddleIsNamedByItsNeighbours) {
  const int n = 5;
  FakeWorld world(n, TransportKind::kTcp, {.seed = 7, .most_bytes_per_call = 512});
  auto groups = world.form({.segment_bytes = 256});
  const int64_t count = 5000;
  std::vector<std::vector<float>> values(n, std::vector<float>(count, 1));
  std::vector<Work> works;
  for (int rank = 0; rank < n; ++rank) {
    works.push_back(
        all_reduce(groups[static_cast<size_t>(rank)], view(values[static_cast<size_t>(rank)]), ReduceOp::kSum));
  }
  int turns = 0;
  ASSERT_TRUE(world.run([&](size_t rank) {
    if (rank == 3) {
      if (++turns == 20) world.sim().kill("rank-3");
      if (turns < 20) works[rank].progress();
      return turns >= 20;
    }
    return works[rank].progress();
  }));
  for (const int rank : {0, 1, 2, 4}) {
    const Status status = works[static_cast<size_t>(rank)].status();
    EXPECT_EQ(status.code(), Code::kPeerLost) << status.text();
    EXPECT_EQ(status.where().peer, 3) << status.text();
    EXPECT_NE(status.text().find("rank 3"), std::string::npos) << status.text();
  }
}

TEST(FakeRanksFaults, TheOperationTimeoutIsSimulatedTimeAndNamesTheSilentRank) {
  FakeWorld world(2, TransportKind::kTcp);
  auto groups = world.form({.operation_timeout = std::chrono::seconds(30)});
  std::vector<float> values(10, 1);
  Work work = all_reduce(groups[0], view(values), ReduceOp::kSum);
  const TimePoint begin = world.sim().now();
  ASSERT_TRUE(world.run([&](size_t rank) { return rank == 1 || work.progress(); }, std::chrono::milliseconds(2)));
  EXPECT_GE(world.sim().now() - begin, std::chrono::seconds(30));
  EXPECT_EQ(work.status().code(), Code::kTimeout) << work.status().text();
  EXPECT_NE(work.status().text().find("timed out after 30.0 s"), std::string::npos) << work.status().text();
  EXPECT_NE(work.status().text().find("not in this call: rank 1"), std::string::npos) << work.status().text();
}

}  // namespace
}  // namespace rondo::comm
