#include "launcher/agent/event_loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <vector>

namespace rondo::launcher {
namespace {

using std::chrono::seconds;

class EventLoopTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(loop_.open().ok());
    for (Pipe& pipe : pipes_) {
      auto made = make_pipe();
      ASSERT_TRUE(made.ok());
      pipe = std::move(*made);
    }
  }
  int reader(size_t i) const { return pipes_[i].read_end.get(); }
  void send(size_t i) const { ASSERT_TRUE(write_all(pipes_[i].write_end, "x").ok()); }
  void take(size_t i) {
    char byte = 0;
    ASSERT_EQ(::read(reader(i), &byte, 1), 1);
    calls_.push_back(comm::Clock::now());
  }
  void turn_until(size_t calls) {
    const auto deadline = comm::in_seconds(20);
    while (calls_.size() < calls && !deadline.passed(comm::Clock::now())) loop_.turn(seconds(1));
    ASSERT_EQ(calls_.size(), calls);
  }

  EventLoop loop_;
  std::array<Pipe, 2> pipes_;
  std::vector<comm::TimePoint> calls_;
};

TEST_F(EventLoopTest, PatientWatchersAreCalledTogetherAndNotMoreOftenThanThat) {
  for (const size_t i : {0U, 1U}) ASSERT_TRUE(loop_.watch_patiently(reader(i), [this, i] { take(i); }).ok());
  send(0);
  send(1);
  loop_.turn(seconds(10));
  ASSERT_EQ(calls_.size(), 2U) << "what was quiet is looked at at once";
  for (size_t round = 2; round <= 4; ++round) {
    send(0);
    turn_until(round + 1);
    EXPECT_GE(calls_[round] - calls_[round - 1], EventLoop::kPatience);
  }
}

TEST_F(EventLoopTest, HurryAndOrdinaryWatchersDoNotWait) {
  ASSERT_TRUE(loop_.watch_patiently(reader(0), [this] { take(0); }).ok());
  send(0);
  turn_until(1);
  for (size_t round = 2; round <= 50; ++round) {
    send(0);
    loop_.hurry();
    loop_.turn({});
    ASSERT_EQ(calls_.size(), round);
  }
  ASSERT_TRUE(loop_.watch(reader(1), [this] { take(1); }).ok());
  send(1);
  loop_.turn({});
  EXPECT_EQ(calls_.size(), 51U);
}

TEST_F(EventLoopTest, WhatIsUnwatchedIsNotCalled) {
  ASSERT_TRUE(loop_.watch_patiently(reader(0), [this] { take(0); }).ok());
  ASSERT_TRUE(loop_.watch(reader(1), [this] { take(1); }).ok());
  loop_.unwatch(reader(0));
  loop_.unwatch(reader(1));
  send(0);
  send(1);
  loop_.turn({});
  EXPECT_TRUE(calls_.empty());
  ASSERT_TRUE(loop_.watch(reader(0), [this] { take(0); }).ok()) << "and can be watched again, in another way";
  loop_.turn({});
  EXPECT_EQ(calls_.size(), 1U);
}

}  // namespace
}  // namespace rondo::launcher
