#include "comm/group/host_relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::comm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(HostRelay, TwoRanksOfAHostKnowTheirCounterpartsOnEachOther) {
  const Hosts hosts{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}};
  EXPECT_THAT(relay_peers(hosts, 0), ElementsAre(3, 6));
  EXPECT_THAT(relay_peers(hosts, 4), ElementsAre(1, 7));
  EXPECT_THAT(relay_peers(hosts, 2), IsEmpty());
}

TEST(HostRelay, TheOnlyRankOfAHostKnowsBothRelaysOfALargerOne) {
  const Hosts hosts{{0}, {1, 2, 3}, {4}};
  EXPECT_THAT(relay_peers(hosts, 0), ElementsAre(1, 2, 4));
  EXPECT_THAT(relay_peers(hosts, 2), ElementsAre(0, 4));
}

TEST(HostRelay, PeersKnowEachOther) {
  for (const Hosts& hosts : {Hosts{{0, 3}, {1, 2, 4}, {5}}, Hosts{{0, 1}, {2, 3}}, Hosts{{0, 1, 2}}}) {
    for (int rank = 0; rank < 6; ++rank) {
      for (const int peer : relay_peers(hosts, rank))
        EXPECT_THAT(relay_peers(hosts, peer), testing::Contains(rank)) << rank << " and " << peer;
    }
  }
}

}  // namespace
}  // namespace rondo::comm
