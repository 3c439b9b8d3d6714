#include "trainer/observe/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include "proto/worker.pb.h"

namespace rondo::trainer {
namespace {

/// The agent's end: reads whole frames.
class Agent {
 public:
  Agent() {
    std::array<int, 2> pair{};
    ::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data());
    mine_ = pair[0];
    worker_ = pair[1];
  }
  ~Agent() { hang_up(); }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  int worker_descriptor() const { return worker_; }
  proto::WorkerMessage read() {
    const std::string head = read_bytes(4);
    uint32_t length = 0;
    for (size_t i = 0; i < 4; ++i) length |= uint32_t{static_cast<uint8_t>(head[i])} << (8 * i);
    proto::WorkerMessage message;
    EXPECT_TRUE(message.ParseFromString(read_bytes(length)));
    return message;
  }
  void hang_up() {
    if (mine_ >= 0) ::close(mine_);
    mine_ = -1;
  }

 private:
  std::string read_bytes(size_t count) {
    std::string bytes(count, '\0');
    for (size_t done = 0; done < count;) {
      const ssize_t part = ::read(mine_, bytes.data() + done, count - done);
      if (part <= 0) {
        ADD_FAILURE() << "the stream ended";
        return bytes;
      }
      done += static_cast<size_t>(part);
    }
    return bytes;
  }
  int mine_ = -1, worker_ = -1;
};

TEST(MessageSender, EveryKindArrivesWithItsFields) {
  Agent agent;
  MessageSender sender(agent.worker_descriptor());
  EXPECT_TRUE(sender.connected());
  sender.hello({.rank = 1, .program = "rondo-train", .torch_version = "2.11.0", .joined = "rank 1 of 2"});
  sender.progress({.epoch = 2,
                   .epochs = 3,
                   .step = 10,
                   .steps = 469,
                   .loss = 0.5,
                   .learning_rate = 0.1,
                   .samples_per_second = 4000,
                   .phase = "training"});
  sender.say("test accuracy: 90.87 % (9087 of 10000)");
  sender.failure({.code = "kPeerLost", .text = "rank 0 is gone", .culprit_rank = 0, .exit_code = 1});
  sender.goodbye(7);

  const auto hello = agent.read().hello();
  EXPECT_EQ(hello.rank(), 1);
  EXPECT_EQ(hello.pid(), ::getpid());
  EXPECT_EQ(hello.program(), "rondo-train");
  EXPECT_EQ(hello.torch_version(), "2.11.0");
  EXPECT_EQ(hello.joined(), "rank 1 of 2");
  const auto progress = agent.read().progress();
  EXPECT_EQ(progress.epoch(), 2);
  EXPECT_EQ(progress.epochs(), 3);
  EXPECT_EQ(progress.step(), 10);
  EXPECT_EQ(progress.steps(), 469);
  EXPECT_EQ(progress.loss(), 0.5);
  EXPECT_EQ(progress.learning_rate(), 0.1);
  EXPECT_EQ(progress.samples_per_second(), 4000);
  EXPECT_EQ(progress.phase(), "training");
  EXPECT_EQ(agent.read().say().line(), "test accuracy: 90.87 % (9087 of 10000)");
  const auto failure = agent.read().failure();
  EXPECT_EQ(failure.code(), "kPeerLost");
  EXPECT_EQ(failure.text(), "rank 0 is gone");
  EXPECT_EQ(failure.culprit_rank(), 0);
  EXPECT_EQ(failure.exit_code(), 1);
  EXPECT_EQ(agent.read().goodbye().exit_code(), 7);
}

TEST(MessageSender, WithoutAnAgentEverythingIsSilentlyNothing) {
  MessageSender sender(-1);
  EXPECT_FALSE(sender.connected());
  sender.say("nobody hears");
  MessageSender closed(987'654);  // no such descriptor
  closed.say("nobody hears");
  EXPECT_FALSE(closed.connected());
}

TEST(MessageSender, AnAgentThatLeftDoesNotKillTheWorker) {
  Agent agent;
  MessageSender sender(agent.worker_descriptor());
  agent.hang_up();
  for (int i = 0; i < 10; ++i) sender.say("into the void");  // SIGPIPE would end this test
  EXPECT_FALSE(sender.connected());
}

TEST(MessageSender, ADeafAgentDelaysProgressNotAtAllAndALineTwoSecondsOnce) {
  Agent agent;
  MessageSender sender(agent.worker_descriptor());
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 100'000; ++i) sender.progress({.phase = "training"});
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2)) << "progress is dropped, not waited for";
  for (int i = 0; i < 20; ++i) sender.say(std::string(60'000, 'x'));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_FALSE(sender.connected());
}

TEST(MessageSender, FramesOfSeveralThreadsAreNotTorn) {
  Agent agent;
  MessageSender sender(agent.worker_descriptor());
  constexpr int kThreads = 4, kLines = 500;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&sender, t] {
      for (int i = 0; i < kLines; ++i) sender.say(std::string(static_cast<size_t>(i), static_cast<char>('a' + t)));
    });
  }
  std::array<size_t, kThreads> next{};
  for (int i = 0; i < kThreads * kLines; ++i) {
    const std::string line = agent.read().say().line();
    if (line.empty()) continue;
    const auto t = static_cast<size_t>(line[0] - 'a');
    EXPECT_EQ(line, std::string(++next[t], line[0])) << "whole, and in its thread's order";
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace rondo::trainer
