#include "trainer/step/step_record.h"

#include <gtest/gtest.h>

namespace rondo::trainer {
namespace {

TEST(StepRecord, BitOrOfAllRanksHoldsEveryFailureAndEveryUse) {
  for (const int world_size : {1, 2, 8, 9, 65}) {
    const StepRecordShape shape{.world_size = world_size, .parameter_count = world_size + 3};
    std::vector<uint8_t> all(static_cast<size_t>(record_bytes(shape)), 0);
    for (int rank = 0; rank < world_size; ++rank) {
      StepRecord mine{.weighed = rank == 1,
                      .unweighed = rank != 1,
                      .failed = std::vector<bool>(world_size),
                      .idle = std::vector<bool>(world_size),
                      .used = std::vector<bool>(shape.parameter_count)};
      mine.failed[rank] = rank % 4 == 2;
      mine.idle[rank] = rank % 3 == 0;
      mine.used[rank] = true;
      const auto bytes = encode(mine, shape);
      ASSERT_EQ(bytes.size(), all.size());
      for (size_t i = 0; i < bytes.size(); ++i) all[i] |= bytes[i];
    }
    const StepRecord agreed = decode_step_record(all, shape);
    EXPECT_EQ(agreed.weighed, world_size > 1);
    EXPECT_TRUE(agreed.unweighed);
    for (int rank = 0; rank < world_size; ++rank) {
      EXPECT_EQ(agreed.failed[rank], rank % 4 == 2) << rank;
      EXPECT_EQ(agreed.idle[rank], rank % 3 == 0) << rank;
    }
    EXPECT_EQ(agreed.first_with_data(), world_size == 1 ? -1 : 1);
    for (int i = 0; i < shape.parameter_count; ++i) EXPECT_EQ(agreed.used[i], i < world_size) << i;
    if (world_size == 8) {
      EXPECT_EQ(agreed.failed_ranks(), "rank 2, rank 6");
    }
  }
}

TEST(StepRecord, BitOrGathersTheTimesOfEveryRank) {
  const StepRecordShape shape{.world_size = 3, .parameter_count = 9};
  EXPECT_EQ(record_bytes(shape), 1 + 1 + 1 + 2 + 3 * 8);
  std::vector<uint8_t> all(static_cast<size_t>(record_bytes(shape)), 0);
  const std::vector<RankTimes> times{{.first_gradient_us = 1, .last_gradient_us = 0x12345678},
                                     {.first_gradient_us = 0, .last_gradient_us = 255},
                                     {.first_gradient_us = 256, .last_gradient_us = int64_t{1} << 40}};
  for (size_t rank = 0; rank < 3; ++rank) {
    StepRecord mine{.failed = std::vector<bool>(3), .used = std::vector<bool>(9), .times = std::vector<RankTimes>(3)};
    mine.times[rank] = times[rank];
    const auto bytes = encode(mine, shape);
    for (size_t i = 0; i < bytes.size(); ++i) all[i] |= bytes[i];
  }
  const StepRecord agreed = decode_step_record(all, shape);
  ASSERT_EQ(agreed.times.size(), 3U);
  EXPECT_EQ(agreed.times[0].first_gradient_us, 1);
  EXPECT_EQ(agreed.times[0].last_gradient_us, 0x12345678);
  EXPECT_EQ(agreed.times[1].last_gradient_us, 255);
  EXPECT_EQ(agreed.times[2].first_gradient_us, 256);
  EXPECT_EQ(agreed.times[2].last_gradient_us, UINT32_MAX) << "what does not fit stays at the most that does";
}

TEST(StepRecord, NobodyFailedIsEmpty) { EXPECT_FALSE(StepRecord{.failed = std::vector<bool>(3)}.any_failed()); }

}  // namespace
}  // namespace rondo::trainer
