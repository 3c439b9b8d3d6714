#include "comm/transport/framed_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>

#include "tests/comm/transport/pair.h"

namespace rondo::comm {
namespace {

constexpr size_t kBudget = 1 << 20;

/// Passes bytes on, changed by `change(position in the stream, byte)`.
class ChangingStream final : public Stream {
 public:
  using Change = std::function<std::byte(size_t, std::byte)>;
  ChangingStream(std::unique_ptr<Stream> inner, Change change) : inner_(std::move(inner)), change_(std::move(change)) {}
  IoResult read(std::span<std::byte> into) override { return inner_->read(into); }
  IoResult write(std::span<const std::byte> head, std::span<const std::byte> body) override {
    std::vector<std::byte> all(head.begin(), head.end());
    all.insert(all.end(), body.begin(), body.end());
    for (size_t i = 0; i < all.size(); ++i) all[i] = change_(at_ + i, all[i]);
    const IoResult result = inner_->write(all, {});
    if (result.state == IoResult::State::kDone) at_ += result.bytes;
    return result;
  }
  void close() override { inner_->close(); }
  int handle() const override { return inner_->handle(); }

 private:
  std::unique_ptr<Stream> inner_;
  Change change_;
  size_t at_ = 0;
};

/// One end of a pair in memory that takes and gives everything at once and counts its writes.
class EagerStream final : public Stream {
 public:
  using Bytes = std::deque<std::byte>;
  EagerStream(Bytes& in, Bytes& out, int& writes) : in_(in), out_(out), writes_(writes) {}
  IoResult read(std::span<std::byte> into) override {
    if (in_.empty()) return {IoResult::State::kWouldBlock};
    const size_t count = std::min(into.size(), in_.size());
    const auto end = in_.begin() + static_cast<std::ptrdiff_t>(count);
    std::copy(in_.begin(), end, into.begin());
    in_.erase(in_.begin(), end);
    return {IoResult::State::kDone, count};
  }
  IoResult write(std::span<const std::byte> head, std::span<const std::byte> body) override {
    ++writes_;
    out_.insert(out_.end(), head.begin(), head.end());
    out_.insert(out_.end(), body.begin(), body.end());
    return {IoResult::State::kDone, head.size() + body.size()};
  }
  void close() override {}
  int handle() const override { return -1; }

 private:
  Bytes& in_;
  Bytes& out_;
  int& writes_;
};

/// Rank 0 (left) and rank 1 (right).
struct Pair {
  explicit Pair(uint64_t seed, ChangingStream::Change change = nullptr, SimOptions options = {}) {
    options.seed = seed;
    world = SimWorld::make(options);
    auto streams = connect_pair(*world);
    if (change) streams.dialer = std::make_unique<ChangingStream>(std::move(streams.dialer), std::move(change));
    left = std::make_unique<FramedStream>(std::move(streams.dialer), options_for(0, 1));
    right = std::make_unique<FramedStream>(std::move(streams.acceptor), options_for(1, 0));
  }
  static FramedStreamOptions options_for(int rank, int peer) {
    FramedStreamOptions options;
    options.peer_name = "rank " + std::to_string(peer);
    options.where = {.rank = rank, .peer = peer};
    options.group = 9;
    options.generation = 2;
    return options;
  }
  void turn() {
    (void)left->advance(kBudget);
    (void)right->advance(kBudget);
  }
  /// Turns until `done` says so; false when it never does.
  bool until(const std::function<bool()>& done, int most = 20'000) {
    for (int i = 0; i < most; ++i) {
      if (done()) return true;
      turn();
    }
    return done();
  }
  /// The next frame at `at`, turning until it is there.
  Result<std::optional<FrameHeader>> receive(FramedStream& at, std::span<std::byte> into) {
    for (int i = 0; i < 20'000; ++i) {
      auto result = at.receive(into);
      if (!result.ok() || result->has_value()) return result;
      turn();
    }
    return std::optional<FrameHeader>();
  }

