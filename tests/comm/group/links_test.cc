/// The links of a group: made where and when they are needed; where frames are damaged on the way results are right,
/// and the links are counted and named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <mutex>
#include <string>
#include <vector>

#include "rondo/comm/collectives.h"
#include "tests/support/damaging_env.h"
#include "tests/support/descriptors.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::Damage;
using test::FramePart;
using testing::HasSubstr;

constexpr int kRanks = 3;
constexpr int kCalls = 100;
constexpr int kElements = 20'011;  // some payloads are copied, some are not

// Exact in float32.
float contribution(int rank, int index, int call) {
  return static_cast<float>((rank + 1) * 1000 + (index + call) % 97);
}
float sum_over_ranks(int index, int call) {
  return static_cast<float>(kRanks * (kRanks + 1) / 2 * 1000 + kRanks * ((index + call) % 97));
}

struct Lines {
  std::mutex mutex;
  std::vector<std::string> all;
  LogSink sink() {
    return [this](LogLevel level, std::string_view line) {
      const std::lock_guard lock(mutex);
      if (level == LogLevel::kWarning) all.emplace_back(line);
    };
  }
};

/// Damages every `nth` of the parts of one kind.
struct Every {
  FramePart part;
  Damage damage;
  uint64_t nth;
  std::atomic<uint64_t> seen{0};
  test::DamageChoice choice() {
    return [this](FramePart begun) {
      return begun == part && seen.fetch_add(1) % nth == nth - 1 ? damage : Damage::kNone;
    };
  }
  uint64_t damaged() const { return seen / nth; }
};

struct Outcome {
  std::vector<std::vector<LinkStatistics>> links{kRanks};  // by rank
  std::vector<std::string> warnings;
  LinkStatistics total;
};

/// Every call on every rank must give the right sums.
Outcome reduce_over(Every& every) {
  Outcome outcome;
  Lines lines;
  test::run_ranks(kRanks,
                  [&](Group& group) {
                    std::vector<float> values(kElements);
                    for (int call = 0; call < kCalls; ++call) {
                      for (int i = 0; i < kElements; ++i)
                        values[static_cast<size_t>(i)] = contribution(group.rank(), i, call);
                      RONDO_ASSERT_OK(all_reduce(group, view(values), ReduceOp::kSum).wait(in_seconds(20)));
                      for (int i = 0; i < kElements; ++i)
                        ASSERT_EQ(values[static_cast<size_t>(i)], sum_over_ranks(i, call))
                            << "call " << call << ", index " << i;
                    }
                    outcome.links[static_cast<size_t>(group.rank())] = group.links();
                  },
                  {.transport = TransportKind::kTcp,
                   .env = std::make_shared<test::DamagingEnv>(every.choice()),
                   .log = lines.sink()});
  outcome.warnings = lines.all;
  for (int rank = 0; rank < kRanks; ++rank) {
    for (const LinkStatistics& link : outcome.links[static_cast<size_t>(rank)]) {
      EXPECT_NE(link.peer, rank);
      EXPECT_THAT(link.address, HasSubstr("tcp:127.0.0.1:"));
      outcome.total.bad_payloads += link.bad_payloads;
      outcome.total.bad_headers += link.bad_headers;
      outcome.total.reconnects += link.reconnects;
      outcome.total.frames_resent += link.frames_resent;
    }
  }
  return outcome;
}

/// Each link with a fault was named: both ranks and both addresses.
void expect_every_bad_link_named(const Outcome& outcome) {
  for (int rank = 0; rank < kRanks; ++rank) {
    for (const LinkStatistics& link : outcome.links[static_cast<size_t>(rank)]) {
      if (link.bad_payloads + link.reconnects == 0) continue;
      const std::string words = "the link from rank " + std::to_string(link.peer) + " at " + link.address +
                                " to rank " + std::to_string(rank) + " at tcp:127.0.0.1:";
      EXPECT_THAT(outcome.warnings,
                  testing::Contains(testing::AllOf(HasSubstr(words), HasSubstr("had 1 fault so far"))));
    }
  }
}

TEST(Links, OfWhichOnePercentOfThePayloadsIsDamagedGiveRightResultsAndAreCountedAndNamed) {
  Every every{.part = FramePart::kPayload, .damage = Damage::kFlip, .nth = 100};
  const Outcome outcome = reduce_over(every);
  EXPECT_GT(every.damaged(), 5u);
  // One that is damaged while its sender is to start again anyway is dropped uncounted.
  EXPECT_GT(outcome.total.bad_payloads, every.damaged() / 2);
  EXPECT_LE(outcome.total.bad_payloads, every.damaged());
  EXPECT_GE(outcome.total.frames_resent, outcome.total.bad_payloads);
  EXPECT_EQ(outcome.total.bad_headers, 0u);
  EXPECT_EQ(outcome.total.reconnects, 0u);
  expect_every_bad_link_named(outcome);
}

