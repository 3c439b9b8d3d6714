#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "comm/transport/tcp.h"
#include "tests/comm/transport/pair.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

enum class Kind { kTcp4, kTcp6, kUnix, kSim };

struct World {
  Kind kind = Kind::kSim;
  uint64_t seed = 1;
};
std::string test_name(const testing::TestParamInfo<World>& info) {
  constexpr std::array kNames{"Tcp4", "Tcp6", "Unix", "Sim"};
  return std::string(kNames[static_cast<size_t>(info.param.kind)]) +
         (info.param.kind == Kind::kSim ? "Seed" + std::to_string(info.param.seed) : "");
}

/// `n` ranks of one job, driven in turn by one thread.
class Job {
 public:
  Job(const World& world, int n) : world_(world) {
    sim_ = SimWorld::make({.seed = world.seed,
                           .most_bytes_per_call = world.seed % 3 == 0 ? size_t{1} << 20 : size_t{20'000},
                           .would_block_percent = 20,
                           .stream_bytes = 1 << 18,
                           .latency_max = world.seed % 2 == 0 ? Duration(2ms) : Duration(0)});
    for (int rank = 0; rank < n; ++rank) ranks_.push_back(rank);
    for (int rank = 0; rank < n; ++rank) add_port(rank);
    transports = make_group(1, ranks_);
  }

  void add_port(int rank, Secret secret = secret_of(1)) {
    envs.push_back(world_.kind == Kind::kSim ? sim_->env("rank-" + std::to_string(rank)) : real_env());
    TcpPortOptions options;
    options.rank = rank;
    options.job = job_of(1);
    options.secret = secret;
    options.generation = 3;
    options.listen = {listen_address(rank)};
    options.log = [this](LogLevel, std::string_view line) { log.emplace_back(line); };
    auto port = TcpPort::open(envs.back(), options);
    EXPECT_TRUE(port.ok()) << port.status().text();
    if (port.ok()) ports.push_back(*port);
  }

  Address listen_address(int rank) {
    switch (world_.kind) {
      case Kind::kTcp4:
        return {"tcp:127.0.0.1:0"};
      case Kind::kTcp6:
        return {"tcp:[::1]:0"};
      case Kind::kUnix: {
        std::array<std::byte, 8> random;
        real_env()->random(random);
        std::string name = "unix:@rondo-test-" + std::to_string(rank) + "-";
        for (std::byte byte : random) name += std::to_string(std::to_integer<int>(byte)) + ".";
        return {name};
      }
      case Kind::kSim:
        return {"sim:0"};
    }
    return {};
  }

  std::unique_ptr<Transport> make_transport(uint64_t group, const std::vector<int>& job_ranks, int rank) {
    TcpTransportOptions options;
    const auto at = static_cast<size_t>(job_ranks[static_cast<size_t>(rank)]);
    options.port = ports[at];
    options.group = group;
    options.job_ranks = job_ranks;
    options.rank = rank;
    options.connect_timeout = world_.kind == Kind::kSim ? Duration(10s) : Duration(50ms);
    for (int job_rank : job_ranks) options.addresses.push_back(ports[static_cast<size_t>(job_rank)]->addresses());
    auto transport = make_tcp_transport(envs[at], options);
    EXPECT_TRUE(transport.ok()) << transport.status().text();
    return std::move(*transport);
  }
  std::vector<std::unique_ptr<Transport>> make_group(uint64_t group, const std::vector<int>& job_ranks) {
    std::vector<std::unique_ptr<Transport>> result;
    for (size_t rank = 0; rank < job_ranks.size(); ++rank) {
      result.push_back(make_transport(group, job_ranks, static_cast<int>(rank)));
    }
    return result;
  }

  /// Lets every transport go on until `done`; sleeps (or lets simulated time pass) while nothing moves. False after 20
  /// s.
  bool until(const std::function<bool()>& done) {
    const TimePoint give_up = now() + 20s;
    while (now() < give_up) {
      if (done()) return true;
      bool moved = false;
      for (auto* group : {&transports, &others}) {
        for (auto& transport : *group) {
          if (!transport) continue;
          const auto progress = transport->progress(now());
          if (!progress.ok()) errors.push_back(progress.status());
          moved |= progress.ok() && *progress == Progress::kProgressed;
        }
      }
      if (!moved) envs[0]->idle({}, 1ms);
    }
    return done();
  }
  Result<std::optional<MessageHeader>> receive(Transport& at, int peer, std::span<std::byte> into) {
    Result<std::optional<MessageHeader>> got = std::optional<MessageHeader>();
    until([&] {
      got = at.receive(peer, into);
      return !got.ok() || got->has_value();
    });
    return got;
  }
  TimePoint now() { return envs[0]->now(); }
  void kill(int rank) {
    transports[static_cast<size_t>(rank)].reset();
    ports[static_cast<size_t>(rank)].reset();
    if (world_.kind == Kind::kSim) sim_->kill("rank-" + std::to_string(rank));
  }

  World world_;
  std::shared_ptr<SimWorld> sim_;
  std::vector<int> ranks_;
  std::vector<std::string> log;
  std::vector<std::shared_ptr<Env>> envs;
  std::vector<std::shared_ptr<TcpPort>> ports;
  std::vector<std::unique_ptr<Transport>> transports, others;
  std::vector<Status> errors;
};

bool says(const Status& status, const std::string& words) { return status.text().find(words) != std::string::npos; }

MessageHeader header_of(uint64_t sequence, uint32_t segment, int rank) {
  return {.kind = segment == 0 ? MessageKind::kDescriptor : MessageKind::kPayload,
          .sequence = sequence,
          .segment = segment,
          .hop = segment + 7,
          .weight = static_cast<double>(rank) + 0.25};
}

class TcpTransport : public testing::TestWithParam<World> {};

TEST_P(TcpTransport, EveryPairExchangesMessagesInOrder) {
  constexpr int kRanks = 4;
  const std::vector<size_t> sizes{0, 1, 63, 4097, 262'147, 0, 5};
  Job job(GetParam(), kRanks);
  std::vector<std::vector<std::vector<std::byte>>> data(kRanks);
  for (int from = 0; from < kRanks; ++from) {
    for (size_t size : sizes) data[static_cast<size_t>(from)].push_back(pattern(from, size));
    for (int to = 0; to < kRanks; ++to) {
      for (size_t i = 0; to != from && i < sizes.size(); ++i) {
        const auto ticket = job.transports[static_cast<size_t>(from)]->send(
            to, header_of(9, static_cast<uint32_t>(i), from), data[static_cast<size_t>(from)][i]);
        ASSERT_TRUE(ticket.ok()) << ticket.status().text();
        EXPECT_EQ(*ticket, i + 1);
      }
    }
  }
  for (int at = 0; at < kRanks; ++at) {
    for (int from = 0; from < kRanks; ++from) {
      for (size_t i = 0; from != at && i < sizes.size(); ++i) {
        std::vector<std::byte> into(sizes[i]);
        const auto got = job.receive(*job.transports[static_cast<size_t>(at)], from, into);
        ASSERT_TRUE(got.ok() && got->has_value())
            << got.status().text() << " " << from << " -> " << at << " size " << sizes[i];
        EXPECT_EQ((*got)->kind, i == 0 ? MessageKind::kDescriptor : MessageKind::kPayload);
        EXPECT_EQ((*got)->sequence, 9u);
        EXPECT_EQ((*got)->segment, i);
        EXPECT_EQ((*got)->hop, i + 7);
        EXPECT_EQ((*got)->weight, from + 0.25);
        EXPECT_EQ(into, data[static_cast<size_t>(from)][i]);
      }
    }
  }
  EXPECT_TRUE(job.until([&] {
    for (int from = 0; from < kRanks; ++from) {
      for (int to = 0; to < kRanks; ++to) {
        if (to != from && job.transports[static_cast<size_t>(from)]->sends_done(to) != sizes.size()) return false;
      }
    }
    return true;
  }));
  EXPECT_TRUE(job.errors.empty()) << job.errors.front().text();
  EXPECT_TRUE(job.log.empty()) << job.log.front();
}

TEST_P(TcpTransport, BothSidesMaySendMuchBeforeEitherReceives) {
  Job job(GetParam(), 2);
  constexpr size_t kSegment = 256 * 1024;
  constexpr size_t kSegments = 13;
  const std::vector<std::vector<std::byte>> data{pattern(0, kSegment), pattern(1, kSegment)};
  for (int rank : {0, 1}) {
    for (uint32_t i = 0; i < kSegments; ++i) {
      ASSERT_TRUE(job.transports[static_cast<size_t>(rank)]
                      ->send(1 - rank, header_of(1, i, rank), data[static_cast<size_t>(rank)])
                      .ok());
    }
  }
  std::vector<std::byte> into(kSegment);
  for (uint32_t i = 0; i < kSegments; ++i) {
    for (int rank : {0, 1}) {
      const auto got = job.receive(*job.transports[static_cast<size_t>(rank)], 1 - rank, into);
      ASSERT_TRUE(got.ok() && got->has_value()) << got.status().text();
      EXPECT_EQ((*got)->segment, i);
      ASSERT_EQ(into, data[static_cast<size_t>(1 - rank)]);
    }
  }
}

TEST_P(TcpTransport, GroupsOverTheSameRanksDoNotMix) {
  Job job(GetParam(), 3);
  job.others = job.make_group(2, {2, 0});  // group rank 0 is rank 2 of the job
  const auto first = pattern(1, 100), second = pattern(2, 100);
  ASSERT_TRUE(job.transports[0]->send(2, header_of(1, 0, 0), first).ok());
  ASSERT_TRUE(job.others[1]->send(0, header_of(1, 0, 0), second).ok());
  std::vector<std::byte> into(100);
  auto got = job.receive(*job.others[0], 1, into);
  ASSERT_TRUE(got.ok() && got->has_value()) << got.status().text();
  EXPECT_EQ(into, second);
  got = job.receive(*job.transports[2], 0, into);
  ASSERT_TRUE(got.ok() && got->has_value()) << got.status().text();
  EXPECT_EQ(into, first);
}

TEST_P(TcpTransport, ARankThatLeavesInOrderIsClosedAfterItsLastMessage) {
  Job job(GetParam(), 2);
  const auto data = pattern(1, 300'000);
  ASSERT_TRUE(job.transports[1]->send(0, header_of(1, 1, 1), data).ok());
  Status left = Status::pending();
  std::vector<std::byte> into(data.size());
  std::optional<MessageHeader> got;
  EXPECT_TRUE(job.until([&] {
    if (left.is_pending()) left = job.transports[1]->goodbye(job.now());
    if (!got) {
      auto result = job.transports[0]->receive(1, into);
      EXPECT_TRUE(result.ok()) << result.status().text();
      if (result.ok()) got = *result;
    }
    return left.ok() && got;
  })) << left.text();
  EXPECT_EQ(into, data);
  job.transports[1].reset();
  const auto after = job.receive(*job.transports[0], 1, into);
  EXPECT_EQ(after.status().code(), Code::kClosed);
  EXPECT_TRUE(says(after.status(), "rank 1")) << after.status().text();
  EXPECT_TRUE(says(after.status(), "left in order"));
  EXPECT_EQ(after.status().where().peer, 1);
  EXPECT_EQ(job.transports[0]->send(1, header_of(2, 0, 0), data).status().code(), Code::kClosed);
  EXPECT_TRUE(job.errors.empty()) << job.errors.front().text();
  EXPECT_TRUE(job.transports[0]->goodbye(job.now()).ok());
}

TEST_P(TcpTransport, ARankKilledInTheMiddleOfAMessageIsNamed) {
  Job job(GetParam(), 3);
  const auto data = pattern(1, 16 << 20);
  ASSERT_TRUE(job.transports[1]->send(2, header_of(1, 1, 1), data).ok());
  std::vector<std::byte> into(data.size());
  const size_t half_way = 1 << 20;
  EXPECT_TRUE(job.until([&] {
    (void)job.transports[2]->receive(1, into);
    return into[half_way] == data[half_way] && into[half_way + 1] == data[half_way + 1];
  }));
  job.kill(1);
  const auto got = job.receive(*job.transports[2], 1, into);
  EXPECT_EQ(got.status().code(), Code::kPeerLost) << got.status().text();
  EXPECT_TRUE(says(got.status(), "rank 1 at")) << got.status().text();
  EXPECT_EQ(got.status().where().rank, 2);
  EXPECT_EQ(got.status().where().peer, 1);
  const auto progress = job.transports[2]->progress(job.now());
  EXPECT_EQ(progress.status().code(), Code::kPeerLost);
}

TEST_P(TcpTransport, ARankThatIsNotThereIsNamedWithItsAddressAfterTheConnectTimeout) {
  Job job(GetParam(), 2);
  const std::string address = job.ports[1]->addresses().front().text;
  job.kill(1);
  const TimePoint start = job.now();
  std::vector<std::byte> into(1);
  const auto got = job.receive(*job.transports[0], 1, into);
  EXPECT_EQ(got.status().code(), Code::kPeerLost) << got.status().text();
  EXPECT_TRUE(says(got.status(), "rank 1 at " + address)) << got.status().text();
  EXPECT_GE(job.now() - start, GetParam().kind == Kind::kSim ? Duration(10s) : Duration(50ms));
}

TEST_P(TcpTransport, ARankWithAnotherSecretIsRefusedOnBothSides) {
  Job job(GetParam(), 1);
  job.transports.clear();
  job.add_port(1, secret_of(2));
  job.transports = job.make_group(1, {0, 1});
  std::vector<std::byte> into(1);
  (void)job.transports[1]->receive(0, into);
  const auto got = job.receive(*job.transports[0], 1, into);
  EXPECT_EQ(got.status().code(), Code::kUnauthenticated) << got.status().text();
  EXPECT_EQ(got.status().where().peer, 1);
  ASSERT_FALSE(job.log.empty());
  EXPECT_NE(job.log[0].find("kUnauthenticated: rank 0 did not prove"), std::string::npos) << job.log[0];
}

TEST_P(TcpTransport, AMessageOfAnotherLengthIsAMismatchThatNamesBoth) {
  Job job(GetParam(), 2);
  const auto data = pattern(0, 8);
  ASSERT_TRUE(job.transports[0]->send(1, header_of(4, 1, 0), data).ok());
  std::vector<std::byte> into(12);
  const auto got = job.receive(*job.transports[1], 0, into);
  EXPECT_EQ(got.status().code(), Code::kMismatch);
  EXPECT_TRUE(says(got.status(), "8 bytes (sequence 4) where this side expects 12")) << got.status().text();
}

TEST_P(TcpTransport, OffersMessagesOnly) {
  Job job(GetParam(), 2);
  Transport& transport = *job.transports[0];
  EXPECT_TRUE(transport.abilities().message);
  EXPECT_FALSE(transport.abilities().region);
  EXPECT_FALSE(transport.abilities().signal);
  EXPECT_EQ(transport.expose(1, {}).code(), Code::kUnsupported);
  EXPECT_EQ(transport.peer_region(1, 1).status().code(), Code::kUnsupported);
  EXPECT_EQ(transport.signal(1, 1, 1).code(), Code::kUnsupported);
  EXPECT_EQ(transport.signal_from(1).status().code(), Code::kUnsupported);
  EXPECT_EQ(transport.send(0, {}, {}).status().code(), Code::kInvalidArgument);  // itself
  EXPECT_EQ(transport.send(2, {}, {}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(transport.receive(-1, {}).status().code(), Code::kInvalidArgument);
  EXPECT_TRUE(transport.wait_handles().empty());  // no link before the first message
}

std::vector<World> worlds() {
  std::vector<World> all{{Kind::kTcp4}, {Kind::kUnix}};
  if (real_env()->listen({"tcp:[::1]:0"}).ok()) all.push_back({Kind::kTcp6});
  for (uint64_t seed = 1; seed <= 20; ++seed) all.push_back({Kind::kSim, seed});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Worlds, TcpTransport, testing::ValuesIn(worlds()), test_name);

TEST(TcpTransportInSimulatedTime, WaitsForAPeerThatIsBusyElsewhere) {
  Job job({Kind::kSim, 4}, 2);
  const auto data = pattern(0, 1000);
  ASSERT_TRUE(job.transports[0]->send(1, header_of(1, 1, 0), data).ok());
  auto busy = std::move(job.transports[1]);
  for (int i = 0; i < 25; ++i) {  // neither side looks often, the other not at all
    ASSERT_TRUE(job.transports[0]->progress(job.now()).ok());
    job.sim_->advance(1s);
  }
  job.transports[1] = std::move(busy);
  std::vector<std::byte> into(data.size());
  const auto got = job.receive(*job.transports[1], 0, into);
  ASSERT_TRUE(got.ok() && got->has_value()) << got.status().text();
  EXPECT_EQ(into, data);
}

TEST(TcpTransportInSimulatedTime, ARankThatLeavesWaitsShortlyForAcksOfAPeerThatIsBusyElsewhere) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    Job job({Kind::kSim, seed}, 2);
    const auto data = pattern(0, 1000);
    std::vector<std::byte> into(data.size());
    ASSERT_TRUE(job.transports[0]->send(1, header_of(1, 1, 0), data).ok());
    ASSERT_TRUE(job.receive(*job.transports[1], 0, into)->has_value());
    EXPECT_EQ(job.transports[0]->sends_released(1), 1u);
    ASSERT_TRUE(job.transports[0]->send(1, header_of(2, 1, 0), data).ok());
    ASSERT_TRUE(job.transports[1]->send(0, header_of(2, 1, 1), data).ok());
    auto busy = std::move(job.transports[1]);
    const TimePoint begin = job.now();
    Status left = Status::pending();
    ASSERT_TRUE(job.until([&] {
      left = job.transports[0]->goodbye(job.now());
      return !left.is_pending();
    }));
    EXPECT_TRUE(left.ok()) << left.text();
    EXPECT_GE(job.now() - begin, 100ms);
    EXPECT_LE(job.now() - begin, 300ms);
    job.transports[1] = std::move(busy);
    const auto got = job.receive(*job.transports[1], 0, into);
    ASSERT_TRUE(got.ok() && got->has_value()) << got.status().text();
    EXPECT_EQ(into, data);
  }
}

TEST(TcpTransportInSimulatedTime, AHandshakeThatTookTooLongIsTriedAgain) {
  Job job({Kind::kSim, 4}, 2);
  const auto data = pattern(0, 1000);
  ASSERT_TRUE(job.transports[0]->send(1, header_of(1, 1, 0), data).ok());
  std::vector<std::byte> into(data.size());
  (void)job.transports[1]->receive(0, into);
  for (int i = 0; i < 3; ++i) {  // the acceptor's side of each handshake is older than its limit when it goes on
    ASSERT_TRUE(job.transports[0]->progress(job.now()).ok());
    for (int j = 0; j < 20; ++j) ASSERT_TRUE(job.transports[1]->progress(job.now()).ok());
    job.sim_->advance(3s);
    for (int j = 0; j < 20; ++j) ASSERT_TRUE(job.transports[1]->progress(job.now()).ok());
  }
  EXPECT_FALSE(job.log.empty());
  const auto got = job.receive(*job.transports[1], 0, into);
  ASSERT_TRUE(got.ok() && got->has_value()) << got.status().text();
  EXPECT_EQ(into, data);
}

TEST(TcpTransportInSimulatedTime, SilentCallersHoldTheirPlacesForTwoSecondsOnly) {
  Job job({Kind::kSim, 4}, 2);
  auto stranger = job.sim_->env("stranger");
  std::vector<std::unique_ptr<Stream>> silent;
  for (int i = 0; i < 100; ++i) silent.push_back(std::move(*stranger->dial(job.ports[1]->addresses().front())));
  const TimePoint start = job.now();
  const auto data = pattern(0, 10);
  ASSERT_TRUE(job.transports[0]->send(1, header_of(1, 1, 0), data).ok());
  std::vector<std::byte> into(10);
  const auto got = job.receive(*job.transports[1], 0, into);
  ASSERT_TRUE(got.ok() && got->has_value()) << got.status().text();
  EXPECT_GE(job.now() - start, 2s);
  EXPECT_LE(job.now() - start, 3s);
  EXPECT_GE(job.log.size(), 64u);
}

TEST(TcpPort, RefusesToOpenWithoutASecret) {
  TcpPortOptions options;
  options.listen = {{"tcp:127.0.0.1:0"}};
  options.job = job_of(1);
  EXPECT_EQ(TcpPort::open(real_env(), options).status().code(), Code::kUnauthenticated);
}

TEST(TcpPort, RefusesWildcardsAndAddressesOfOtherMachines) {
  TcpPortOptions options;
  options.secret = secret_of(1);
  options.rank = 3;
  for (const char* wildcard : {"tcp:0.0.0.0:0", "tcp:[::]:0", "tcp:*:0"}) {
    options.listen = {{wildcard}};
    const Status status = TcpPort::open(real_env(), options).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << status.text();
    EXPECT_EQ(status.where().rank, 3);
  }
  options.listen = {{"tcp:192.0.2.1:0"}};
  EXPECT_EQ(TcpPort::open(real_env(), options).status().code(), Code::kIo);
}

/// Local addresses of the listening sockets of /proc/self/net/`table` with `port`.
std::vector<std::string> listening_hosts(const std::string& table, int port) {
  std::ifstream file("/proc/self/net/" + table);
  std::vector<std::string> hosts;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string number, local, remote, state;
    words >> number >> local >> remote >> state;
    const size_t colon = local.find(':');
    if (state == "0A" && std::stoi(local.substr(colon + 1), nullptr, 16) == port)
      hosts.push_back(local.substr(0, colon));
  }
  return hosts;
}

TEST(TcpPort, ListensOnLoopbackOnly) {
  Job job({Kind::kTcp4}, 1);
  const std::string address = job.ports[0]->addresses().front().text;
  ASSERT_EQ(address.rfind("tcp:127.0.0.1:", 0), 0u) << address;
  const int port = std::stoi(address.substr(address.rfind(':') + 1));
  EXPECT_GT(port, 0);
  EXPECT_EQ(listening_hosts("tcp", port), std::vector<std::string>{"0100007F"});
  EXPECT_TRUE(listening_hosts("tcp6", port).empty());
}

}  // namespace
}  // namespace rondo::comm