  std::shared_ptr<SimWorld> world;
  std::unique_ptr<FramedStream> left, right;
};

FrameHeader payload_header(uint64_t sequence) {
  FrameHeader header;
  header.type = FrameType::kPayload;
  header.sequence = sequence;
  header.segment = static_cast<uint32_t>(sequence * 3);
  header.weight = static_cast<double>(sequence) / 2;
  return header;
}

const std::vector<size_t> kSizes{0, 1, 63, 64, 65, 4095, 4096, 4097, 70'001, 300'007};

TEST(FramedStream, FramesArriveInOrderAndWholeInBothDirections) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Pair pair(seed, nullptr, {.most_bytes_per_call = seed % 3 == 0 ? size_t{97} : size_t{100'000}});
    std::vector<std::vector<std::byte>> from_left, from_right;
    for (size_t size : kSizes) {
      from_left.push_back(pattern(0, size));
      from_right.push_back(pattern(1, size));
    }
    for (size_t i = 0; i < kSizes.size(); ++i) {
      ASSERT_EQ(*pair.left->send(payload_header(i), from_left[i]), i + 1);
      ASSERT_EQ(*pair.right->send(payload_header(i + 100), from_right[i]), i + 1);
    }
    for (size_t i = 0; i < kSizes.size(); ++i) {
      std::vector<std::byte> at_right(kSizes[i]), at_left(kSizes[i]);
      auto header = pair.receive(*pair.right, at_right);
      ASSERT_TRUE(header.ok() && header->has_value()) << header.status().text() << " size " << kSizes[i];
      EXPECT_EQ((*header)->sequence, i);
      EXPECT_EQ((*header)->segment, i * 3);
      EXPECT_EQ((*header)->weight, static_cast<double>(i) / 2);
      EXPECT_EQ(at_right, from_left[i]);
      header = pair.receive(*pair.left, at_left);
      ASSERT_TRUE(header.ok() && header->has_value()) << header.status().text() << " size " << kSizes[i];
      EXPECT_EQ((*header)->sequence, i + 100);
      EXPECT_EQ(at_left, from_right[i]);
    }
    EXPECT_TRUE(pair.until([&] { return pair.left->flushed() && pair.right->flushed(); }));
    EXPECT_EQ(pair.left->frames_acked(), kSizes.size());
    EXPECT_EQ(pair.left->resends(), 0u);
  }
}

TEST(FramedStream, ASendIsAcknowledgedWithoutAReceiveBeingPosted) {
  Pair pair(1);
  const auto data = pattern(0, 300'000);
  ASSERT_TRUE(pair.left->send(payload_header(1), data).ok());
  EXPECT_TRUE(pair.until([&] { return pair.left->frames_acked() == 1; }));
  ASSERT_TRUE(pair.right->peek().has_value());
  EXPECT_EQ(pair.right->peek()->length, data.size());
  std::vector<std::byte> into(data.size());
  const auto header = pair.right->receive(into);
  ASSERT_TRUE(header.ok() && header->has_value());
  EXPECT_EQ(into, data);
}

TEST(FramedStream, KeepsABoundedAmountForReceivesThatNobodyPosts) {
  Pair pair(1);
  const auto data = pattern(0, 1 << 20);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(pair.left->send(payload_header(1), data).ok());
  for (int i = 0; i < 5000; ++i) pair.turn();
  EXPECT_EQ(pair.left->frames_acked(), 4u);
  std::vector<std::byte> into(data.size());
  for (int i = 0; i < 10; ++i) {
    const auto header = pair.receive(*pair.right, into);
    ASSERT_TRUE(header.ok() && header->has_value());
    ASSERT_EQ(into, data);
  }
}

/// Flips one payload byte of each of the first `times` transmissions of the first frame (100 payload bytes, after which
/// a second frame follows).
ChangingStream::Change flip_payload(int times) {
  // The n-th transmission starts right after the previous ones; only frame 1 is queued, so they follow each other.
  return [times](size_t at, std::byte byte) {
    const size_t transmission = at / (kFrameHeaderBytes + 100);
    const size_t inside = at % (kFrameHeaderBytes + 100);
    const bool hit = static_cast<int>(transmission) < times && inside == kFrameHeaderBytes + 17;
    return hit ? byte ^ std::byte{0x20} : byte;
  };
}

TEST(FramedStream, AFlippedPayloadByteIsSentAgainAndArrivesRight) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    for (int times : {1, 2}) {
      SCOPED_TRACE(seed);
      Pair pair(seed, flip_payload(times));
      const auto data = pattern(0, 100);
      ASSERT_TRUE(pair.left->send(payload_header(5), data).ok());
      std::vector<std::byte> into(data.size());
      const auto header = pair.receive(*pair.right, into);
      ASSERT_TRUE(header.ok() && header->has_value()) << header.status().text();
      EXPECT_EQ(into, data);
      EXPECT_EQ((*header)->sequence, 5u);
      EXPECT_EQ(pair.left->resends(), static_cast<uint64_t>(times));
      EXPECT_TRUE(pair.until([&] { return pair.left->frames_acked() == 1; }));
    }
  }
}

TEST(FramedStream, FramesBehindAFlippedOneArriveOnceAndInOrder) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    // One bad byte in the middle of the stream, wherever that falls; headers are spared by the size of the payloads.
    const size_t frame = kFrameHeaderBytes + 5000;
    const size_t bad = frame * 3 + kFrameHeaderBytes + seed * 100;
    Pair pair(seed, [bad](size_t at, std::byte byte) { return at == bad ? ~byte : byte; });
    std::vector<std::vector<std::byte>> sent;
    for (int i = 0; i < 10; ++i) sent.push_back(pattern(i, 5000));
    for (int i = 0; i < 10; ++i)
      ASSERT_TRUE(pair.left->send(payload_header(static_cast<uint64_t>(i)), sent[static_cast<size_t>(i)]).ok());
    for (size_t i = 0; i < 10; ++i) {
      std::vector<std::byte> into(5000);
      const auto header = pair.receive(*pair.right, into);
      ASSERT_TRUE(header.ok() && header->has_value()) << header.status().text();
      EXPECT_EQ((*header)->sequence, i);
      EXPECT_EQ(into, sent[i]);
    }
    EXPECT_GE(pair.left->resends(), 1u);
    EXPECT_TRUE(pair.until([&] { return pair.left->frames_acked() == 10; }));
  }
}

