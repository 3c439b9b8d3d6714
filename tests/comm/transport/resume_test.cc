/// Connections that end before their time: by a reset, or by a frame header whose bytes changed.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/transport/framed_stream.h"
#include "comm/transport/tcp.h"
#include "tests/comm/transport/pair.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

const std::vector<size_t> kSizes{100, 0, 5000, 7, 64, 900, 0, 17'000, 1, 250};

FaultPlan one_fault(FaultKind kind, int rank, uint64_t block) {
  FaultPlan plan;
  plan.planned.push_back({.kind = kind, .rank = rank, .act = Act::kWrite, .nth = block, .sequence = 0});
  return plan;
}

std::shared_ptr<SimWorld> world_with(const std::shared_ptr<Injector>& injector, uint64_t seed) {
  return SimWorld::make({.seed = seed,
                         .most_bytes_per_call = 700,
                         .would_block_percent = 20,
                         .stream_bytes = 4096,
                         .latency_max = 300us,
                         .injector = injector});
}

/// Two framed streams that get another connection when each has noticed that the last one is gone.
struct Streams {
  explicit Streams(FaultPlan plan, uint64_t seed = 1)
      : injector(std::make_shared<Injector>(std::move(plan))), world(world_with(injector, seed)) {
    envs = {world->env("rank-0", 0), world->env("rank-1", 1)};
    listener = *envs[1]->listen({"sim:rank-1"});
    for (int rank : {0, 1}) {
      FramedStreamOptions options;
      options.peer_name = "rank " + std::to_string(1 - rank);
      options.where = {.rank = rank, .peer = 1 - rank};
      options.on_break = FramedStreamOptions::OnBreak::kWait;
      ends.push_back(std::make_unique<FramedStream>(options));
    }
  }
  void turn() {
    if (!ends[0]->attached()) ends[0]->attach(*envs[0]->dial({"sim:rank-1"}));
    if (!ends[1]->attached()) {
      if (auto stream = listener->accept()) ends[1]->attach(std::move(stream));
    }
    for (auto& end : ends) (void)end->advance(1 << 20);
    world->advance(100us);
  }

  std::shared_ptr<Injector> injector;
  std::shared_ptr<SimWorld> world;
  std::vector<std::shared_ptr<Env>> envs;
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<FramedStream>> ends;
};

/// Blocks of 64 bytes that one side of converse() writes: those of small frames one by one, and some of the large one.
std::vector<uint64_t> blocks_to_strike() {
  std::vector<uint64_t> blocks;
  for (uint64_t block = 0; block < 420; block += block < 115 || block >= 370 ? 1 : 15) blocks.push_back(block);
  return blocks;
}

/// Each side sends a message of every size, and must get the other's: once, whole and in order.
void converse(Streams& streams) {
  std::vector<std::vector<std::byte>> sent[2];
  for (size_t rank : {0, 1}) {
    for (size_t i = 0; i < kSizes.size(); ++i) {
      sent[rank].push_back(pattern(static_cast<int>(rank * 50 + i), kSizes[i]));
    }
    for (size_t i = 0; i < kSizes.size(); ++i) {
      FrameHeader header;
      header.sequence = i;
      ASSERT_TRUE(streams.ends[rank]->send(header, sent[rank][i]).ok());
    }
  }
  size_t got[2] = {0, 0};
  std::vector<std::byte> into[2] = {std::vector<std::byte>(kSizes[0]), std::vector<std::byte>(kSizes[0])};
  for (int round = 0; round < 20'000; ++round) {
    for (size_t rank : {0, 1}) {
      if (got[rank] == kSizes.size()) continue;
      const auto frame = streams.ends[rank]->receive(into[rank]);
      ASSERT_TRUE(frame.ok()) << frame.status().text();
      if (!frame->has_value()) continue;
      ASSERT_EQ((*frame)->sequence, got[rank]);
      ASSERT_EQ(into[rank], sent[1 - rank][got[rank]]);
      ++got[rank];
      if (got[rank] < kSizes.size()) into[rank].assign(kSizes[got[rank]], std::byte{0});
    }
    const bool all_acked =
        streams.ends[0]->frames_acked() == kSizes.size() && streams.ends[1]->frames_acked() == kSizes.size();
    if (got[0] == kSizes.size() && got[1] == kSizes.size() && all_acked) return;
    streams.turn();
  }
  FAIL() << got[0] << " and " << got[1] << " of " << kSizes.size() << " messages";
}

TEST(Resume, NothingIsLostOrComesTwiceWhereverAConnectionEnds) {
  uint64_t breaks = 0, drops = 0;
  for (const FaultKind kind : {FaultKind::kDrop, FaultKind::kFlip}) {
    for (int rank : {0, 1}) {
      for (const uint64_t block : blocks_to_strike()) {
        SCOPED_TRACE(std::string(name(kind)) + " at block " + std::to_string(block) + " of rank " +
                     std::to_string(rank));
        Streams streams(one_fault(kind, rank, block), block);
        converse(streams);
        if (testing::Test::HasFailure()) return;
        breaks += streams.ends[0]->breaks() + streams.ends[1]->breaks();
        drops += streams.injector->counts()[static_cast<size_t>(FaultKind::kDrop)];
      }
    }
  }
  EXPECT_GT(drops, 250u);
  EXPECT_GT(breaks, 2 * drops);  // both sides notice each, and flips of headers break too
}

TEST(Resume, NothingIsLostOrComesTwiceWhenConnectionsEndAgainAndAgain) {
  uint64_t most = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    FaultPlan plan{.seed = seed};
    plan.rate(FaultKind::kDrop) = 5;  // of 10,000 blocks, of which each side writes at least 420
    plan.rate(FaultKind::kFlip) = 5;
    Streams streams(plan, seed);
    converse(streams);
    if (testing::Test::HasFailure()) return;
    most = std::max(most, streams.ends[0]->breaks());
  }
  EXPECT_GE(most, 4u);
}

