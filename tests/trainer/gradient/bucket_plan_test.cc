#include "trainer/gradient/bucket_plan.h"

#include <gtest/gtest.h>

#include <numeric>

namespace rondo::trainer {
namespace {

using comm::DType;

std::vector<GradientShape> floats(std::initializer_list<int64_t> counts) {
  std::vector<GradientShape> shapes;
  for (const int64_t count : counts) shapes.push_back({.dtype = DType::kFloat32, .element_count = count});
  return shapes;
}

std::vector<std::vector<int>> parameters_of(const BucketPlan& plan) {
  std::vector<std::vector<int>> result;
  for (const BucketLayout& bucket : plan) {
    result.emplace_back();
    for (const Slot& slot : bucket.slots) result.back().push_back(slot.parameter);
  }
  return result;
}

TEST(BucketPlan, HoldsEveryParameterOnceWithoutOverlap) {
  for (const int count : {0, 1, 2, 7, 61}) {
    for (const int64_t cap : {1, 200, 1000, 1 << 20}) {
      std::vector<GradientShape> shapes;
      for (int i = 0; i < count; ++i) {
        shapes.push_back({.dtype = i % 3 == 0 ? DType::kFloat64 : DType::kFloat32, .element_count = (i * 37) % 101});
      }
      const auto plan =
          make_bucket_plan(shapes, reverse_order(count), {.bucket_bytes = cap, .edge_bytes = cap / 4 + 1});
      std::vector<int> seen(count, 0);
      for (const BucketLayout& bucket : plan) {
        int64_t end = 0;
        for (const Slot& slot : bucket.slots) {
          ++seen[slot.parameter];
          EXPECT_EQ(shapes[slot.parameter].dtype, bucket.dtype);
          EXPECT_GE(slot.offset, end);
          EXPECT_EQ(slot.offset * static_cast<int64_t>(comm::byte_width(bucket.dtype)) % kSlotAlignmentBytes, 0);
          end = slot.offset + shapes[slot.parameter].element_count;
        }
        EXPECT_LE(end, bucket.element_count);
        if (bucket.slots.size() > 1) {
          EXPECT_LE(bucket.element_count * static_cast<int64_t>(comm::byte_width(bucket.dtype)), cap);
        }
      }
      EXPECT_EQ(seen, std::vector<int>(count, 1)) << count << " parameters, cap " << cap;
    }
  }
}

TEST(BucketPlan, FollowsTheOrderWithASmallFirstAndASmallLastBucket) {
  // 1600 bytes each; the first and the last bucket hold one, the others two.
  const auto shapes = floats({400, 400, 400, 400, 400, 400});
  const auto plan = make_bucket_plan(shapes, reverse_order(6), {.bucket_bytes = 3200, .edge_bytes = 1600});
  EXPECT_EQ(parameters_of(plan), (std::vector<std::vector<int>>{{5}, {4, 3}, {2, 1}, {0}}));
  const auto split =
      make_bucket_plan(floats({16, 400, 400, 400}), reverse_order(4), {.bucket_bytes = 3400, .edge_bytes = 1600});
  EXPECT_EQ(parameters_of(split), (std::vector<std::vector<int>>{{3}, {2, 1}, {0}}));
}

TEST(BucketPlan, GradientLargerThanTheCapHasABucketOfItsOwn) {
  const auto plan =
      make_bucket_plan(floats({10, 100'000, 10}), reverse_order(3), {.bucket_bytes = 4096, .edge_bytes = 4096});
  EXPECT_EQ(parameters_of(plan), (std::vector<std::vector<int>>{{2}, {1}, {0}}));
}

TEST(BucketPlan, LaunchesDtypesInTheOrderInWhichTheirBucketsFill) {
  std::vector<GradientShape> shapes = floats({8, 8, 8});
  shapes[1].dtype = DType::kFloat64;
  const auto plan = make_bucket_plan(shapes, reverse_order(3), {});
  EXPECT_EQ(parameters_of(plan), (std::vector<std::vector<int>>{{1}, {2, 0}}));
}

TEST(BucketPlan, ObservedOrderIsCompletedByTheFallback) {
  const std::vector<int> observed{2, 0, -1, 2, 9};
  EXPECT_EQ(complete_order(observed, reverse_order(4)), (std::vector<int>{2, 0, 3, 1}));
  EXPECT_EQ(complete_order({}, reverse_order(3)), (std::vector<int>{2, 1, 0}));
}

}  // namespace
}  // namespace rondo::trainer
