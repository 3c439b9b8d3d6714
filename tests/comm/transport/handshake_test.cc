#include "comm/transport/handshake.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "tests/comm/transport/pair.h"

namespace rondo::comm {
namespace {

using Side = HandshakeOptions::Side;
using namespace std::chrono_literals;

/// A dialer (rank 0) and an acceptor (rank 1) over one simulated connection.
struct Meeting {
  explicit Meeting(uint64_t seed, size_t most_bytes = 1) {
    world = SimWorld::make({.seed = seed, .most_bytes_per_call = most_bytes, .would_block_percent = 30});
    dialer.side = Side::kDialer;
    acceptor.side = Side::kAcceptor;
    for (HandshakeOptions* side : {&dialer, &acceptor}) {
      side->mine.job = job_of(1);
      side->mine.generation = 4;
      side->secret = secret_of(1);
    }
    dialer.mine.group = 77;
    dialer.mine.from_rank = 0;
    dialer.mine.to_rank = 1;
    dialer.peer_address = {"sim:pair"};
    acceptor.mine.from_rank = 1;
  }

  /// Both sides in turn until neither moves any more.
  void run() {
    auto streams = connect_pair(*world);
    auto env = world->env("both");
    at_dialer = std::make_unique<Handshake>(*env, std::move(streams.dialer), dialer);
    at_acceptor = std::make_unique<Handshake>(*env, std::move(streams.acceptor), acceptor);
    const auto settled = [](Progress p) { return p == Progress::kDone || p == Progress::kFailed; };
    for (int turn = 0; turn < 100'000; ++turn) {
      dialer_ended = at_dialer->advance(world->now());
      acceptor_ended = at_acceptor->advance(world->now());
      if (settled(dialer_ended) && settled(acceptor_ended)) return;
    }
    ADD_FAILURE() << "the handshake did not come to an end";
  }

  void expect(Code at_the_dialer, Code at_the_acceptor) {
    run();
    EXPECT_EQ(at_dialer->status().code(), at_the_dialer) << at_dialer->status().text();
    EXPECT_EQ(at_acceptor->status().code(), at_the_acceptor) << at_acceptor->status().text();
    EXPECT_EQ(dialer_ended, at_the_dialer == Code::kOk ? Progress::kDone : Progress::kFailed);
    EXPECT_EQ(acceptor_ended, at_the_acceptor == Code::kOk ? Progress::kDone : Progress::kFailed);
  }

  std::shared_ptr<SimWorld> world;
  HandshakeOptions dialer, acceptor;
  std::unique_ptr<Handshake> at_dialer, at_acceptor;
  Progress dialer_ended = Progress::kBlocked, acceptor_ended = Progress::kBlocked;
};

bool says(const Status& status, const std::string& words) { return status.text().find(words) != std::string::npos; }

TEST(Handshake, SucceedsWithTheSameSecretWhateverTheReadsAndWrites) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    Meeting meeting(seed, seed % 2 == 0 ? 1 : 100);
    meeting.expect(Code::kOk, Code::kOk);
    EXPECT_EQ(meeting.at_acceptor->peer().from_rank, 0);
    EXPECT_EQ(meeting.at_acceptor->peer().group, 77u);
    EXPECT_EQ(meeting.at_dialer->peer().from_rank, 1);
    EXPECT_NE(meeting.at_acceptor->take_stream(), nullptr);
    EXPECT_NE(meeting.at_dialer->take_stream(), nullptr);
  }
}

TEST(Handshake, AWrongSecretIsRefusedAndTheDialerLearnsIt) {
  Meeting meeting(1);
  meeting.dialer.secret = secret_of(2);
  meeting.expect(Code::kUnauthenticated, Code::kUnauthenticated);
  EXPECT_TRUE(says(meeting.at_dialer->status(), "it probably does not hold this job's secret"));
  EXPECT_TRUE(says(meeting.at_dialer->status(), "rank 1 at sim:pair"));
  EXPECT_TRUE(says(meeting.at_acceptor->status(), "rank 0 did not prove"));
  EXPECT_EQ(meeting.at_dialer->status().where().peer, 1);
  EXPECT_EQ(meeting.at_acceptor->status().where().peer, 0);
  EXPECT_EQ(meeting.at_acceptor->take_stream(), nullptr);
}

