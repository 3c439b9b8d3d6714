#include "comm/bench/pinning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace rondo::bench {
namespace {

using testing::ElementsAre;

TEST(Pinning, TakesEveryCoreBeforeAnyCoresOtherThread) {
  const std::vector<Processor> far{{0, 0}, {1, 1}, {2, 0}, {3, 1}};  // threads of a core are half the machine apart
  EXPECT_THAT(pinning_order(far), ElementsAre(0, 1, 2, 3));
  const std::vector<Processor> near{{0, 0}, {1, 0}, {2, 2}, {3, 2}};  // ... or neighbours
  EXPECT_THAT(pinning_order(near), ElementsAre(0, 2, 1, 3));
  const std::vector<Processor> part{{5, 1}, {7, 3}};  // what a container was left, first threads missing
  EXPECT_THAT(pinning_order(part), ElementsAre(5, 7));
}

TEST(Pinning, ReadsAListOfCpusAndRefusesAnythingElse) {
  EXPECT_THAT(*parse_cpus("3"), ElementsAre(3));
  EXPECT_THAT(*parse_cpus("0,1,17"), ElementsAre(0, 1, 17));
  for (const char* wrong : {"", ",", "0,", "0-3", "a", "-1", "1,,2", "1 2", "99999999999"}) {
    const auto cpus = parse_cpus(wrong);
    ASSERT_FALSE(cpus.ok()) << wrong;
    EXPECT_THAT(cpus.status().message(), testing::HasSubstr("--cpus"));
  }
  EXPECT_EQ(cpus_text(std::vector<int>{0, 1, 17}), "0,1,17");
}

TEST(Pinning, RanksWrapAroundTheCpusThatWereNamed) {
  EXPECT_EQ(*choose_cpu("4,6", 0), 4);
  EXPECT_EQ(*choose_cpu("4,6", 1), 6);
  EXPECT_EQ(*choose_cpu("4,6", 2), 4);
}

TEST(Pinning, BindsTheCallingThreadAlone) {
  const int cpu = usable_processors().back().cpu;
  int seen = -1;
  std::thread([&] {
    ASSERT_TRUE(pin_to(cpu).ok());
    seen = ::sched_getcpu();
    EXPECT_EQ(usable_processors().size(), 1U);
  }).join();
  EXPECT_EQ(seen, cpu);
}

}  // namespace
}  // namespace rondo::bench