TEST(Resume, AConnectionThatEndsFiveTimesWithoutAFrameIsGivenUp) {
  FaultPlan plan;
  plan.rate(FaultKind::kDrop) = 10'000;
  Streams streams(plan);
  FrameHeader header;
  ASSERT_TRUE(streams.ends[0]->send(header, {}).ok());
  for (int round = 0; round < 1000; ++round) streams.turn();
  const Status status = streams.ends[0]->status();
  EXPECT_EQ(status.code(), Code::kPeerLost);
  EXPECT_NE(status.message().find("6 times in a row"), std::string::npos) << status.text();
  EXPECT_EQ(status.where().peer, 1);
}

TEST(Resume, WithoutAnotherConnectionItsOwnerEndsTheStream) {
  Streams streams(FaultPlan{});
  streams.turn();
  streams.world->kill("rank-1");
  (void)streams.ends[0]->advance(1000);
  EXPECT_EQ(streams.ends[0]->broken().code(), Code::kPeerLost);
  EXPECT_TRUE(streams.ends[0]->status().ok());
  EXPECT_FALSE(streams.ends[0]->attached());
  streams.ends[0]->give_up(streams.ends[0]->broken());
  EXPECT_EQ(streams.ends[0]->status().code(), Code::kPeerLost);
  EXPECT_TRUE(streams.ends[0]->broken().ok());
}

