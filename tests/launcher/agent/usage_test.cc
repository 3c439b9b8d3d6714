#include "launcher/agent/usage.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace rondo::launcher {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

TEST(Usage, IsReadFromTheFilesOfProc) {
  // The name may hold spaces and brackets.
  const auto sample = read_usage(
      {.stat = "4711 (a ) R 1) S 1 4711 4711 0 -1 4194560 1214 0 0 0 250 50 7 9 20 0 1 0 88 17 4 18446744073709551615",
       .statm = "1045 257 213 5 0 121 0",
       .ticks_per_second = 100,
       .page_bytes = 4096});
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->state, 'S');
  EXPECT_EQ(sample->cpu_time, 3s);
  EXPECT_EQ(sample->resident_bytes, 257u * 4096);
}

TEST(Usage, OfFilesThatSaySomethingElseIsNone) {
  const std::string stat = "1 (x) R 1 1 1 0 -1 4194560 1 0 0 0 25 5 7 9", statm = "10 20";
  EXPECT_TRUE(read_usage({.stat = stat, .statm = statm}));
  EXPECT_FALSE(read_usage({.stat = "", .statm = statm}));
  EXPECT_FALSE(read_usage({.stat = "1 (x) R 1 1", .statm = statm}));
  EXPECT_FALSE(read_usage({.stat = "1 x R 1 1 1 0 -1 4194560 1 0 0 0 25 5", .statm = statm}));
  EXPECT_FALSE(read_usage({.stat = stat, .statm = "10"}));
  EXPECT_FALSE(read_usage({.stat = stat, .statm = statm, .ticks_per_second = 0}));
}

TEST(Usage, OfThisProcessGrows) {
  const auto before = sample_usage(::getpid());
  ASSERT_TRUE(before);
  EXPECT_GT(before->resident_bytes, 100u * 1024);
  const auto worked = [&] {
    const auto now = sample_usage(::getpid());
    return now && now->cpu_time >= before->cpu_time + 20ms;
  };
  const auto end = comm::Clock::now() + 20s;
  while (!worked() && comm::Clock::now() < end) continue;
  EXPECT_TRUE(worked());
  EXPECT_FALSE(sample_usage(0x7fffffff));
}

TEST(Usage, IsAShareOfOneProcessor) {
  EXPECT_DOUBLE_EQ(cpu_percent(500ms, 1s), 50);
  EXPECT_DOUBLE_EQ(cpu_percent(5s, 2s), 250);
  EXPECT_DOUBLE_EQ(cpu_percent(nanoseconds(0), 1s), 0);
  EXPECT_DOUBLE_EQ(cpu_percent(1s, comm::Duration(0)), 0);
}

}  // namespace
}  // namespace rondo::launcher