TEST(Links, OfWhichOnePercentOfTheHeadersIsDamagedAreConnectedAgain) {
  Every every{.part = FramePart::kHeader, .damage = Damage::kFlip, .nth = 100};
  const Outcome outcome = reduce_over(every);
  EXPECT_GT(every.damaged(), 5u);
  EXPECT_GT(outcome.total.bad_headers, 5u);  // what follows one on its connection is never read
  EXPECT_LE(outcome.total.bad_headers, every.damaged());
  EXPECT_GT(outcome.total.reconnects, outcome.total.bad_headers);  // both ends count
  EXPECT_EQ(outcome.total.bad_payloads, 0u);
  expect_every_bad_link_named(outcome);
}

TEST(Links, WhoseConnectionsAreCutAreConnectedAgain) {
  Every every{.part = FramePart::kHeader, .damage = Damage::kCut, .nth = 100};
  const Outcome outcome = reduce_over(every);
  EXPECT_GT(every.damaged(), 5u);
  EXPECT_GT(outcome.total.reconnects, every.damaged());  // both ends count
  EXPECT_EQ(outcome.total.bad_payloads, 0u);
  EXPECT_EQ(outcome.total.bad_headers, 0u);
  expect_every_bad_link_named(outcome);
}

TEST(Links, ThatDamageEveryPayloadEndInAnErrorAndStayReadable) {
  Every every{.part = FramePart::kPayload, .damage = Damage::kFlip, .nth = 1};
  std::vector<Status> statuses(2);
  std::vector<std::vector<LinkStatistics>> links(2);
  test::run_ranks(2,
                  [&](Group& group) {
                    std::vector<float> values(kElements);
                    const auto rank = static_cast<size_t>(group.rank());
                    statuses[rank] = all_reduce(group, view(values), ReduceOp::kSum).wait(in_seconds(20));
                    links[rank] = group.links();
                  },
                  {.transport = TransportKind::kTcp, .env = std::make_shared<test::DamagingEnv>(every.choice())});
  uint64_t most = 0;
  for (int rank : {0, 1}) {
    const Status& status = statuses[static_cast<size_t>(rank)];
    EXPECT_EQ(status.code(), Code::kCorrupt) << status.text();
    EXPECT_THAT(status.text(), HasSubstr("failed its CRC32C 3 times in a row"));
    ASSERT_EQ(links[static_cast<size_t>(rank)].size(), 1u);
    most = std::max(most, links[static_cast<size_t>(rank)][0].bad_payloads);
  }
  EXPECT_EQ(most, 3u);
}

TEST(Links, OfARingAreMadeToTwoNeighboursWhenTheyAreFirstNeeded) {
  constexpr int kMany = 8;
  std::barrier together(kMany);
  size_t before = 0, after = 0;
  test::run_endpoints(kMany,
                      [&](Endpoint& endpoint) {
                        const Deadline deadline = in_seconds(60);
                        auto group = Group::create(endpoint, {.algorithm = "ring"}, deadline);
                        RONDO_ASSERT_OK(group);
                        EXPECT_TRUE(group->links().empty());
                        together.arrive_and_wait();
                        if (group->rank() == 0) before = test::open_descriptors();
                        together.arrive_and_wait();
                        std::vector<float> values(kElements, 1.0F);
                        EXPECT_TRUE(all_reduce(*group, view(values), ReduceOp::kSum).wait(deadline).ok());
                        EXPECT_EQ(values[0], kMany);
                        EXPECT_EQ(group->links().size(), 2u);
                        together.arrive_and_wait();
                        if (group->rank() == 0) after = test::open_descriptors();
                        together.arrive_and_wait();
                      },
                      {.transport = TransportKind::kTcp});
  EXPECT_EQ(after - before, 2u * kMany) << "a connection between neighbours, with two ends in this process";
}

TEST(Links, WithoutFaultsCountNothing) {
  test::run_ranks(
      2,
      [](Group& group) {
        EXPECT_TRUE(group.links().empty());  // nothing was said yet
        std::vector<float> values(kElements, 1.0F);
        RONDO_ASSERT_OK(all_reduce(group, view(values), ReduceOp::kSum).wait(in_seconds(20)));
        const auto links = group.links();
        ASSERT_EQ(links.size(), 1u);
        EXPECT_EQ(links[0].peer, 1 - group.rank());
        EXPECT_EQ(links[0].bad_payloads + links[0].bad_headers + links[0].reconnects + links[0].frames_resent, 0u);
      },
      {.transport = TransportKind::kTcp});
}

}  // namespace
}  // namespace rondo::comm
