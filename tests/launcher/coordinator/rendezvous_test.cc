#include "launcher/coordinator/rendezvous.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

using comm::TimePoint;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr TimePoint kStart{};

Rendezvous of(int least, int most) {
  return Rendezvous({.least = least, .most = most, .last_call = kStart + seconds(30), .join_by = kStart + seconds(60)});
}

TEST(Rendezvous, PlacesHostsByNodeRankAndNumbersRanksHostByHost) {
  auto meeting = of(3, 3);
  ASSERT_TRUE(meeting.admit({.id = 1, .node_rank = 2, .ranks = 1, .host = "c"}).ok());
  ASSERT_TRUE(meeting.admit({.id = 2, .node_rank = {}, .ranks = 4, .host = "b"}).ok());
  EXPECT_FALSE(meeting.complete(kStart + seconds(59)));
  ASSERT_TRUE(meeting.admit({.id = 3, .node_rank = 0, .ranks = 2, .host = "a"}).ok());
  ASSERT_TRUE(meeting.complete(kStart));
  const auto members = meeting.members();
  ASSERT_EQ(members.size(), 3u);
  const std::vector<std::string> hosts{"a", "b", "c"};
  const std::vector<int> first{0, 2, 6};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(members[i].attendee.host, hosts[i]);
    EXPECT_EQ(members[i].place.node_rank, static_cast<int>(i));
    EXPECT_EQ(members[i].place.first_rank, first[i]);
    EXPECT_EQ(members[i].place.world_size, 7);
    EXPECT_EQ(members[i].place.nodes, 3);
  }
}

TEST(Rendezvous, NamesWhoIsAbsentAtTheDeadline) {
  auto meeting = of(4, 4);
  EXPECT_THAT(meeting.absent(), ElementsAre("4 hosts"));
  ASSERT_TRUE(meeting.admit({.id = 1, .node_rank = 0, .ranks = 1, .host = "a"}).ok());
  ASSERT_TRUE(meeting.admit({.id = 2, .node_rank = 2, .ranks = 1, .host = "c"}).ok());
  EXPECT_FALSE(meeting.expired(kStart + seconds(59)));
  EXPECT_TRUE(meeting.expired(kStart + seconds(60)));
  EXPECT_THAT(meeting.absent(), ElementsAre("node rank 1", "node rank 3"));
  EXPECT_EQ(meeting.describe(),
            "of 4 hosts here: a (node rank 0) and c (node rank 2); absent: node rank 1 and node rank 3");
  ASSERT_TRUE(meeting.admit({.id = 3, .node_rank = {}, .ranks = 1, .host = "x"}).ok());
  EXPECT_THAT(meeting.absent(), ElementsAre("1 more host")) << "nobody knows which node rank it would have";
}

TEST(Rendezvous, BeginsWithTheLeastAfterTheLastCall) {
  auto meeting = of(1, 3);
  ASSERT_TRUE(meeting.admit({.id = 1, .node_rank = {}, .ranks = 2, .host = "a"}).ok());
  EXPECT_EQ(meeting.next_moment(kStart), kStart + seconds(30));
  EXPECT_FALSE(meeting.complete(kStart + seconds(29)));
  EXPECT_TRUE(meeting.complete(kStart + seconds(30)));
  EXPECT_THAT(meeting.absent(), IsEmpty());
  EXPECT_EQ(meeting.members().at(0).place.world_size, 2);
}

TEST(Rendezvous, RefusesANodeRankTwiceOneTooHighAndAHostTooMany) {
  auto meeting = of(2, 2);
  ASSERT_TRUE(meeting.admit({.id = 1, .node_rank = 0, .ranks = 1, .host = "a"}).ok());
  EXPECT_THAT(meeting.admit({.id = 2, .node_rank = 0, .ranks = 1, .host = "b"}).message(),
              HasSubstr("--node-rank 0 of host b belongs to host a already"));
  EXPECT_THAT(meeting.admit({.id = 2, .node_rank = 2, .ranks = 1, .host = "b"}).message(),
              HasSubstr("node ranks go from 0 to 1"));
  ASSERT_TRUE(meeting.admit({.id = 2, .node_rank = {}, .ranks = 1, .host = "b"}).ok());
  const auto late = meeting.admit({.id = 3, .node_rank = {}, .ranks = 1, .host = "c"});
  EXPECT_EQ(late.code(), comm::Code::kResource);
  EXPECT_THAT(late.message(), HasSubstr("host c comes too late"));
}

TEST(Rendezvous, AHostThatLeftIsAbsentAgain) {
  auto meeting = of(2, 2);
  ASSERT_TRUE(meeting.admit({.id = 1, .node_rank = 0, .ranks = 1, .host = "a"}).ok());
  ASSERT_TRUE(meeting.admit({.id = 2, .node_rank = 1, .ranks = 1, .host = "b"}).ok());
  meeting.withdraw(2);
  EXPECT_FALSE(meeting.complete(kStart));
  EXPECT_THAT(meeting.absent(), ElementsAre("node rank 1"));
  EXPECT_TRUE(meeting.admit({.id = 3, .node_rank = 1, .ranks = 1, .host = "b"}).ok());
}

}  // namespace
}  // namespace rondo::launcher
