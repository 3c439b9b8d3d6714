/// A group over two hosts of two ranks each, joined by a cable of 1 Gbit/s: right sums, links chosen pair by pair, and
/// over the cable exactly the bytes that the schedule says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "comm/collective/descriptor.h"
#include "comm/transport/wire.h"
#include "rondo/comm/algorithms.h"
#include "tests/support/hosts.h"
#include "tests/support/job_over_hosts.h"

namespace rondo::comm {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr int kRanks = 4, kPerHost = 2, kElements = 1 << 20, kRounds = 4;
constexpr uint64_t kBytes = uint64_t{4} * kElements;
// Of Ethernet, IP (4 or 6) and TCP with timestamps, in each packet; SACK comes only where packets are lost.
constexpr uint64_t kLeastHeaders = 14 + 20 + 32, kMostHeaders = 14 + 40 + 32;
// Payload of a TCP segment where an interface's packets have 1,500 bytes, as on every cable.
constexpr uint64_t kSegmentBytes = 1500 - 20 - 32;

/// What a host sends to the other in one all_reduce.
struct Crossing {
  uint64_t payload = 0, frames = 0, descriptors = 0;
  Crossing operator+(const Crossing& other) const {
    return {payload + other.payload, frames + other.frames, descriptors + other.descriptors};
  }
};

Crossing crossing_of(const std::string& algorithm, int host, int64_t element_count = kElements) {
  Crossing sum;
  for (int rank = host * kPerHost; rank < (host + 1) * kPerHost; ++rank) {
    const auto schedule = make_schedule({.algorithm = algorithm,
                                         .shape = {.at = {.rank = rank, .world_size = kRanks},
                                                   .element_count = element_count,
                                                   .segment_elements = 64 * 1024,
                                                   .host_of_rank = {0, 0, 1, 1}}});
    EXPECT_TRUE(schedule.ok()) << schedule.status().text();
    for (const int peer : schedule->sends_to) sum.descriptors += peer / kPerHost != host ? 1 : 0;
    for (const Action& action : schedule->actions) {
      if (action.kind != ActionKind::kSend || action.peer / kPerHost == host) continue;
      sum.payload += 4 * static_cast<uint64_t>(action.from[0].range.count());
      ++sum.frames;
    }
  }
  return sum;
}

class SeveralHosts : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(test::Hosts::refusal(), "");
    hosts_.emplace(2);
    cable_ = hosts_->connect({.first = 0, .second = 1});
    hosts_->shape(cable_, 1000);
  }

  struct Run {
    std::string description;
    double seconds = 0;                               // of all rounds, on the slowest rank
    uint64_t faults = 0;                              // that all links counted
    std::vector<std::string> warnings;                // the last of each rank that warned
    std::array<test::Hosts::Traffic, kPerHost> sent;  // by host, during the rounds
  };
  /// Of so many packets over the cable during the rounds, one gets a wrong byte; 0: none does.
  Run run(const std::string& algorithm, int elements = kElements, int corrupt_one_of = 0) {
    Run result;
    test::JobOverHosts job(*hosts_, {.program = RONDO_SEVERAL_HOSTS_WORKER,
                                     .arguments = {algorithm, std::to_string(elements), std::to_string(kRounds)},
                                     .ranks_per_host = kPerHost,
                                     .master = hosts_->ipv4(cable_, 0)});
    for (int rank = 0; rank < kRanks; ++rank) {
      const json said = say(job, rank);
      if (!said.contains("description")) {
        ADD_FAILURE() << "rank " << rank << " says " << said;
        return result;
      }
      result.description = said["description"];
    }
    EXPECT_TRUE(job.all_stopped());
    hosts_->expect_no_shared_memory(job.hosts_and_processes());
    std::array<test::Hosts::Traffic, kPerHost> before;
    for (int host : {0, 1}) before[static_cast<size_t>(host)] = hosts_->sent(cable_, host);
    hosts_->corrupt(cable_, corrupt_one_of);
    job.signal_all(SIGCONT);
    for (int rank = 0; rank < kRanks; ++rank) {
      const json said = say(job, rank);
      EXPECT_TRUE(said.contains("seconds")) << "rank " << rank << " says " << said;
      if (!said.contains("seconds")) continue;
      result.seconds = std::max(result.seconds, said["seconds"].get<double>());
      result.faults += said["bad_payloads"].get<uint64_t>() + said["reconnects"].get<uint64_t>();
      if (const std::string warning = said["warning"]; !warning.empty()) result.warnings.push_back(warning);
    }
    hosts_->corrupt(cable_, 0);
    EXPECT_TRUE(job.all_stopped());
    for (int host : {0, 1}) {
      const auto now = hosts_->sent(cable_, host);
      const auto& then = before[static_cast<size_t>(host)];
      result.sent[static_cast<size_t>(host)] = {.bytes = now.bytes - then.bytes,
                                                .packets = now.packets - then.packets,
                                                .segments_again = now.segments_again - then.segments_again};
    }
    job.signal_all(SIGCONT);
    for (int rank = 0; rank < kRanks; ++rank) EXPECT_EQ(job.of(rank).end(), 0) << "rank " << rank;
    return result;
  }
  static json say(test::JobOverHosts& job, int rank) {
    const auto line = job.of(rank).line(60s);
    return line ? json::parse(*line, nullptr, false) : json();
  }

  /// Bytes over the cable in each round of a barrier and an all_reduce: payload and frames to the byte, each frame
  /// acknowledged by one frame at most, and the headers of the packets that were counted. Control links beat beside
  /// them, about a kilobyte ten times a second. On a machine that is busy elsewhere TCP takes a late acknowledgement
  /// for a lost packet and sends segments again: those are counted by the kernel.
  void expect_closed_form(const std::string& algorithm, const Run& run) {
    for (int host : {0, 1}) {
      const auto round = [&](int of) { return crossing_of(algorithm, of) + crossing_of("one-shot", of, 0); };
      const Crossing mine = round(host), theirs = round(1 - host);
      const uint64_t descriptor = kFrameHeaderBytes + kDescriptorBytes;
      const uint64_t least = kRounds * (mine.payload + mine.frames * kFrameHeaderBytes + mine.descriptors * descriptor);
      const uint64_t acks = kRounds * (theirs.frames + theirs.descriptors) * kFrameHeaderBytes;
      const auto beats = static_cast<uint64_t>((run.seconds + 1) * 10 * kPerHost * 1200);
      const auto& sent = run.sent[static_cast<size_t>(host)];
      EXPECT_GE(sent.bytes, least + sent.packets * kLeastHeaders) << algorithm << ", host " << host;
      const uint64_t again = sent.segments_again * (kSegmentBytes + kMostHeaders);
      EXPECT_LE(sent.bytes, least + acks + beats + sent.packets * kMostHeaders + again)
          << algorithm << ", host " << host << ", " << sent.segments_again << " TCP segments sent again";
      // Packets of a veth are up to 64 KiB long; even at 1,448 bytes of payload and an acknowledgement for each,
      // headers were less than a tenth.
      EXPECT_LE(sent.packets * kMostHeaders, least / 10);
    }
  }

  std::optional<test::Hosts> hosts_;
  int cable_ = 0;
};

