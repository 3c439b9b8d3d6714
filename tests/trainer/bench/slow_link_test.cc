/// cnn-bench over a cable of 1 Gbit/s between two hosts, a rank on each, started by hand with torchrun's variables:
/// equal losses with overlap and without, no memory shared, and how much of the wire's time backward hides. Timing
/// fails no test; `./dev soak link` takes the figures with the full batch.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/support/hosts.h"
#include "tests/support/job_over_hosts.h"
#include "tests/support/soak.h"

namespace rondo::test {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

constexpr double kMegabitPerSecond = 1000;

struct Size {
  int batch, blocks, steps;
};

/// The rows of rank 0, by the way to train.
std::map<std::string, json> rows_of(const Hosts& hosts, int cable, const Size& size) {
  JobOverHosts job(hosts, {.program = RONDO_TRAIN_BENCH,
                           .arguments = {"ranks", "--model", "cnn", "--batch", std::to_string(size.batch), "--blocks",
                                         std::to_string(size.blocks), "--steps", std::to_string(size.steps)},
                           .ranks_per_host = 1,
                           .master = hosts.ipv4(cable, 0)});
  std::map<std::string, json> rows;
  while (const auto line = job.of(0).line(120s)) {
    if (!line->starts_with("{")) continue;
    const json row = json::parse(*line);
    rows[row["contender"]] = row;
  }
  for (int rank = 0; rank < job.rank_count(); ++rank) EXPECT_EQ(job.of(rank).end(20s), 0) << "rank " << rank;
  return rows;
}

TEST(SlowLink, HidesTheWireBehindBackwardWithTheSameBits) {
  ASSERT_EQ(Hosts::refusal(), "");
  const Hosts::Ends ends{.first = 0, .second = 1};
  const bool soak = std::getenv("RONDO_SOAK_COUNT") != nullptr;
  const Size size = soak ? Size{.batch = 64, .blocks = 3, .steps = 8} : Size{.batch = 8, .blocks = 1, .steps = 2};
  std::vector<double> hidden, early, gain;
  for (uint64_t round = 0; round < soak_rounds(1).count; ++round) {
    Hosts hosts(2);
    const int cable = hosts.connect(ends);
    hosts.shape(cable, static_cast<int>(kMegabitPerSecond));
    auto rows = rows_of(hosts, cable, size);
    ASSERT_EQ(rows.size(), 2U);
    const json &on = rows["rondo"], &off = rows["rondo-no-overlap"];
    EXPECT_EQ(on["loss"], off["loss"]) << "overlap must not change a bit";
    EXPECT_EQ(on["transport"], "tcp");
    const auto sent = on["sent_bytes"].get<double>();
    EXPECT_EQ(sent, on["bucket_bytes"].get<double>()) << "2(n-1)/n of the bytes, n = 2";
    const auto crossed = static_cast<double>(hosts.sent(cable, 0).bytes);
    EXPECT_GT(crossed, sent * 2 * on["steps"].get<double>()) << "both ways to train, over the cable";
    EXPECT_EQ(off["first_bucket_before_last_gradient"], 0);
    const double wire_us = sent * 8 / kMegabitPerSecond;
    hidden.push_back(100 * (1 - on["exposed_buckets_us"].get<double>() / wire_us));
    early.push_back(100 * on["first_bucket_before_last_gradient"].get<double>());
    gain.push_back(on["samples_per_second"].get<double>() / off["samples_per_second"].get<double>());
  }
  print_samples("percent_of_wire_time_hidden", hidden);
  print_samples("percent_of_steps_with_first_bucket_complete_before_last_gradient", early);
  print_samples("samples_per_second_overlap_on_over_off", gain);
}

}  // namespace
}  // namespace rondo::test