TEST(FramedStream, ThreeBadPayloadsInARowAreCorrupt) {
  Pair pair(1, flip_payload(3));
  const auto data = pattern(0, 100);
  ASSERT_TRUE(pair.left->send(payload_header(5), data).ok());
  std::vector<std::byte> into(data.size());
  const auto header = pair.receive(*pair.right, into);
  EXPECT_EQ(header.status().code(), Code::kCorrupt);
  EXPECT_NE(header.status().message().find("3 times in a row"), std::string::npos) << header.status().text();
  EXPECT_EQ(header.status().where().peer, 0);
  EXPECT_NE(header.status().message().find("rank 0"), std::string::npos);
}

TEST(FramedStream, AFlippedHeaderIsCorrupt) {
  for (size_t at = 0; at < kFrameHeaderBytes; ++at) {
    Pair pair(at + 1, [at](size_t position, std::byte byte) { return position == at ? byte ^ std::byte{4} : byte; });
    const auto data = pattern(0, 100);
    ASSERT_TRUE(pair.left->send(payload_header(5), data).ok());
    std::vector<std::byte> into(data.size());
    EXPECT_EQ(pair.receive(*pair.right, into).status().code(), Code::kCorrupt) << "byte " << at;
  }
}

TEST(FramedStream, APayloadOfAnotherLengthIsAMismatch) {
  Pair pair(1);
  const auto data = pattern(0, 100);
  ASSERT_TRUE(pair.left->send(payload_header(5), data).ok());
  std::vector<std::byte> into(101);
  const auto header = pair.receive(*pair.right, into);
  EXPECT_EQ(header.status().code(), Code::kMismatch);
  EXPECT_NE(header.status().message().find("100 bytes (sequence 5) where this side expects 101"), std::string::npos)
      << header.status().text();
}

TEST(FramedStream, AFrameOfAnotherGroupIsAMismatch) {
  auto world = SimWorld::make();
  auto streams = connect_pair(*world);
  auto other = Pair::options_for(0, 1);
  other.group = 10;
  FramedStream left(std::move(streams.dialer), other);
  FramedStream right(std::move(streams.acceptor), Pair::options_for(1, 0));
  ASSERT_TRUE(left.send(payload_header(1), {}).ok());
  Progress last = Progress::kBlocked;
  for (int i = 0; i < 1000 && last != Progress::kFailed; ++i) {
    (void)left.advance(kBudget);
    last = right.advance(kBudget);
  }
  EXPECT_EQ(right.status().code(), Code::kMismatch);
}