/// Ranks 0 (which dials) and 1 of a job, over tcp.
struct TwoRanks {
  explicit TwoRanks(FaultPlan plan, uint64_t seed = 1)
      : injector(std::make_shared<Injector>(std::move(plan))), world(world_with(injector, seed)) {
    std::vector<std::vector<Address>> addresses;
    for (int rank : {0, 1}) {
      envs.push_back(world->env("rank-" + std::to_string(rank), rank));
      TcpPortOptions options;
      options.rank = rank;
      options.job = job_of(1);
      options.secret = secret_of(1);
      options.listen = {{"sim:rank-" + std::to_string(rank)}};
      options.log = [this](LogLevel, std::string_view line) { log.emplace_back(line); };
      ports.push_back(*TcpPort::open(envs.back(), options));
      addresses.push_back(ports.back()->addresses());
    }
    for (int rank : {0, 1}) {
      TcpTransportOptions options;
      options.port = ports[static_cast<size_t>(rank)];
      options.job_ranks = {0, 1};
      options.rank = rank;
      options.addresses = addresses;
      transports.push_back(*make_tcp_transport(envs[static_cast<size_t>(rank)], options));
    }
  }
  /// Moves those ranks that are not asleep until `done`; false after a minute of virtual time.
  bool until(const std::function<bool()>& done, int asleep = -1) {
    const TimePoint end = world->now() + 60s;
    while (!done()) {
      if (world->now() > end) return false;
      for (int rank : {0, 1}) {
        if (rank != asleep && transports[static_cast<size_t>(rank)]) {
          (void)transports[static_cast<size_t>(rank)]->progress(world->now());
        }
      }
      world->advance(500us);
    }
    return true;
  }
  /// One message each way.
  void exchange(int round) {
    std::vector<std::byte> sent[2], into[2];
    bool got[2] = {false, false};
    for (int rank : {0, 1}) {
      sent[rank] = pattern(rank + round * 2, 700);
      into[rank].resize(700);
      ASSERT_TRUE(transports[static_cast<size_t>(rank)]->send(1 - rank, {}, sent[rank]).ok());
    }
    ASSERT_TRUE(until([&] {
      for (int rank : {0, 1}) {
        Transport& here = *transports[static_cast<size_t>(rank)];
        if (!got[rank]) {
          const auto frame = here.receive(1 - rank, into[rank]);
          EXPECT_TRUE(frame.ok()) << frame.status().text();
          got[rank] = !frame.ok() || frame->has_value();
        }
      }
      return got[0] && got[1];
    }));
    EXPECT_EQ(into[0], sent[1]);
    EXPECT_EQ(into[1], sent[0]);
  }
  void vanish(int rank) {
    transports[static_cast<size_t>(rank)].reset();
    ports[static_cast<size_t>(rank)].reset();
    world->kill("rank-" + std::to_string(rank));
  }

  std::shared_ptr<Injector> injector;
  std::shared_ptr<SimWorld> world;
  std::vector<std::string> log;
  std::vector<std::shared_ptr<Env>> envs;
  std::vector<std::shared_ptr<TcpPort>> ports;
  std::vector<std::unique_ptr<Transport>> transports;
};

