/// The harness of hosts itself: what it promises about cables must hold, or tests that stand on it prove nothing.
#include "tests/support/hosts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "rondo/comm/env.h"
#include "tests/support/plain_link.h"

namespace rondo::test {
namespace {

using namespace std::chrono_literals;

/// Two hosts, one cable, one TCP connection over it that knows nothing of Rondo.
class TwoHosts : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(Hosts::refusal(), "");
    hosts_.emplace(2);
    cable_ = hosts_->connect({.first = 0, .second = 1});
  }
  std::optional<Hosts> hosts_;
  int cable_ = 0;
};

std::vector<unsigned char> pattern(size_t bytes) {
  std::vector<unsigned char> data(bytes);
  for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<unsigned char>(i * 7 + i / 256);
  return data;
}

TEST_F(TwoHosts, ACableCarriesAndCountsBytesBothForIpv4AndIpv6) {
  for (const std::string& address : {hosts_->ipv4(cable_, 1), hosts_->ipv6(cable_, 1)}) {
    SCOPED_TRACE(address);
    PlainLink link(*hosts_, {.from = 0, .to = 1, .address = address});
    const auto before = hosts_->sent(cable_, 0);
    const auto data = pattern(1'000'000);
    link.send(data);
    EXPECT_EQ(link.receive(data.size(), 10s), data);
    const auto after = hosts_->sent(cable_, 0);
    EXPECT_GE(after.bytes - before.bytes, data.size());
    EXPECT_LE(after.bytes - before.bytes, data.size() * 11 / 10);
  }
}

TEST_F(TwoHosts, NothingPassesACutCableUntilItIsMended) {
  PlainLink link(*hosts_, {.from = 0, .to = 1, .address = hosts_->ipv4(cable_, 1)});
  hosts_->cut(cable_);
  const auto data = pattern(100);
  link.send(data);
  EXPECT_EQ(link.receive(data.size(), 300ms).size(), 0u);
  hosts_->mend(cable_);
  EXPECT_EQ(link.receive(data.size(), 20s), data) << "TCP sends it again";
}

TEST_F(TwoHosts, AShapedCableCarriesNoMoreThanItsRate) {
  hosts_->shape(cable_, 80);  // 10 MB/s
  PlainLink link(*hosts_, {.from = 0, .to = 1, .address = hosts_->ipv4(cable_, 1)});
  const auto data = pattern(3'000'000);
  const auto begin = std::chrono::steady_clock::now();
  link.send(data);
  EXPECT_EQ(link.receive(data.size(), 20s), data);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 250ms) << "3 MB less the burst, at 10 MB/s";
}

TEST_F(TwoHosts, ACableThatLosesEverythingCarriesNothing) {
  PlainLink link(*hosts_, {.from = 0, .to = 1, .address = hosts_->ipv4(cable_, 1)});
  const auto before = hosts_->sent(cable_, 0);
  hosts_->lose(cable_, 10'000);
  const auto data = pattern(100);
  link.send(data);
  EXPECT_EQ(link.receive(data.size(), 300ms).size(), 0u);
  hosts_->lose(cable_, 0);
  EXPECT_EQ(link.receive(data.size(), 20s), data);
  EXPECT_GE(hosts_->sent(cable_, 0).segments_again, before.segments_again + 1);
}

TEST_F(TwoHosts, ACorruptCableChangesBytesThatTcpDeliversAsGood) {
  PlainLink link(*hosts_, {.from = 0, .to = 1, .address = hosts_->ipv4(cable_, 1)});
  hosts_->corrupt(cable_, 1);
  const auto data = pattern(100'000);
  link.send(data);
  const auto got = link.receive(data.size(), 20s);
  ASSERT_EQ(got.size(), data.size());
  size_t changed = 0;
  for (size_t i = 0; i < data.size(); ++i) changed += got[i] != data[i] ? 1 : 0;
  EXPECT_GE(changed, 1u);
  EXPECT_LE(changed, 100'000u / 100) << "one byte of a packet";
}

TEST_F(TwoHosts, ProgramsRunOnTheirHostUnderTheirOwnProcessId) {
  for (const int host : {0, 1}) {
    Process shell(hosts_->on(host, {.program = "/bin/sh",
                                    .arguments = {"-c", "echo $$; grep -c " + Hosts::interface(cable_) +
                                                            " /proc/net/dev; ip -4 addr show dev cable0"}}));
    EXPECT_EQ(shell.line(), std::to_string(shell.pid()));
    EXPECT_EQ(shell.line(), "1");
    std::string addresses;
    while (const auto line = shell.line()) addresses += *line;
    EXPECT_THAT(addresses, testing::HasSubstr(hosts_->ipv4(cable_, host)));
  }
}

TEST_F(TwoHosts, ListenersAreThoseOfTheHostAndSayWhereTheyListen) {
  std::map<std::string, bool> everywhere;  // by inode
  std::vector<int> open;
  hosts_->inside(1, [&] {
    for (const in_addr_t address : {INADDR_ANY, INADDR_LOOPBACK}) {
      const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_in any_port{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {::htonl(address)}, .sin_zero = {}};
      ASSERT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&any_port), sizeof any_port), 0);
      ASSERT_EQ(::listen(listener, 1), 0);
      struct stat facts {};
      ASSERT_EQ(::fstat(listener, &facts), 0);
      everywhere[std::to_string(facts.st_ino)] = address == INADDR_ANY;
      open.push_back(listener);
    }
  });
  std::map<std::string, bool> found;
  for (const Hosts::Listener& listener : hosts_->listeners(1)) found[listener.inode] = listener.everywhere();
  EXPECT_EQ(found, everywhere);
  EXPECT_TRUE(hosts_->listeners(0).empty());
  for (const int listener : open) ::close(listener);
}

TEST_F(TwoHosts, OfATestThatDiedTheNextRemovesTheNamespaces) {
  const pid_t child = ::fork();
  if (child == 0) {
    const Hosts abandoned(1);
    ::_exit(0);  // no destructor
  }
  ASSERT_GT(child, 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const auto left_behind = [&] {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/run/netns"))
      count += entry.path().filename().string().starts_with("rondo-test-" + std::to_string(child) + "-") ? 1 : 0;
    return count;
  };
  EXPECT_EQ(left_behind(), 1);
  const Hosts next(1);
  EXPECT_EQ(left_behind(), 0);
}

}  // namespace
}  // namespace rondo::test
