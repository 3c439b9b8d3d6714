// Messages by MPI, over one that is fake: cut into frames, put together, checked, and left alone after a failure.
#include "comm/transport/mpi_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/comm/transport/fake_mpi.h"

namespace rondo::comm {
namespace {

using test::FakeMpi;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr size_t kPart = Mpi::kMostBytes - 80;  // of a message, in one frame

std::vector<std::byte> bytes_of(size_t count, int salt) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<std::byte>((i * 7 + i / 251 + static_cast<size_t>(salt)) % 251);
  return bytes;
}

/// Two ranks, 0 and 1 of the job, driven in turn by one thread.
struct Pair {
  FakeMpi fake;
  std::array<std::shared_ptr<Mpi>, 2> mpi;
  std::array<std::unique_ptr<Transport>, 2> ranks;

  explicit Pair(uint64_t group_of_rank_one = 77) {
    for (int rank = 0; rank < 2; ++rank) {
      auto started = Mpi::start(real_env(), FakeMpi::component(rank), {.rank = rank, .world_size = 2}, in_seconds(10));
      EXPECT_TRUE(started.ok()) << started.status().text();
      mpi[static_cast<size_t>(rank)] = *started;
      open(rank, rank == 0 ? 77 : group_of_rank_one);
    }
  }
  void open(int rank, uint64_t group) {
    auto made = make_mpi_transport(
        {.mpi = mpi[static_cast<size_t>(rank)], .group = group, .generation = 3, .job_ranks = {0, 1}, .rank = rank});
    EXPECT_TRUE(made.ok()) << made.status().text();
    ranks[static_cast<size_t>(rank)] = *std::move(made);
  }
  Transport& of(int rank) { return *ranks[static_cast<size_t>(rank)]; }
  void turn() {
    for (const auto& rank : ranks) EXPECT_TRUE(rank->progress({}).ok());
  }
  /// Rank 1 receives from rank 0; both go on meanwhile.
  Result<MessageHeader> receive(std::span<std::byte> into) {
    for (int look = 0; look < 1000; ++look) {
      const auto got = of(1).receive(0, into);
      RONDO_TRY(got);
      if (got->has_value()) return **got;
      turn();
    }
    return Status(Code::kTimeout, "nothing came");
  }
};

TEST(MpiTransport, BringsMessagesOfEveryLengthInOrder) {
  Pair pair;
  const std::vector<size_t> lengths{0, 1, 1000, kPart - 1, kPart, kPart + 1, 7 * kPart + 13};
  std::vector<std::vector<std::byte>> sent;
  for (const size_t length : lengths) sent.push_back(bytes_of(length, static_cast<int>(sent.size())));
  for (size_t i = 0; i < sent.size(); ++i) {
    const auto ticket = pair.of(0).send(1,
                                        {.kind = i == 0 ? MessageKind::kDescriptor : MessageKind::kPayload,
                                         .sequence = 40 + i,
                                         .segment = 5,
                                         .hop = 6,
                                         .weight = 1.5},
                                        sent[i]);
    ASSERT_TRUE(ticket.ok()) << ticket.status().text();
    EXPECT_EQ(*ticket, i + 1);
  }
  for (size_t i = 0; i < sent.size(); ++i) {
    std::vector<std::byte> into(sent[i].size());
    const auto header = pair.receive(into);
    ASSERT_TRUE(header.ok()) << i << ": " << header.status().text();
    EXPECT_EQ(header->kind, i == 0 ? MessageKind::kDescriptor : MessageKind::kPayload);
    EXPECT_EQ(header->sequence, 40 + i);
    EXPECT_EQ(header->segment, 5u);
    EXPECT_EQ(header->hop, 6u);
    EXPECT_EQ(header->weight, 1.5);
    EXPECT_TRUE(into == sent[i]) << "of " << sent[i].size() << " bytes";
  }
  pair.turn();
  EXPECT_EQ(pair.of(0).sends_done(1), sent.size());
}

TEST(MpiTransport, CountsWhatArrivedApartFromWhatItNeedsNoMore) {
  Pair pair;
  std::vector<std::byte> payload = bytes_of(2 * kPart, 1);
  const std::vector<std::byte> kept = payload;
  ASSERT_TRUE(pair.of(0).send(1, {}, payload).ok());
  std::ranges::fill(payload, std::byte{0});  // it has a copy
  EXPECT_EQ(pair.of(0).sends_released(1), 0u) << "MPI carries so much only while both sides call it";
  pair.turn();
  EXPECT_EQ(pair.of(0).sends_done(1), 0u) << "nobody has taken it";
  std::vector<std::byte> into(kept.size());
  ASSERT_TRUE(pair.receive(into).ok());
  EXPECT_TRUE(into == kept);
  pair.turn();
  EXPECT_EQ(pair.of(0).sends_done(1), 1u);
  EXPECT_EQ(pair.of(0).sends_released(1), 1u);

  ASSERT_TRUE(pair.of(0).send(1, {}, bytes_of(100, 2)).ok());
  EXPECT_EQ(pair.of(0).sends_released(1), 2u) << "so little goes by itself";
  EXPECT_EQ(pair.of(0).sends_done(1), 1u) << "nobody has taken it";
}

TEST(MpiTransport, DoesNotRunAheadOfAReceiverThatDoesNotLook) {
  Pair pair;
  const std::vector<std::byte> payload = bytes_of(50 * kPart, 2);
  ASSERT_TRUE(pair.of(0).send(1, {}, payload).ok());
  for (int look = 0; look < 100; ++look) EXPECT_TRUE(pair.of(0).progress({}).ok());
  EXPECT_LE(pair.fake.waiting(0), 4u);
  EXPECT_EQ(pair.of(0).sends_released(1), 0u);
}

TEST(MpiTransport, AWrongLengthIsAMismatch) {
  Pair pair;
  ASSERT_TRUE(pair.of(0).send(1, {.sequence = 9}, bytes_of(100, 3)).ok());
  std::vector<std::byte> into(99);
  const auto got = pair.receive(into);
  EXPECT_EQ(got.status().code(), Code::kMismatch);
  EXPECT_EQ(got.status().where().peer, 0);
  EXPECT_THAT(got.status().message(), HasSubstr("rank 0 sent a payload of 100 bytes (sequence 9)"));
  EXPECT_THAT(got.status().message(), HasSubstr("expects 99"));
}

TEST(MpiTransport, EveryDamagedByteIsSeen) {
  for (const size_t byte : {0, 10, 63, 64, 79, 80, 179}) {
    Pair pair;
    pair.fake.damage(byte);
    ASSERT_TRUE(pair.of(0).send(1, {}, bytes_of(100, 4)).ok());
    std::vector<std::byte> into(100);
    const auto got = pair.receive(into);
    EXPECT_EQ(got.status().code(), Code::kCorrupt) << "byte " << byte << ": " << got.status().text();
    EXPECT_EQ(got.status().where().peer, 0);
  }
}

TEST(MpiTransport, AMessageOfAnotherGroupIsNotTakenForOurs) {
  constexpr uint64_t kSameTag = 77 + 32765;  // see Mpi::reserve_tag()
  Pair pair(kSameTag);
  ASSERT_TRUE(pair.of(0).send(1, {}, bytes_of(8, 5)).ok());
  std::vector<std::byte> into(8);
  EXPECT_EQ(pair.receive(into).status().code(), Code::kCorrupt);
  const auto second = make_mpi_transport({.mpi = pair.mpi[0], .group = kSameTag, .job_ranks = {0, 1}, .rank = 0});
  EXPECT_EQ(second.status().code(), Code::kResource) << "two groups of one rank";
}

TEST(MpiTransport, AGoodbyeComesBehindTheMessages) {
  Pair pair;
  ASSERT_TRUE(pair.of(0).send(1, {}, bytes_of(8, 6)).ok());
  EXPECT_TRUE(pair.of(0).goodbye({}).is_pending()) << "its message is not taken yet";
  std::vector<std::byte> into(8);
  ASSERT_TRUE(pair.receive(into).ok());
  EXPECT_TRUE(pair.of(0).goodbye({}).ok());
  EXPECT_TRUE(pair.of(0).goodbye({}).ok()) << "and once only";
  const auto got = pair.receive(into);
  EXPECT_EQ(got.status().code(), Code::kClosed);
  EXPECT_THAT(got.status().message(), HasSubstr("rank 0 left in order"));
  EXPECT_EQ(pair.fake.waiting(0), 0u);
}

TEST(MpiTransport, TheCallersMemoryIsFreeWhenItIsGone) {
  Pair pair;
  pair.fake.freeze();
  {
    std::vector<std::byte> into(100), payload = bytes_of(100, 7);
    ASSERT_TRUE(pair.of(0).send(1, {}, payload).ok());
    EXPECT_FALSE(pair.of(1).receive(0, into)->has_value()) << "it was begun and never comes whole";
    for (auto& rank : pair.ranks) rank.reset();
    EXPECT_EQ(into, std::vector<std::byte>(100)) << "nothing is lent to MPI";
  }
  for (const auto& mpi : pair.mpi) EXPECT_TRUE(mpi->close(in_seconds(10), Mpi::Ending::kAlone).ok());
  EXPECT_EQ(pair.fake.finished(), 0) << "MPI_Finalize would wait for what never comes";
}

TEST(Mpi, IsFinishedByAllRanksTogether) {
  Pair pair;
  ASSERT_TRUE(pair.of(0).send(1, {}, bytes_of(8, 8)).ok());
  std::vector<std::byte> into(8);
  ASSERT_TRUE(pair.receive(into).ok());
  EXPECT_TRUE(pair.of(0).goodbye({}).ok());  // nobody takes it
  for (auto& rank : pair.ranks) rank.reset();
  std::thread other([&] { EXPECT_TRUE(pair.mpi[1]->close(in_seconds(20), Mpi::Ending::kTogether).ok()); });
  EXPECT_TRUE(pair.mpi[0]->close(in_seconds(20), Mpi::Ending::kTogether).ok());
  other.join();
  EXPECT_EQ(pair.fake.finished(), 2);
  EXPECT_EQ(pair.fake.waiting(0), 0u);
  Mpi::MessagePtr message = pair.mpi[0]->make_message();
  EXPECT_EQ(pair.mpi[0]->take(*message, {}).status().code(), Code::kClosed);
}

TEST(Mpi, NamesWhoDoesNotComeToTheEnd) {
  Pair pair;
  const Status late = pair.mpi[0]->close(after(20ms), Mpi::Ending::kTogether);
  EXPECT_EQ(late.code(), Code::kTimeout);
  EXPECT_EQ(late.where().peer, 1);
  EXPECT_THAT(late.message(), HasSubstr("rank 1 has not come to the end of MPI"));
  EXPECT_EQ(pair.fake.finished(), 0);
}

TEST(Mpi, WaitsForNobodyAtTheEndOnceTheJobFailed) {
  Pair pair;
  std::atomic<bool> failed{false};
  std::thread news([&] { failed = true; });
  const Status ended = pair.mpi[0]->close(in_seconds(600), Mpi::Ending::kTogether, [&] { return failed.load(); });
  news.join();
  EXPECT_EQ(ended.code(), Code::kAborted);
  EXPECT_THAT(ended.message(), HasSubstr("rank 1 has not come to the end of MPI, and the job failed"));
  EXPECT_EQ(pair.fake.finished(), 0);
}

TEST(Mpi, AJobThatFailsWhileItIsFinishedEndsAllTheSame) {
  static Pair& pair = *new Pair;  // each rank's thread stays inside MPI_Finalize until the process ends
  pair.fake.hold_finish();        // as where a rank dies before it comes there
  const auto failed = [&] { return pair.fake.finishing() == 2; };
  std::array<Status, 2> ended;
  std::thread other([&] { ended[1] = pair.mpi[1]->close(in_seconds(600), Mpi::Ending::kTogether, failed); });
  ended[0] = pair.mpi[0]->close(in_seconds(600), Mpi::Ending::kTogether, failed);
  other.join();
  for (const Status& status : ended) {
    EXPECT_EQ(status.code(), Code::kAborted);
    EXPECT_THAT(status.message(), HasSubstr("MPI_Finalize of Fake MPI 1.0"));
  }
  for (auto& rank : pair.ranks) rank.reset();
  for (auto& mpi : pair.mpi) mpi.reset();
  EXPECT_EQ(pair.fake.finishing(), 2);
}

TEST(Mpi, OfALauncherThatIsNoMpisSaysHowToStartTheRanks) {
  FakeMpi fake;
  fake.start_alone();
  const auto start = [](MpiFamily launcher) {
    return Mpi::start(real_env(), FakeMpi::component(1), {.rank = 1, .world_size = 2}, in_seconds(10), launcher);
  };
  const auto by_none = start(MpiFamily::kEither), by_mpirun = start(MpiFamily::kOpenMpi);
  ASSERT_FALSE(by_none.ok() || by_mpirun.ok());
  EXPECT_THAT(by_none.status().message(), HasSubstr("says that this process is alone"));
  EXPECT_THAT(by_none.status().message(), HasSubstr("srun with --mpi=pmix"));
  EXPECT_THAT(by_mpirun.status().message(), HasSubstr("name the right libmpi.so in RONDO_MPI_LIBRARY"));
}

TEST(Mpi, ThatPlacesARankElsewhereIsRefused) {
  const FakeMpi fake;
  const auto mpi = Mpi::start(real_env(), FakeMpi::component(0), {.rank = 1, .world_size = 2}, in_seconds(10));
  ASSERT_FALSE(mpi.ok());
  EXPECT_EQ(mpi.status().code(), Code::kMismatch);
  EXPECT_THAT(mpi.status().message(), HasSubstr("says that this is rank 0 of 2, its launcher's variables rank 1 of 2"));
}

}  // namespace
}  // namespace rondo::comm