TEST(TcpResume, ALinkGoesOnWhereverItsConnectionEnds) {
  for (const FaultKind kind : {FaultKind::kDrop, FaultKind::kFlip}) {
    for (int rank : {0, 1}) {
      for (uint64_t block = 3; block < 60; ++block) {  // behind the handshake
        SCOPED_TRACE(std::string(name(kind)) + " at block " + std::to_string(block) + " of rank " +
                     std::to_string(rank));
        TwoRanks ranks(one_fault(kind, rank, block), block);
        for (int round = 0; round < 5; ++round) ranks.exchange(round);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(TcpResume, WarnsAtTheFirstTenthAndHundredthFaultAndNamesRanksAddressesAndCount) {
  FaultPlan plan{.seed = 3};
  plan.rate(FaultKind::kFlip) = 25;  // of 10,000 blocks, of which a message has twelve
  plan.rate(FaultKind::kDrop) = 10;
  TwoRanks ranks(plan);
  for (int round = 0; round < 500; ++round) ranks.exchange(round);
  for (int rank : {0, 1}) {
    const auto links = ranks.transports[static_cast<size_t>(rank)]->links();
    ASSERT_EQ(links.size(), 1u);
    EXPECT_EQ(links[0].peer, 1 - rank);
    EXPECT_GT(links[0].bad_payloads, 5u);
    EXPECT_GT(links[0].reconnects, links[0].bad_headers);  // for those, and for dropped connections
    EXPECT_GT(links[0].frames_resent, 5u);
    const std::string names = "the link from rank " + std::to_string(1 - rank) + " at sim:rank-" +
                              std::to_string(1 - rank) + " to rank " + std::to_string(rank) + " at sim:rank-" +
                              std::to_string(rank) + " had ";
    std::vector<std::string> counts, expected;
    for (const std::string& line : ranks.log) {
      if (line.rfind(names, 0) == 0) counts.push_back(line.substr(names.size(), line.find(" fault") - names.size()));
    }
    const uint64_t faults = links[0].bad_payloads + links[0].reconnects;
    for (uint64_t count = 1; count <= faults; count *= 10) expected.push_back(std::to_string(count));
    EXPECT_GE(expected.size(), 2u);
    EXPECT_EQ(counts, expected);
  }
}

TEST(TcpResume, AByteThatChangesInAHandshakeOnlyCostsAnotherOne) {
  for (int rank : {0, 1}) {
    for (uint64_t block = 0; block < 3; ++block) {
      TwoRanks ranks(one_fault(FaultKind::kFlip, rank, block), block);
      ranks.exchange(0);
      EXPECT_EQ(ranks.injector->strikes_so_far().size(), 1u);
    }
  }
}

TEST(TcpResume, APeerThatIsBusyElsewhereIsWaitedForAfterABreak) {
  for (int busy : {0, 1}) {
    TwoRanks ranks(one_fault(FaultKind::kDrop, 1 - busy, 17));
    ranks.exchange(0);
    const auto data = pattern(1, 3000);
    Transport& other = *ranks.transports[static_cast<size_t>(1 - busy)];
    ASSERT_TRUE(other.send(busy, {}, data).ok());
    const TimePoint wake = ranks.world->now() + 25s;
    ASSERT_TRUE(ranks.until([&] { return ranks.world->now() > wake; }, busy));
    EXPECT_EQ(ranks.injector->strikes_so_far().size(), 1u);
    EXPECT_TRUE(other.progress(ranks.world->now()).ok());
    std::vector<std::byte> into(data.size());
    ASSERT_TRUE(ranks.until([&] {
      const auto got = ranks.transports[static_cast<size_t>(busy)]->receive(1 - busy, into);
      EXPECT_TRUE(got.ok()) << got.status().text();
      return !got.ok() || got->has_value();
    }));
    EXPECT_EQ(into, data);
  }
}

TEST(TcpResume, APeerWhoseProcessIsGoneIsLostAsSoonAsItsPortHasRefusedForAWhile) {
  for (int gone : {0, 1}) {
    TwoRanks ranks(FaultPlan{});
    ranks.exchange(0);
    ranks.vanish(gone);
    const TimePoint begin = ranks.world->now();
    Transport& left = *ranks.transports[static_cast<size_t>(1 - gone)];
    Status status;
    ASSERT_TRUE(ranks.until([&] {
      status = left.progress(ranks.world->now()).status();
      return !status.ok();
    }));
    EXPECT_EQ(status.code(), Code::kPeerLost) << status.text();
    EXPECT_EQ(status.where().peer, gone);
    EXPECT_NE(status.text().find("its process probably died"), std::string::npos) << status.text();
    EXPECT_GE(ranks.world->now() - begin, 200ms);
    EXPECT_LT(ranks.world->now() - begin, 600ms);
  }
}

TEST(TcpResume, ARankLeavesOnlyWhenItsLastAcknowledgementsHaveArrived) {
  // Rank 1 takes a message and leaves at once; whichever block of what it writes is lost with its connection, rank 0
  // learns that its message has arrived.
  int struck = 0;
  for (uint64_t block = 3; block < 8; ++block) {
    SCOPED_TRACE(block);
    TwoRanks ranks(one_fault(FaultKind::kDrop, 1, block), block);
    const auto data = pattern(0, 300);
    ASSERT_TRUE(ranks.transports[0]->send(1, {}, data).ok());
    std::vector<std::byte> into(data.size());
    bool got = false, left = false;
    ASSERT_TRUE(ranks.until([&] {
      if (!got) got = ranks.transports[1]->receive(0, into)->has_value();
      if (got && !left) left = !ranks.transports[1]->goodbye(ranks.world->now()).is_pending();
      if (left) ranks.transports[1].reset();
      return left && ranks.transports[0]->sends_done(1) == 1;
    }));
    struck += static_cast<int>(ranks.injector->strikes_so_far().size());
  }
  EXPECT_GE(struck, 2);
}

TEST(TcpResume, ARankThatLeavesDoesNotWaitForOneThatIsBusyOrGone) {
  enum class Fate { kBusy, kGone };
  for (const Fate fate : {Fate::kBusy, Fate::kGone}) {
    for (int other : {0, 1}) {
      TwoRanks ranks(FaultPlan{});
      ranks.exchange(0);
      ASSERT_TRUE(ranks.until(
          [&] { return ranks.transports[0]->sends_done(1) == 1 && ranks.transports[1]->sends_done(0) == 1; }));
      if (fate == Fate::kGone) ranks.world->kill("rank-" + std::to_string(other));
      const TimePoint begin = ranks.world->now();
      Transport& leaving = *ranks.transports[static_cast<size_t>(1 - other)];
      ASSERT_TRUE(ranks.until([&] { return !leaving.goodbye(ranks.world->now()).is_pending(); }, other));
      EXPECT_LE(ranks.world->now() - begin, 1100ms);
    }
  }
}

}  // namespace
}  // namespace rondo::comm