TEST(FramedStream, AfterAGoodbyeWhatWasSentStillArrivesThenThePeerHasLeft) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Pair pair(seed);
    const auto data = pattern(0, 9000);
    ASSERT_TRUE(pair.left->send(payload_header(1), data).ok());
    pair.left->send_goodbye();
    EXPECT_EQ(pair.left->send(payload_header(2), data).status().code(), Code::kClosed);
    ASSERT_TRUE(pair.until([&] { return pair.left->flushed(); }));
    pair.left.reset();
    for (int i = 0; i < 1000; ++i) ASSERT_NE(pair.right->advance(kBudget), Progress::kFailed);
    std::vector<std::byte> into(data.size());
    const auto header = pair.right->receive(into);
    ASSERT_TRUE(header.ok() && header->has_value()) << header.status().text();
    EXPECT_EQ(into, data);
    EXPECT_EQ(pair.right->receive(into).status().code(), Code::kClosed);
    EXPECT_EQ(pair.right->send(payload_header(2), data).status().code(), Code::kClosed);
  }
}

TEST(FramedStream, APeerThatDiesInTheMiddleOfAMessageIsNamed) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Pair pair(seed);
    const auto data = pattern(0, 500'000);
    ASSERT_TRUE(pair.left->send(payload_header(1), data).ok());
    std::vector<std::byte> into(data.size());
    for (int i = 0; i < 4; ++i) {
      (void)pair.right->receive(into);
      pair.turn();
    }
    pair.left.reset();
    const auto header = [&] {
      for (int i = 0; i < 1000 && pair.right->status().ok(); ++i) (void)pair.right->advance(kBudget);
      return pair.right->receive(into);
    }();
    EXPECT_EQ(header.status().code(), Code::kPeerLost) << header.status().text();
    EXPECT_NE(header.status().message().find("lost the connection to rank 0"), std::string::npos);
    EXPECT_EQ(header.status().where().peer, 0);
  }
}

TEST(FramedStream, ForgetsAPostedReceiveAndTouchesItNoMore) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    Pair pair(seed);
    const auto first = pattern(0, 200'000), second = pattern(1, 3000);
    ASSERT_TRUE(pair.left->send(payload_header(1), first).ok());
    ASSERT_TRUE(pair.left->send(payload_header(2), second).ok());
    {
      std::vector<std::byte> gone(first.size());
      (void)pair.right->receive(gone);
      for (uint64_t i = 0; i < seed % 10; ++i) pair.turn();
      gone = {};
      pair.right->forget();
    }
    for (int i = 0; i < 1000; ++i) pair.turn();
    ASSERT_TRUE(pair.right->peek().has_value());
    if (pair.right->peek()->sequence == 1) {  // nothing of it had come when it was forgotten
      std::vector<std::byte> into(first.size());
      const auto header = pair.receive(*pair.right, into);
      ASSERT_TRUE(header.ok() && header->has_value()) << header.status().text();
      EXPECT_EQ(into, first);
    }
    std::vector<std::byte> into(second.size());
    const auto header = pair.receive(*pair.right, into);
    ASSERT_TRUE(header.ok() && header->has_value()) << header.status().text();
    EXPECT_EQ(into, second);
  }
}

TEST(FramedStream, NoChangedByteEverReachesTheReceiver) {
  const std::vector<size_t> sizes{100, 0, 4000, 7, 9000, 300};
  size_t all = 0;
  for (size_t size : sizes) all += size + kFrameHeaderBytes;
  int repaired = 0, refused = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(seed);
    const size_t bad = seed * 7919 % all;
    const auto mask = static_cast<std::byte>(1 + seed * 31 % 255);
    Pair pair(seed, [=](size_t at, std::byte byte) { return at == bad ? byte ^ mask : byte; });
    std::vector<std::vector<std::byte>> sent;
    for (size_t size : sizes) sent.push_back(pattern(static_cast<int>(seed), size));
    for (size_t i = 0; i < sizes.size(); ++i) ASSERT_TRUE(pair.left->send(payload_header(i), sent[i]).ok());
    for (size_t i = 0; i < sizes.size(); ++i) {
      std::vector<std::byte> into(sizes[i]);
      const auto header = pair.receive(*pair.right, into);
      if (!header.ok()) {
        EXPECT_EQ(header.status().code(), Code::kCorrupt) << header.status().text();
        ++refused;
        break;
      }
      ASSERT_TRUE(header->has_value());
      EXPECT_EQ((*header)->sequence, i);
      ASSERT_EQ(into, sent[i]);
      repaired += i + 1 == sizes.size() ? 1 : 0;
    }
  }
  EXPECT_EQ(repaired + refused, 400);
  EXPECT_GT(repaired, 300);
  EXPECT_GT(refused, 5);
}

