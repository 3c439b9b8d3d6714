/// What statistics of a step say, from moments that are given; and that every rank hears of every other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "rondo/step_statistics.h"
#include "tests/trainer/support/trainer_ranks.h"
#include "trainer/gradient/step_timeline.h"

namespace rondo::trainer {
namespace {

using testing::ElementsAre;

StepStatistics three_buckets() {
  return {.step = 12,
          .last_ready_us = 9'000,
          .backward_end_us = 10'000,
          .exposed_us = 3'500,
          .bucket_count = 3,
          .bucket_bytes = 6'000'000,
          .buckets = {{.byte_count = 1'000'000, .ready_us = 2'000, .launch_us = 2'000, .complete_us = 4'000},
                      {.byte_count = 4'000'000, .ready_us = 6'000, .launch_us = 6'000, .complete_us = 11'000},
                      {.byte_count = 1'000'000, .ready_us = 5'000, .launch_us = 8'000, .complete_us = 13'000}},
          .ranks = {{.first_gradient_us = 100, .last_gradient_us = 9'100},
                    {.first_gradient_us = 4'000, .last_gradient_us = 13'100},
                    {.first_gradient_us = 110, .last_gradient_us = 9'300}}};
}

TEST(StepStatistics, TimeInWhichSeveralBucketsAreUnderWayCountsOnce) {
  // [2, 4] and [6, 13]: the second and third overlap in [8, 11].
  EXPECT_EQ(three_buckets().communication_us(), 9'000);
  // Before the end of backward at 10: [2, 4] and [6, 10].
  EXPECT_DOUBLE_EQ(three_buckets().overlap(), 6.0 / 9.0);
}

TEST(StepStatistics, NothingIsHiddenWhenEverythingIsLaunchedAfterBackward) {
  StepStatistics step = three_buckets();
  step.backward_end_us = 2'000;
  EXPECT_DOUBLE_EQ(step.overlap(), 0);
  EXPECT_DOUBLE_EQ(StepStatistics{}.overlap(), 0);
  EXPECT_EQ(StepStatistics{}.communication_us(), 0);
}

TEST(StepStatistics, ReadyOrderMayDifferFromTheOrderOfLaunch) {
  EXPECT_THAT(three_buckets().ready_order(), ElementsAre(0, 2, 1));
}

TEST(StepStatistics, StragglerIsWhoeverComesLastBehindTheMedianOfTheOthers) {
  const Straggler last = three_buckets().straggler();
  EXPECT_EQ(last.rank, 1);
  EXPECT_EQ(last.behind_us, 13'100 - 9'200);
  EXPECT_EQ((StepStatistics{.ranks = {{.last_gradient_us = 77}}}.straggler().behind_us), 0);
}

TEST(StepStatistics, OneLineNamesBucketsOrderOverlapAndStraggler) {
  EXPECT_EQ(three_buckets().text(),
            "step 12: backward 10.0 ms, 3 buckets of 6.0 MB (1.0 4.0 1.0), ready 0 2 1, 67 % of 9.0 ms hidden, 3.5 ms "
            "exposed; ranks ready at 9.1 13.1 9.3 ms, rank 1 last, 3.9 ms behind");
  StepStatistics wide = three_buckets();
  wide.ranks.resize(33, {.last_gradient_us = 1'000});
  EXPECT_THAT(wide.text(), testing::EndsWith(" 1.0 1.0 ... ms, rank 1 last, 12.1 ms behind"));
}

TEST(StepTimeline, MomentsOfAStepAscendAndTheNextStepStartsAnew) {
  StepTimeline timeline;
  timeline.adopt({100, 50});
  for (int64_t step = 1; step <= 2; ++step) {
    timeline.begin();
    timeline.gradient_arrived();
    timeline.ready(1);
    timeline.backward_ended(1);
    timeline.launched(0);
    timeline.launched(1);
    timeline.completed(0);
    timeline.completed(1);
    timeline.reduced();
    const RankTimes mine = timeline.mine();
    timeline.recorded(step, {mine});
    const StepStatistics& last = timeline.last();
    EXPECT_EQ(last.step, step);
    EXPECT_EQ(last.bucket_count, 2);
    EXPECT_EQ(last.bucket_bytes, 150);
    EXPECT_GE(last.backward_end_us, last.last_ready_us);
    EXPECT_EQ(last.buckets[0].ready_us, last.buckets[0].launch_us) << "a bucket that never filled is ready at launch";
    EXPECT_LE(last.buckets[1].ready_us, last.backward_end_us);
    EXPECT_GE(last.buckets[1].complete_us, last.buckets[1].launch_us);
    EXPECT_GE(last.record_us, last.reduced_us);
    EXPECT_EQ(last.exposed_us, last.record_us - last.backward_end_us);
    EXPECT_EQ(last.ranks[0].last_gradient_us - last.ranks[0].first_gradient_us, last.last_ready_us);
  }
}

// Rank 1 begins its backward at least 20 ms after the step record before, so every rank must say so of it.
TEST(Statistics, EveryRankKnowsWhenEveryRankWasReady) {
  constexpr std::chrono::milliseconds kLate{20};
  test::run_jobs(3, [&](const Job& job) {
    test::Mlp net;
    DistributedDataParallel ddp(job, *net, {.bucket_cap_bytes = 2048, .first_bucket_bytes = 512});
    Optimizer<torch::optim::SGD> optimizer(ddp, net->parameters(), torch::optim::SGDOptions(0.01));
    for (int step = 1; step <= 3; ++step) {
      const auto loss = test::mean_loss(net, test::samples(4, 10 + job.rank));
      if (job.rank == 1) std::this_thread::sleep_for(kLate);
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
      const StepStatistics mine = ddp.statistics();
      ASSERT_EQ(mine.step, step);
      ASSERT_EQ(std::ssize(mine.ranks), 3);
      EXPECT_GE(mine.ranks[1].first_gradient_us, std::chrono::microseconds(kLate).count());
      const RankTimes& own = mine.ranks[static_cast<size_t>(job.rank)];
      EXPECT_EQ(own.last_gradient_us - own.first_gradient_us, mine.last_ready_us);
      ASSERT_EQ(std::ssize(mine.buckets), mine.bucket_count);
      int64_t bytes = 0;
      for (const BucketTimes& bucket : mine.buckets) {
        bytes += bucket.byte_count;
        EXPECT_LE(bucket.ready_us, bucket.launch_us);
        EXPECT_LE(bucket.launch_us, bucket.complete_us);
        EXPECT_LE(bucket.complete_us, mine.reduced_us);
      }
      EXPECT_EQ(bytes, mine.bucket_bytes);
      EXPECT_GT(mine.begin_ns, 0);
      std::vector<int64_t> flat;
      for (const RankTimes& rank : mine.ranks) {
        flat.push_back(rank.first_gradient_us);
        flat.push_back(rank.last_gradient_us);
      }
      const auto all = job.all_gather(torch::tensor(flat, torch::kInt64));
      EXPECT_TRUE(torch::equal(all[0], all[job.rank])) << "rank " << job.rank << " heard something else than rank 0";
    }
  });
}

}  // namespace
}  // namespace rondo::trainer
