#include "comm/sim/sim_env.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <utility>
#include <vector>

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

struct Ends {
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Stream> dialer, acceptor;
};

Ends connect(SimWorld& world) {
  Ends ends;
  ends.listener = *world.env("b")->listen({"sim:b"});
  ends.dialer = *world.env("a")->dial({"sim:b"});
  ends.acceptor = ends.listener->accept();
  return ends;
}

/// How many bytes each call moved until 10,000 went through.
std::vector<size_t> trace(uint64_t seed) {
  auto world = SimWorld::make({.seed = seed, .most_bytes_per_call = 500, .would_block_percent = 20});
  Ends ends = connect(*world);
  std::vector<size_t> moved;
  std::vector<std::byte> sent(10'000), got;
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<std::byte>(i * 7 % 251);
  size_t at = 0;
  std::array<std::byte, 700> into;
  while (got.size() < sent.size()) {
    const IoResult out = ends.dialer->write(std::span(sent).subspan(at), {});
    at += out.bytes;
    const IoResult in = ends.acceptor->read(into);
    got.insert(got.end(), into.begin(), into.begin() + static_cast<std::ptrdiff_t>(in.bytes));
    moved.push_back(out.bytes);
    moved.push_back(in.bytes);
  }
  EXPECT_EQ(got, sent);
  return moved;
}

TEST(SimEnv, TheSameSeedGivesTheSameWorldAndAnotherSeedAnotherOne) {
  EXPECT_EQ(trace(1), trace(1));
  EXPECT_NE(trace(1), trace(2));
}

TEST(SimEnv, TheClockMovesOnlyWhenToldOrIdle) {
  auto world = SimWorld::make();
  auto env = world->env("a");
  const TimePoint start = env->now();
  EXPECT_EQ(env->now(), start);
  world->advance(3s);
  EXPECT_EQ(env->now() - start, 3s);
  env->idle({}, 20ms);
  EXPECT_EQ(world->now() - start, 3020ms);
}

TEST(SimEnv, BytesTakeTheirTime) {
  auto world = SimWorld::make({.would_block_percent = 0, .latency_min = 5ms, .latency_max = 5ms});
  Ends ends = connect(*world);
  const std::array<std::byte, 1> one{std::byte{42}};
  ASSERT_EQ(ends.dialer->write(one, {}).bytes, 1u);
  std::array<std::byte, 1> into{};
  world->advance(4ms);
  EXPECT_EQ(ends.acceptor->read(into).state, IoResult::State::kWouldBlock);
  world->advance(1ms);
  EXPECT_EQ(ends.acceptor->read(into).bytes, 1u);
  EXPECT_EQ(into[0], std::byte{42});
}

TEST(SimEnv, AClosedStreamIsReadToItsEndThenClosed) {
  auto world = SimWorld::make({.would_block_percent = 0});
  Ends ends = connect(*world);
  const std::array<std::byte, 1> one{std::byte{1}};
  ASSERT_EQ(ends.dialer->write(one, {}).bytes, 1u);
  ends.dialer.reset();
  std::array<std::byte, 4> into{};
  EXPECT_EQ(ends.acceptor->read(into).bytes, 1u);
  EXPECT_EQ(ends.acceptor->read(into).state, IoResult::State::kClosed);
  EXPECT_EQ(ends.acceptor->write(one, {}).error, EPIPE);
}

TEST(SimEnv, AKilledRankVanishesFromItsPortsAndStreams) {
  auto world = SimWorld::make({.would_block_percent = 0});
  Ends ends = connect(*world);
  world->kill("b");
  std::array<std::byte, 1> into{};
  EXPECT_EQ(ends.dialer->read(into).error, ECONNRESET);
  EXPECT_EQ((*world->env("a")->dial({"sim:b"}))->read(into).error, ECONNREFUSED);
}

TEST(SimEnv, AnAddressIsTakenUntilItsListenerGoes) {
  auto world = SimWorld::make();
  auto env = world->env("a");
  auto first = env->listen({"sim:x"});
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(env->listen({"sim:x"}).status().code(), Code::kIo);
  EXPECT_EQ(env->listen({"tcp:127.0.0.1:0"}).status().code(), Code::kInvalidArgument);
  first->reset();
  EXPECT_TRUE(env->listen({"sim:x"}).ok());
  EXPECT_NE((*env->listen({"sim:0"}))->address(), (*env->listen({"sim:0"}))->address());
}

}  // namespace
}  // namespace rondo::comm