/// Over streams that never make it wait, so that each call and each write counts.
struct EagerPair {
  EagerStream::Bytes to_left, to_right;
  int left_writes = 0, right_writes = 0;
  std::unique_ptr<FramedStream> left = std::make_unique<FramedStream>(
      std::make_unique<EagerStream>(to_left, to_right, left_writes), Pair::options_for(0, 1));
  std::unique_ptr<FramedStream> right = std::make_unique<FramedStream>(
      std::make_unique<EagerStream>(to_right, to_left, right_writes), Pair::options_for(1, 0));
};

TEST(FramedStream, ASmallPayloadBelongsToItsSenderAgainOnceItIsWritten) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{128}, FramedStream::kCopiedBytes}) {
    SCOPED_TRACE(size);
    EagerPair pair;
    const auto sent = pattern(0, size);
    auto buffer = sent;
    ASSERT_EQ(*pair.left->send(payload_header(1), buffer), 1u);
    EXPECT_EQ(pair.left->frames_released(), 0u);
    (void)pair.left->advance(kBudget);
    EXPECT_EQ(pair.left->frames_released(), 1u);
    EXPECT_EQ(pair.left->frames_acked(), 0u);
    EXPECT_TRUE(pair.left->released());
    EXPECT_FALSE(pair.left->flushed());
    std::fill(buffer.begin(), buffer.end(), std::byte{0xEE});
    std::vector<std::byte> into(size);
    (void)pair.right->receive(into);
    (void)pair.right->advance(kBudget);
    const auto header = pair.right->receive(into);
    ASSERT_TRUE(header.ok() && header->has_value()) << header.status().text();
    EXPECT_EQ(into, sent);
  }
}

TEST(FramedStream, ALargePayloadIsBorrowedUntilItsAck) {
  EagerPair pair;
  const auto data = pattern(0, FramedStream::kCopiedBytes + 1), small = pattern(1, 100);
  ASSERT_TRUE(pair.left->send(payload_header(1), data).ok());
  ASSERT_TRUE(pair.left->send(payload_header(2), small).ok());
  (void)pair.left->advance(kBudget);
  EXPECT_EQ(pair.left->frames_released(), 0u);  // the small one too: releases come in order
  EXPECT_FALSE(pair.left->released());
  std::vector<std::byte> into(data.size());
  (void)pair.right->receive(into);
  (void)pair.right->advance(kBudget);  // finds the frame in its place ...
  (void)pair.right->advance(kBudget);  // ... and at the latest now says so
  (void)pair.left->advance(kBudget);
  EXPECT_GE(pair.left->frames_acked(), 1u);
  EXPECT_EQ(pair.left->frames_released(), 2u);
}

TEST(FramedStream, AReleasedPayloadIsSentAgainFromItsCopyWhenItWasDamaged) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Pair pair(seed, flip_payload(2));
    const auto sent = pattern(0, 100);
    auto buffer = sent;
    ASSERT_TRUE(pair.left->send(payload_header(5), buffer).ok());
    for (int i = 0; i < 1000 && pair.left->frames_released() == 0; ++i) (void)pair.left->advance(kBudget);
    ASSERT_EQ(pair.left->frames_released(), 1u);
    buffer.assign(buffer.size(), std::byte{0xEE});
    std::vector<std::byte> into(sent.size());
    const auto header = pair.receive(*pair.right, into);
    ASSERT_TRUE(header.ok() && header->has_value()) << header.status().text();
    EXPECT_EQ(into, sent);
    EXPECT_EQ(pair.left->resends(), 2u);
  }
}