TEST(Handshake, AnEmptySecretAuthenticatesNothing) {
  Meeting meeting(1);
  meeting.dialer.secret = meeting.acceptor.secret = Secret();
  meeting.expect(Code::kUnauthenticated, Code::kUnauthenticated);
  EXPECT_TRUE(says(meeting.at_dialer->status(), "holds no secret"));

  Meeting half(2);
  half.acceptor.secret = Secret();
  half.expect(Code::kPeerLost, Code::kUnauthenticated);  // closed before it said anything
}

TEST(Handshake, WhatDoesNotFitIsToldOnBothSides) {
  struct Case {
    std::string what;
    std::function<void(Meeting&)> change;
    std::string words;
  };
  const std::vector<Case> cases{
      {"job", [](Meeting& m) { m.dialer.mine.job = job_of(2); }, job_of(2).hex()},
      {"generation", [](Meeting& m) { m.dialer.mine.generation = 5; }, "generation"},
      {"role", [](Meeting& m) { m.dialer.mine.role = Role::kStore; }, "store"},
      {"rank", [](Meeting& m) { m.dialer.mine.to_rank = 2; }, "rank 2"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    Meeting meeting(7);
    c.change(meeting);
    meeting.expect(Code::kMismatch, Code::kMismatch);
    EXPECT_TRUE(says(meeting.at_dialer->status(), c.words)) << meeting.at_dialer->status().text();
    EXPECT_TRUE(says(meeting.at_acceptor->status(), c.words)) << meeting.at_acceptor->status().text();
  }
}

TEST(Handshake, WhoDialsALaterGenerationIsToldThatTheJobWentOnWithoutHim) {
  Meeting meeting(7);
  meeting.acceptor.mine.generation = 5;
  meeting.expect(Code::kEvicted, Code::kMismatch);
  EXPECT_TRUE(says(meeting.at_dialer->status(), "is in generation 5 of the job, this side in 4"));
}

TEST(Handshake, AnotherProtocolVersionIsToldOnBothSides) {
  Meeting meeting(7);
  meeting.acceptor.mine.version = 2;
  meeting.run();
  EXPECT_EQ(meeting.at_dialer->status().code(), Code::kUnsupported);
  EXPECT_TRUE(says(meeting.at_dialer->status(), "version 2"));

  Meeting other(8);
  other.dialer.mine.version = 3;
  other.run();
  EXPECT_EQ(other.at_acceptor->status().code(), Code::kUnsupported);
  EXPECT_TRUE(says(other.at_acceptor->status(), "version 3"));
  EXPECT_FALSE(other.at_dialer->status().ok());
}

TEST(Handshake, TheAcceptorsPolicyDecides) {
  Meeting meeting(3);
  meeting.acceptor.accept = [](const Hello& hello) {
    return hello.group == 77 ? Status(Code::kMismatch, "group 77 is not welcome") : Status();
  };
  meeting.expect(Code::kUnauthenticated, Code::kMismatch);
  EXPECT_TRUE(says(meeting.at_acceptor->status(), "group 77 is not welcome"));
}

/// One real side against bytes that the test writes.
struct AgainstBytes {
  explicit AgainstBytes(HandshakeOptions options, uint64_t seed = 1) {
    world = SimWorld::make({.seed = seed, .most_bytes_per_call = 64, .would_block_percent = 0});
    auto streams = connect_pair(*world);
    auto env = world->env("one");
    const bool dials = options.side == Side::kDialer;
    handshake = std::make_unique<Handshake>(*env, std::move(dials ? streams.dialer : streams.acceptor), options);
    raw = std::move(dials ? streams.acceptor : streams.dialer);
  }
  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const IoResult result = raw->write(bytes, {});
      if (result.state != IoResult::State::kDone) return;
      bytes = bytes.subspan(result.bytes);
    }
  }
  std::vector<std::byte> read_all() {
    std::vector<std::byte> all;
    std::array<std::byte, 256> part;
    for (;;) {
      const IoResult result = raw->read(part);
      if (result.state != IoResult::State::kDone) return all;
      all.insert(all.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(result.bytes));
    }
  }
  Progress go() { return handshake->advance(world->now()); }

  std::shared_ptr<SimWorld> world;
  std::unique_ptr<Handshake> handshake;
  std::unique_ptr<Stream> raw;
};

