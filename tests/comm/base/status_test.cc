#include "rondo/comm/status.h"

#include <gtest/gtest.h>

namespace rondo::comm {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return Status(Code::kInvalidArgument, "odd");
  return value / 2;
}

Status quarter(int value, int& out) {
  const auto first = half(value);
  RONDO_TRY(first);
  const auto second = half(*first);
  RONDO_TRY(second);
  out = *second;
  return {};
}

TEST(Status, TextCarriesCodeMessageAndEveryKnownPlace) {
  const Status status(
      Code::kTimeout, "rank 0 waits for rank 3",
      {.rank = 0, .peer = 3, .operation = "all_reduce", .tag = "w", .sequence = 812, .phase = "hop 2 of 6"});
  EXPECT_EQ(status.text(),
            "kTimeout: rank 0 waits for rank 3 (rank 0, peer 3, all_reduce, \"w\", sequence 812, hop 2 of 6)");
}

TEST(Status, AtFillsOnlyWhatIsMissing) {
  const Status status = Status(Code::kIo, "m", {.rank = 2}).at({.rank = 7, .peer = 1, .operation = "barrier"});
  EXPECT_EQ(status.where().rank, 2);
  EXPECT_EQ(status.where().peer, 1);
  EXPECT_EQ(status.where().operation, "barrier");
}

TEST(Status, TryReturnsTheFirstError) {
  int out = 0;
  EXPECT_TRUE(quarter(12, out).ok());
  EXPECT_EQ(out, 3);
  EXPECT_EQ(quarter(6, out).code(), Code::kInvalidArgument);
  EXPECT_EQ(out, 3);
}

TEST(Status, EveryCodeHasItsName) {
  EXPECT_EQ(name(Code::kUnauthenticated), "kUnauthenticated");
  EXPECT_EQ(name(Code::kEvicted), "kEvicted");
  EXPECT_TRUE(Status::pending().is_pending());
  EXPECT_FALSE(Status::pending().ok());
  EXPECT_EQ(Status().code(), Code::kOk);
}

}  // namespace
}  // namespace rondo::comm