TEST(FramedStream, SmallFramesThatWaitGoOutInOneWriteWithTheLargeOneBehindThem) {
  EagerPair pair;
  std::vector<std::vector<std::byte>> sent;
  for (const size_t size : {128, 0, 1000, 7, 300'000, 5}) sent.push_back(pattern(static_cast<int>(size), size));
  for (size_t i = 0; i < sent.size(); ++i) ASSERT_TRUE(pair.left->send(payload_header(i), sent[i]).ok());
  (void)pair.left->advance(kBudget);
  EXPECT_EQ(pair.left_writes, 2);  // five frames, and the last one
  for (size_t i = 0; i < sent.size(); ++i) {
    std::vector<std::byte> into(sent[i].size());
    auto header = pair.right->receive(into);
    for (int look = 0; look < 4 && header.ok() && !header->has_value(); ++look) {
      (void)pair.right->advance(kBudget);
      header = pair.right->receive(into);
    }
    ASSERT_TRUE(header.ok() && header->has_value()) << header.status().text() << " frame " << i;
    EXPECT_EQ((*header)->sequence, i);
    EXPECT_EQ(into, sent[i]);
  }
}

TEST(FramedStream, AcksOfSmallFramesRideOnTheFramesOfTheOtherDirection) {
  EagerPair pair;
  constexpr int kRounds = 100;
  std::vector<std::byte> into(100);
  for (int i = 0; i < kRounds; ++i) {
    for (FramedStream* from : {pair.left.get(), pair.right.get()}) {
      FramedStream& to = from == pair.left.get() ? *pair.right : *pair.left;
      const auto sent = pattern(i, into.size());
      ASSERT_TRUE(from->send(payload_header(static_cast<uint64_t>(i)), sent).ok());
      (void)from->advance(kBudget);
      (void)to.advance(kBudget);
      const auto header = to.receive(into);
      ASSERT_TRUE(header.ok() && header->has_value()) << header.status().text();
      ASSERT_EQ(into, sent);
    }
  }
  EXPECT_EQ(pair.left_writes, kRounds);
  EXPECT_EQ(pair.right_writes, kRounds);
  EXPECT_EQ(pair.left->frames_acked(), static_cast<uint64_t>(kRounds));
}

TEST(FramedStream, AnAckThatNothingCarriesGoesAloneAfterAFewIdleLooks) {
  EagerPair pair;
  ASSERT_TRUE(pair.left->send(payload_header(1), pattern(0, 100)).ok());
  (void)pair.left->advance(kBudget);
  (void)pair.right->advance(kBudget);
  EXPECT_EQ(pair.right_writes, 0);
  int looks = 0;
  while (pair.right_writes == 0 && looks < 100) {
    (void)pair.right->advance(kBudget);
    ++looks;
  }
  EXPECT_LE(looks, 16);
  (void)pair.left->advance(kBudget);
  EXPECT_EQ(pair.left->frames_acked(), 1u);
  EXPECT_TRUE(pair.right->flushed());
}

TEST(FramedStream, SeveralSmallFramesAreAcknowledgedAtOnce) {
  EagerPair pair;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(pair.left->send(payload_header(1), pattern(0, 100)).ok());
  (void)pair.left->advance(kBudget);
  (void)pair.right->advance(kBudget);
  (void)pair.left->advance(kBudget);
  EXPECT_EQ(pair.left->frames_acked(), 5u);
}

TEST(FramedStream, OneCallMovesABoundedNumberOfBytes) {
  auto world = SimWorld::make({.most_bytes_per_call = 64 << 20, .would_block_percent = 0, .stream_bytes = 64 << 20});
  auto streams = connect_pair(*world);
  FramedStream left(std::move(streams.dialer), Pair::options_for(0, 1));
  const auto data = pattern(0, 8 << 20);
  ASSERT_TRUE(left.send(payload_header(1), data).ok());
  constexpr size_t kSmallBudget = 100'000;
  std::vector<std::byte> into(16 << 20);
  size_t moved = 0;
  for (int call = 1; call <= 10; ++call) {
    EXPECT_EQ(left.advance(kSmallBudget), Progress::kProgressed);
    for (;;) {
      const IoResult result = streams.acceptor->read(into);
      if (result.state != IoResult::State::kDone) break;
      moved += result.bytes;
    }
    EXPECT_LE(moved, static_cast<size_t>(call) * (kSmallBudget + kFrameHeaderBytes));
  }
  EXPECT_GE(moved, 10 * kSmallBudget);
}

}  // namespace
}  // namespace rondo::comm
