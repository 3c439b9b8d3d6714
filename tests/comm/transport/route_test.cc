#include "comm/transport/route.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>

#include "comm/transport/tcp.h"
#include "rondo/comm/env.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

Secret secret_of(int number) {
  Digest bytes{};
  bytes.fill(std::byte(number));
  return Secret(bytes);
}

/// Rank 0 dials rank 1, of whom it is told several addresses.
class TwoRanks : public testing::Test {
 protected:
  TwoRanks() : ports_{open(0), open(1)} {}

  std::shared_ptr<TcpPort> open(int rank, std::vector<Address> listen = {{"tcp:127.0.0.1:0"}}) {
    auto port = TcpPort::open(env_, {.rank = rank, .secret = secret_of(1), .listen = std::move(listen)});
    EXPECT_TRUE(port.ok()) << port.status().text();
    return *port;
  }
  /// An address that nobody listens on any more.
  Address abandoned() { return (*env_->listen({"tcp:127.0.0.1:0"}))->address(); }
  Address real() { return ports_[1]->addresses().front(); }

  /// Sends from 0 to 1 and takes it there; meanwhile `also` happens again and again. Ok, or why it failed.
  Status send_over(
      const std::vector<Address>& told, Duration deadline, const std::function<void()>& also = [] {}) {
    std::array<std::unique_ptr<Transport>, 2> ranks;
    for (int rank : {0, 1}) {
      auto made = make_tcp_transport(env_, {.port = ports_[static_cast<size_t>(rank)],
                                            .group = 7,
                                            .job_ranks = {0, 1},
                                            .rank = rank,
                                            .addresses = {ports_[0]->addresses(), told},
                                            .connect_timeout = 300ms});
      if (!made.ok()) return made.status();
      ranks[static_cast<size_t>(rank)] = *std::move(made);
    }
    const std::vector<std::byte> sent(100, std::byte{42});
    std::vector<std::byte> got(100);
    const auto ticket = ranks[0]->send(1, {.sequence = 1}, sent);
    if (!ticket.ok()) return ticket.status();
    const TimePoint until = env_->now() + deadline;
    while (env_->now() < until) {
      for (const auto& rank : ranks) {
        const auto moved = rank->progress(env_->now());
        if (!moved.ok()) return moved.status();
      }
      const auto header = ranks[1]->receive(0, got);
      if (!header.ok()) return header.status();
      if (header->has_value()) return got == sent ? Status() : Status(Code::kCorrupt, "other bytes");
      also();
      env_->idle({}, 1ms);
    }
    return {Code::kTimeout, "nothing came"};
  }

  const std::shared_ptr<Env> env_ = real_env();
  std::array<std::shared_ptr<TcpPort>, 2> ports_;
};

TEST_F(TwoRanks, AddressesWhereNobodyListensDoNotMatterBesideOneThatIsRight) {
  for (const auto& told : std::vector<std::vector<Address>>{
           {abandoned(), real()}, {real(), abandoned()}, {{"tcp:192.0.2.1:9"}, abandoned(), real()}}) {
    const Status status = send_over(told, 10s);
    EXPECT_TRUE(status.ok()) << text_of(told) << ": " << status.text();
  }
}

TEST_F(TwoRanks, AnAddressThatLeadsToAnotherRankIsLeftOut) {
  const auto other = open(5);
  const Status status = send_over({other->addresses().front(), real()}, 10s, [&] { other->pump(env_->now()); });
  EXPECT_TRUE(status.ok()) << status.text();
}

TEST_F(TwoRanks, AnAddressThatLeadsToAnotherProgramIsLeftOut) {
  const auto stranger = env_->listen({"tcp:127.0.0.1:0"});
  std::vector<std::unique_ptr<Stream>> callers;
  const Status status = send_over({(*stranger)->address(), real()}, 10s, [&] {
    if (auto caller = (*stranger)->accept()) {
      const std::string greeting(128, 'x');
      caller->write(std::as_bytes(std::span(greeting)), {});
      callers.push_back(std::move(caller));
    }
  });
  EXPECT_TRUE(status.ok()) << status.text();
}

TEST_F(TwoRanks, AnAddressWhereNobodyAnswersGivesWayToTheNext) {
  const auto silent = env_->listen({"tcp:127.0.0.1:0"});  // its kernel takes connections, and that is all
  const Status status = send_over({(*silent)->address(), real()}, 20s);
  EXPECT_TRUE(status.ok()) << status.text();
}

TEST_F(TwoRanks, WithoutARightAddressTheErrorNamesAllThatWereTried) {
  const Address one = abandoned(), two = abandoned();
  const Status status = send_over({one, two}, 10s);
  EXPECT_EQ(status.code(), Code::kPeerLost);
  EXPECT_EQ(status.where().peer, 1);
  EXPECT_THAT(status.text(), HasSubstr(one.text + " or " + two.text));
}

TEST_F(TwoRanks, APortListensOnEachOfItsAddresses) {
  ports_[1] = open(1, {{"tcp:127.0.0.1:0"}, {"tcp:[::1]:0"}});
  ASSERT_EQ(ports_[1]->addresses().size(), 2u);
  for (const Address& address : ports_[1]->addresses()) {
    const Status status = send_over({address}, 10s);
    EXPECT_TRUE(status.ok()) << address.text << ": " << status.text();
  }
}

}  // namespace
}  // namespace rondo::comm