TEST(Handshake, GarbageIsRefusedWithoutAnAnswer) {
  AgainstBytes against(Meeting(1).acceptor);
  against.write(pattern(3, 4096));
  while (against.go() == Progress::kProgressed) {
  }
  EXPECT_EQ(against.handshake->status().code(), Code::kCorrupt) << against.handshake->status().text();
  EXPECT_TRUE(against.read_all().empty());
}

TEST(Handshake, OneWhoSendsTooSlowlyIsCutOffAfterTwoSeconds) {
  AgainstBytes against(Meeting(1).acceptor);
  const auto hello = encode(Meeting(1).dialer.mine);
  const TimePoint start = against.world->now();
  size_t sent = 0;
  while (against.go() != Progress::kFailed) {
    ASSERT_LT(against.world->now() - start, 3s);
    if (sent < 100) against.write(std::span(hello).subspan(sent++, 1));
    against.world->advance(100ms);
  }
  EXPECT_EQ(against.handshake->status().code(), Code::kTimeout) << against.handshake->status().text();
  EXPECT_GE(against.world->now() - start, 2s);
  EXPECT_TRUE(says(against.handshake->status(), "2.0 s"));
}

TEST(Handshake, RecordedBytesDoNotOpenASecondConnection) {
  // Record what a true dialer sends by standing between it and a true acceptor.
  Meeting meeting(5, 1000);
  auto left = connect_pair(*meeting.world, "left");
  auto right = connect_pair(*meeting.world, "right");
  auto env = meeting.world->env("both");
  Handshake at_dialer(*env, std::move(left.dialer), meeting.dialer);
  Handshake at_acceptor(*env, std::move(right.acceptor), meeting.acceptor);
  std::vector<std::byte> recorded;
  std::array<std::byte, 512> part;
  for (int turn = 0; turn < 1000; ++turn) {
    (void)at_dialer.advance(meeting.world->now());
    if (const IoResult r = left.acceptor->read(part); r.state == IoResult::State::kDone) {
      recorded.insert(recorded.end(), part.begin(), part.begin() + static_cast<std::ptrdiff_t>(r.bytes));
      for (size_t done = 0; done < r.bytes;)
        done += right.dialer->write(std::span(part).subspan(done, r.bytes - done), {}).bytes;
    }
    (void)at_acceptor.advance(meeting.world->now());
    if (const IoResult r = right.dialer->read(part); r.state == IoResult::State::kDone) {
      for (size_t done = 0; done < r.bytes;)
        done += left.acceptor->write(std::span(part).subspan(done, r.bytes - done), {}).bytes;
    }
  }
  ASSERT_EQ(at_acceptor.advance(meeting.world->now()), Progress::kDone);
  ASSERT_EQ(recorded.size(), kHelloBytes + 32);

  AgainstBytes again(meeting.acceptor, 99);
  again.write(recorded);
  while (again.go() == Progress::kProgressed) {
  }
  EXPECT_EQ(again.handshake->status().code(), Code::kUnauthenticated) << again.handshake->status().text();
}

TEST(Handshake, ADialersOwnBytesSentBackDoNotProveAnything) {
  HandshakeOptions options = Meeting(1).dialer;
  options.mine.to_rank = -1;  // as towards a store: no rank to compare
  AgainstBytes against(options);
  for (int turn = 0; turn < 100 && against.go() != Progress::kFailed; ++turn) against.write(against.read_all());
  EXPECT_EQ(against.handshake->status().code(), Code::kUnauthenticated) << against.handshake->status().text();
}

TEST(Handshake, ADialThatNobodyAnswersIsAPeerLost) {
  auto world = SimWorld::make();
  auto env = world->env("dialer");
  Handshake handshake(*env, std::move(*env->dial({"sim:nobody"})), Meeting(1).dialer);
  EXPECT_EQ(handshake.advance(world->now()), Progress::kFailed);
  EXPECT_EQ(handshake.status().code(), Code::kPeerLost);
  EXPECT_TRUE(says(handshake.status(), "Connection refused"));
}

}  // namespace
}  // namespace rondo::comm
