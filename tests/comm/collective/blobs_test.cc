#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "rondo/comm/collectives.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::run_ranks;

std::vector<std::byte> bytes(const std::string& text) {
  std::vector<std::byte> result(text.size());
  if (!text.empty()) std::memcpy(result.data(), text.data(), text.size());
  return result;
}
// Another length for every rank; nothing for rank 1.
std::string blob_of(int rank) {
  return rank == 1 ? "" : std::string(static_cast<size_t>(rank * 37 + 1), static_cast<char>('a' + rank));
}

class Blobs : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(Transports, Blobs,
                         testing::Values(TransportKind::kInproc, TransportKind::kTcp, TransportKind::kShm),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(Blobs, GatherBringsEveryBlobToTheRootInRankOrder) {
  for (const int n : {1, 2, 4}) {
    run_ranks(n,
              [n](Group& group) {
                for (int root = 0; root < n; ++root) {
                  const auto got = gather(group, bytes(blob_of(group.rank())), Root{root}, in_seconds(20));
                  RONDO_ASSERT_OK(got);
                  ASSERT_EQ(got->size(), group.rank() == root ? static_cast<size_t>(n) : 0u);
                  for (size_t rank = 0; rank < got->size(); ++rank) {
                    EXPECT_EQ((*got)[rank], bytes(blob_of(static_cast<int>(rank))));
                  }
                }
              },
              {.transport = GetParam()});
  }
}

TEST_P(Blobs, ScatterGivesEveryRankItsOwn) {
  run_ranks(4,
            [](Group& group) {
              std::vector<std::vector<std::byte>> blobs;
              if (group.rank() == 2) {
                for (int rank = 0; rank < 4; ++rank) blobs.push_back(bytes(blob_of(rank)));
              }
              const auto got = scatter(group, blobs, Root{2}, in_seconds(20));
              RONDO_ASSERT_OK(got);
              EXPECT_EQ(*got, bytes(blob_of(group.rank())));
            },
            {.transport = GetParam()});
}

TEST_P(Blobs, ScatterWithoutABlobForEachRankIsRefusedOnAllRanksByName) {
  run_ranks(3,
            [](Group& group) {
              const std::vector<std::vector<std::byte>> two{bytes("one"), bytes("two")};
              const Status status = scatter(group, two, Root{1}, in_seconds(20), {.tag = "seeds"}).status();
              EXPECT_EQ(status.code(), Code::kInvalidArgument);
              EXPECT_NE(status.text().find("rank 1 must bring one blob for each of 3 ranks"), std::string::npos)
                  << status.text();
              EXPECT_EQ(status.where().rank, group.rank());
              EXPECT_EQ(status.where().tag, "seeds");
            },
            {.transport = GetParam()});
}

TEST(BlobArguments, ARootThatIsNoRankIsRefused) {
  run_ranks(2, [](Group& group) {
    EXPECT_EQ(gather(group, {}, Root{2}, in_seconds(5)).status().code(), Code::kInvalidArgument);
    EXPECT_EQ(scatter(group, {}, Root{-1}, in_seconds(5)).status().code(), Code::kInvalidArgument);
  });
}

}  // namespace
}  // namespace rondo::comm
