/// send and receive: between two ranks of a group, beside its collectives, over every transport.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "comm/watch/flight_recorder.h"
#include "rondo/comm/collectives.h"
#include "rondo/comm/flight.h"
#include "tests/support/fake_world.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;
using test::FakeWorld;
using test::run_endpoints;
using test::run_ranks;

// Distinct for every sender, message and index.
std::vector<int64_t> message(int sender, int number, int64_t count) {
  std::vector<int64_t> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    values[static_cast<size_t>(i)] = sender * int64_t{1'000'000'000} + number * 1'000'000 + i;
  return values;
}

// On a flag line, in a slot behind it, in pieces; over streams small, and of several segments.
constexpr int64_t kCounts[] = {0, 1, 5, 201, 70'001, 400'003};

class SendReceive : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(Pairs, SendReceive,
                         testing::Values(TransportKind::kInproc, TransportKind::kTcp, TransportKind::kShm),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(SendReceive, AllRanksOfARingSendAtOnceAndNoneWaitsForever) {
  for (const int n : {2, 3, 5}) {
    run_ranks(n,
              [n](Group& group) {
                const int next = (group.rank() + 1) % n;
                const int previous = (group.rank() + n - 1) % n;
                int number = 0;
                for (const int64_t count : kCounts) {
                  auto mine = message(group.rank(), number, count);
                  std::vector<int64_t> theirs(static_cast<size_t>(count), -1);
                  Work sending = send(group, view(mine), Peer{next}, {.tag = "ring"});
                  Work receiving = receive(group, view(theirs), Peer{previous}, {.tag = "ring"});
                  RONDO_ASSERT_OK(sending.wait(in_seconds(30)));
                  RONDO_ASSERT_OK(receiving.wait(in_seconds(30)));
                  ASSERT_EQ(theirs, message(previous, number, count)) << count << " elements";
                  ASSERT_EQ(mine, message(group.rank(), number, count));
                  ++number;
                }
              },
              {.transport = GetParam(), .group = {.segment_bytes = 64 * 1024}});
  }
}

TEST_P(SendReceive, ManyInFlightArriveInTheOrderOfTheCalls) {
  run_ranks(3,
            [](Group& group) {
              constexpr int kMessages = 20;
              if (group.rank() == 2) return;  // has no part in it
              const int peer = 1 - group.rank();
              std::vector<std::vector<int64_t>> mine, theirs;
              std::vector<Work> works;
              for (int number = 0; number < kMessages; ++number) {
                mine.push_back(message(group.rank(), number, number * 37));
                theirs.emplace_back(static_cast<size_t>(number) * 37);
              }
              for (int number = 0; number < kMessages; ++number) {
                works.push_back(send(group, view(mine[static_cast<size_t>(number)]), Peer{peer}));
                works.push_back(receive(group, view(theirs[static_cast<size_t>(number)]), Peer{peer}));
              }
              for (auto work = works.rbegin(); work != works.rend(); ++work)
                RONDO_ASSERT_OK(work->wait(in_seconds(30)));
              for (int number = 0; number < kMessages; ++number)
                ASSERT_EQ(theirs[static_cast<size_t>(number)], message(peer, number, number * 37));
            },
            {.transport = GetParam()});
}

TEST_P(SendReceive, CollectivesOfTheGroupGoOnBesideThemWithTheirOwnNumbers) {
  run_ranks(3,
            [](Group& group) {
              for (int round = 0; round < 10; ++round) {
                std::vector<int64_t> sum{group.rank() + round};
                auto passed = message(0, round, 3001);
                if (group.rank() != 0) passed.assign(passed.size(), -1);
                // Ranks 0 and 1 send between collectives; rank 2 knows nothing of it, and they wait in different
                // orders.
                Work transfer;
                Work before, after;
                if (group.rank() == 0) transfer = send(group, view(passed), Peer{1});
                before = all_reduce(group, view(sum), ReduceOp::kSum);
                if (group.rank() == 1) transfer = receive(group, view(passed), Peer{0});
                after = barrier(group);
                if (group.rank() == 0) RONDO_ASSERT_OK(transfer.wait(in_seconds(30)));
                RONDO_ASSERT_OK(before.wait(in_seconds(30)));
                RONDO_ASSERT_OK(after.wait(in_seconds(30)));
                RONDO_ASSERT_OK(transfer.wait(in_seconds(30)));
                EXPECT_EQ(sum[0], 3 + 3 * round);
                ASSERT_EQ(passed, group.rank() == 2 ? std::vector<int64_t>(3001, -1) : message(0, round, 3001));
              }
            },
            {.transport = GetParam()});
}

TEST_P(SendReceive, TwoThreadsOfARankSendAndReduceAtTheSameTime) {
  run_ranks(2,
            [](Group& group) {
              std::thread pairs([&group] {
                const int peer = 1 - group.rank();
                for (int round = 0; round < 50; ++round) {
                  auto mine = message(group.rank(), round, 501);
                  std::vector<int64_t> theirs(mine.size());
                  Work sending = send(group, view(mine), Peer{peer});
                  RONDO_ASSERT_OK(receive(group, view(theirs), Peer{peer}).wait(in_seconds(30)));
                  RONDO_ASSERT_OK(sending.wait(in_seconds(30)));
                  ASSERT_EQ(theirs, message(peer, round, 501));
                }
              });
              for (int round = 0; round < 50; ++round) {
                std::vector<int64_t> sum{group.rank() + round};
                EXPECT_TRUE(all_reduce(group, view(sum), ReduceOp::kSum).wait(in_seconds(30)).ok());
                EXPECT_EQ(sum[0], 2 * round + 1);
              }
              pairs.join();
            },
            {.transport = GetParam()});
}

TEST_P(SendReceive, InASubgroupTheyNameItsRanksAndErrorsThoseOfTheJob) {
  run_ranks(4,
            [](Group& world) {
              auto half = world.split({.color = world.rank() % 2, .options = {.name = "half"}}, in_seconds(30));
              RONDO_ASSERT_OK(half);
              std::vector<int64_t> value{world.rank()};
              if (half->rank() == 0) RONDO_ASSERT_OK(send(*half, view(value), Peer{1}).wait(in_seconds(30)));
              if (half->rank() == 1) {
                RONDO_ASSERT_OK(receive(*half, view(value), Peer{0}).wait(in_seconds(30)));
                EXPECT_EQ(value[0], world.rank() % 2);
              }
              RONDO_ASSERT_OK(barrier(world).wait(in_seconds(30)));
              // The two halves are independent, as their pairs are.
              std::vector<double> other{0, 0};
              Work wrong = half->rank() == 0 ? send(*half, view(value), Peer{1}) : receive(*half, view(other), Peer{0});
              const Status status = wrong.wait(in_seconds(30));
              EXPECT_EQ(status.code(), Code::kMismatch) << status.text();
              EXPECT_EQ(status.where().rank, world.rank());
              EXPECT_EQ(status.where().peer, (world.rank() + 2) % 4) << status.text();
            },
            {.transport = GetParam()});
}

TEST_P(SendReceive, EndsThatDifferHearBothDescriptionsAndOthersToo) {
  struct Difference {
    std::string tag;
    int64_t count;
    DType type;
    std::string text;
  };
  const Difference differences[] = {{"same", 6, DType::kInt32, "receive of 6 int32, tag \"same\", sequence 1"},
                                    {"same", 5, DType::kFloat32, "receive of 5 float32, tag \"same\", sequence 1"},
                                    {"other", 5, DType::kInt32, "receive of 5 int32, tag \"other\", sequence 1"}};
  for (const Difference& difference : differences) {
    run_ranks(
        3,
        [&](Group& group) {
          std::vector<int32_t> values(6, 7);
          if (group.rank() == 0) {
            RONDO_ASSERT_OK(send(group, {values.data(), 5, DType::kInt32}, Peer{1}).wait(in_seconds(30)));
          } else if (group.rank() == 1) {
            RONDO_ASSERT_OK(receive(group, {values.data(), 5, DType::kInt32}, Peer{0}).wait(in_seconds(30)));
          }
          Work work;
          if (group.rank() == 0) {
            work = send(group, {values.data(), 5, DType::kInt32}, Peer{1}, {.tag = "same"});
          } else if (group.rank() == 1) {
            work = receive(group, {values.data(), difference.count, difference.type}, Peer{0}, {.tag = difference.tag});
          } else {
            work = barrier(group);
          }
          const Status status = work.wait(in_seconds(30));
          EXPECT_EQ(status.code(), Code::kMismatch) << status.text();
          const std::string text = status.text();
          EXPECT_NE(text.find("rank 0 calls send of 5 int32, tag \"same\", sequence 1"), std::string::npos) << text;
          EXPECT_NE(text.find("rank 1 calls " + difference.text), std::string::npos) << text;
          if (group.rank() < 2) {
            EXPECT_EQ(status.where().peer, 1 - group.rank());
            EXPECT_EQ(status.where().operation, group.rank() == 0 ? "send" : "receive");
          }
          EXPECT_EQ(send(group, view(values), Peer{(group.rank() + 1) % 3}).status().code(), Code::kMismatch);
        },
        {.transport = GetParam()});
  }
}

TEST_P(SendReceive, AReceiverThatNeverCallsIsNamedWhenTheTimeoutEndsTheGroup) {
  run_ranks(3,
            [](Group& group) {
              std::vector<int32_t> values(3, group.rank());
              Work work = group.rank() == 0 ? send(group, view(values), Peer{1}) : Work();
              if (group.rank() == 2) work = barrier(group);
              if (group.rank() == 1) {
                // Somewhere else, until it hears of it.
                Work never = receive(group, view(values), Peer{2});
                EXPECT_EQ(never.wait(in_seconds(30)).code(), Code::kTimeout);
                return;
              }
              const Status status = work.wait(in_seconds(30));
              EXPECT_EQ(status.code(), Code::kTimeout) << status.text();
              if (group.rank() == 0 && status.text().find("said by") == std::string::npos) {
                EXPECT_EQ(status.where().peer, 1) << status.text();
                EXPECT_NE(status.text().find("rank 0 waits for rank 1"), std::string::npos) << status.text();
              }
            },
            {.transport = GetParam(), .group = {.operation_timeout = 700ms}});
}

TEST_P(SendReceive, AReceiverThatLeftTheJobIsNamedAtOnce) {
  run_endpoints(2,
                [](Endpoint& endpoint) {
                  auto group = Group::create(endpoint, {}, in_seconds(30));
                  RONDO_ASSERT_OK(group);
                  if (endpoint.at().rank == 1) {
                    RONDO_ASSERT_OK(endpoint.close(in_seconds(30)));
                    return;
                  }
                  std::vector<float> values(10, 1);
                  const Status status = send(*group, view(values), Peer{1}).wait(in_seconds(20));
                  EXPECT_TRUE(status.code() == Code::kClosed || status.code() == Code::kPeerLost) << status.text();
                  EXPECT_EQ(status.where().peer, 1) << status.text();
                  EXPECT_EQ(status.where().operation, "send");
                },
                {.transport = GetParam()});
}

TEST_P(SendReceive, AnAbortAndDroppedWorkOfOneEndThoseOfAll) {
  for (const bool drops : {false, true}) {
    run_ranks(2,
              [drops](Group& group) {
                // Nobody receives.
                std::vector<int64_t> values(100'000, group.rank());
                Work work = send(group, view(values), Peer{1 - group.rank()});
                if (group.rank() == 0) {
                  if (!drops) group.abort("enough");
                  if (drops) work = Work();
                  EXPECT_EQ(barrier(group).wait(in_seconds(30)).code(), Code::kAborted);
                } else {
                  const Status status = work.wait(in_seconds(30));
                  EXPECT_EQ(status.code(), Code::kAborted) << status.text();
                  EXPECT_EQ(status.where().peer, 0) << status.text();
                }
              },
              {.transport = GetParam()});
  }
}

TEST_P(SendReceive, ASenderThatIsKilledIsNamed) {
  const int n = 3;
  FakeWorld world(n, {.transport = GetParam(), .sim = {.most_bytes_per_call = 512}});
  auto groups = world.form({.segment_bytes = 4096});
  auto sent = message(2, 0, 400'003);
  std::vector<int64_t> received(sent.size());
  std::vector<Work> works;
  works.push_back(receive(groups[0], view(received), Peer{2}));
  works.push_back(barrier(groups[1]));
  works.push_back(send(groups[2], view(sent), Peer{0}));
  int turns = 0;
  ASSERT_TRUE(world.run([&](size_t rank) {
    if (rank == 2 && ++turns == 3) world.kill(2);
    return world.go_on(rank, works[rank]);
  }));
  for (const size_t rank : {0, 1}) {
    EXPECT_EQ(works[rank].status().code(), Code::kPeerLost) << works[rank].status().text();
    EXPECT_EQ(works[rank].status().where().peer, 2) << works[rank].status().text();
  }
  EXPECT_EQ(works[0].status().where().operation, "receive");
}

TEST(SendReceiveArguments, AreChecked) {
  run_ranks(2, [](Group& group) {
    std::vector<float> values(3);
    for (const int peer : {-1, 2, group.rank()}) {
      const Status status = send(group, view(values), Peer{peer}, {.tag = "x"}).status();
      EXPECT_EQ(status.code(), Code::kInvalidArgument);
      EXPECT_NE(status.text().find("rank " + std::to_string(peer)), std::string::npos) << status.text();
      EXPECT_EQ(status.where().operation, "send");
    }
    EXPECT_EQ(receive(group, {nullptr, 3, DType::kFloat32}, Peer{1 - group.rank()}).status().code(),
              Code::kInvalidArgument);
    Group none;
    EXPECT_EQ(receive(none, view(values), Peer{0}).status().code(), Code::kInvalidArgument);
    RONDO_ASSERT_OK(group.close(in_seconds(30)));
    EXPECT_EQ(send(group, view(values), Peer{1 - group.rank()}).status().code(), Code::kClosed);
  });
}

TEST(SendReceiveFlight, RecordsOneTransferAtBothEndsInAGroupOfTheTwo) {
  const auto env = real_env();
  const auto fabric = make_inproc_fabric(3);
  RONDO_ASSERT_OK(fabric);
  const auto store = in_process_store();
  std::vector<std::shared_ptr<FlightRecorder>> recorders;
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 3; ++rank) {
    auto recorder = open_flight_recorder({.at = {.rank = rank, .world_size = 3}});
    RONDO_ASSERT_OK(recorder);
    recorders.push_back(*recorder);
  }
  for (int rank = 0; rank < 3; ++rank) {
    ranks.emplace_back([&, rank] {
      auto endpoint = Endpoint::create({.at = {.rank = rank, .world_size = 3},
                                        .env = env,
                                        .store = store,
                                        .transport = TransportKind::kInproc,
                                        .fabric = *fabric,
                                        .flight = recorders[static_cast<size_t>(rank)]});
      RONDO_ASSERT_OK(endpoint);
      auto group = Group::create(*endpoint, {}, in_seconds(30));
      RONDO_ASSERT_OK(group);
      std::vector<float> values(9, 1);
      if (rank == 1) RONDO_ASSERT_OK(send(*group, view(values), Peer{2}, {.tag = "layer 3"}).wait(in_seconds(30)));
      if (rank == 2) RONDO_ASSERT_OK(receive(*group, view(values), Peer{1}, {.tag = "layer 3"}).wait(in_seconds(30)));
      RONDO_ASSERT_OK(barrier(*group).wait(in_seconds(30)));
      RONDO_ASSERT_OK(endpoint->close(in_seconds(30)));
    });
  }
  for (auto& rank : ranks) rank.join();
  for (const size_t rank : {1, 2}) {
    const auto flight = read_flight(recorders[rank]->bytes());
    RONDO_ASSERT_OK(flight);
    ASSERT_EQ(flight->groups.size(), 2u);
    EXPECT_EQ(flight->groups[0].called, 1u);  // the barrier: a transfer is no collective of the group
    EXPECT_EQ(flight->groups[1].name, "world, rank 1 to rank 2");
    EXPECT_EQ(flight->groups[1].at.rank, static_cast<int>(rank) - 1);
    EXPECT_EQ(flight->groups[1].at.world_size, 2);
    ASSERT_EQ(flight->records.size(), 2u);
    EXPECT_EQ(flight->records[0].group, flight->groups[1].id);
    EXPECT_EQ(flight->records[0].describe(), "send of 9 float32, tag \"layer 3\"");
    EXPECT_EQ(flight->records[0].state, FlightState::kFinished);
  }
}

}  // namespace
}  // namespace rondo::comm