TEST_F(SeveralHosts, HierarchicalSendsTheLeastBytesBetweenHostsAndIsTheDefault) {
  EXPECT_EQ(crossing_of("hierarchical", 0).payload, kBytes) << "2(N-1)/N of the bytes, N = 2 hosts";
  EXPECT_EQ(crossing_of("ring", 0).payload, kBytes * 3 / 2) << "2(n-1)/n of the bytes, n = 4 ranks";
  const Run hierarchical = run("default"), ring = run("ring");
  EXPECT_THAT(hierarchical.description,
              HasSubstr("hierarchical over shm inside and tcp between 2 hosts, order canonical"));
  EXPECT_THAT(ring.description, HasSubstr("ring over shm inside and tcp between 2 hosts"));
  expect_closed_form("hierarchical", hierarchical);
  expect_closed_form("ring", ring);
  for (const auto& [name, run] : {std::pair{"hierarchical", hierarchical}, {"ring", ring}})
    std::printf(
        "{\"metric\":\"two_hosts_1gbit_all_reduce\",\"algorithm\":\"%s\",\"bytes\":%llu,\"rounds\":%d,"
        "\"ms_per_round\":%.1f,\"sent_by_host_0\":%llu,\"sent_by_host_1\":%llu,\"tcp_segments_again\":%llu}\n",
        name, static_cast<unsigned long long>(kBytes), kRounds, run.seconds * 1e3 / kRounds,
        static_cast<unsigned long long>(run.sent[0].bytes), static_cast<unsigned long long>(run.sent[1].bytes),
        static_cast<unsigned long long>(run.sent[0].segments_again + run.sent[1].segments_again));
}

TEST_F(SeveralHosts, SumsOfEverySizeAreRight) {
  for (const int elements : {0, 1, 3, 4, 5, 97, 4'096, 65'537}) {
    SCOPED_TRACE(elements);
    EXPECT_THAT(run("default", elements).description, HasSubstr("hierarchical"));
  }
}

TEST_F(SeveralHosts, OnePacketInAHundredWithAWrongByteGivesRightSumsAndTheLinkIsCountedAndNamed) {
  hosts_.emplace(2);
  cable_ = hosts_->connect({.first = 0, .second = 1});  // not shaped, see Hosts::corrupt()
  const Run damaged = run("ring", 4 * kElements, 100);
  EXPECT_GE(damaged.faults, 1u);
  ASSERT_FALSE(damaged.warnings.empty());
  EXPECT_THAT(damaged.warnings, testing::Each(testing::ContainsRegex(
                                    "the link from rank [0-3] at .*10\\..* to rank [0-3] at .* had [0-9]+ faults?")));
  std::printf("{\"metric\":\"two_hosts_corrupt\",\"one_of\":100,\"faults\":%llu,\"ms_per_round\":%.1f}\n",
              static_cast<unsigned long long>(damaged.faults), damaged.seconds * 1e3 / kRounds);
}

TEST_F(SeveralHosts, AWrongAddressAmongSeveralDoesNotStopTheStart) {
  hosts_->lose(cable_, 10'000);  // the addresses that every rank names first
  cable_ = hosts_->connect({.first = 0, .second = 1});
  EXPECT_THAT(run("default", 1000).description, HasSubstr("hierarchical"));
}

}  // namespace
}  // namespace rondo::comm
