#include "launcher/bench/contenders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace rondo::launcher {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> names_of(const std::vector<Contender>& all) {
  std::vector<std::string> names;
  for (const Contender& contender : all) names.push_back(contender.name);
  return names;
}

const std::vector<Rival> kAllRivals{Rival::kGloo, Rival::kOpenMpi, Rival::kMpich};

TEST(Contenders, AreReadFromAListThatMayRepeat) {
  EXPECT_THAT(*parse_rivals("mpich,gloo,mpich"), ElementsAre(Rival::kMpich, Rival::kGloo));
  for (const char* wrong : {"", ",", "mpi", "gloo,", "gloo openmpi"}) {
    const auto rivals = parse_rivals(wrong);
    if (std::string(wrong) == "gloo,") {
      EXPECT_TRUE(rivals.ok()) << "a trailing comma means nothing";
      continue;
    }
    ASSERT_FALSE(rivals.ok()) << wrong;
    EXPECT_THAT(rivals.status().message(), HasSubstr("--against"));
  }
}

TEST(Contenders, BeginWithRondoAndHaveEachSettingOnce) {
  const auto all = contenders(kAllRivals, {.operation = "all_reduce", .ranks = 2});
  EXPECT_EQ(all.front().name, "rondo");
  const auto names = names_of(all);
  EXPECT_EQ(std::set(names.begin(), names.end()).size(), names.size());
  for (const char* expected : {"gloo-ring", "gloo-bcube", "gloo-halving-doubling", "openmpi", "openmpi-ring",
                               "openmpi-copy-in-out", "mpich", "mpich-recursive-doubling"}) {
    EXPECT_THAT(names, Contains(expected));
  }
}

TEST(Contenders, KeepTheirMemoryBetweenCalls) {
  for (const Contender& contender : contenders(kAllRivals, {.operation = "all_reduce", .ranks = 2})) {
    if (contender.camp == Camp::kOurs) {
      EXPECT_THAT(contender.environment, testing::IsEmpty());
    } else {
      EXPECT_THAT(contender.environment, Contains("MALLOC_MMAP_MAX_=0")) << contender.name;
      EXPECT_THAT(contender.environment, Contains(testing::StartsWith("MALLOC_TRIM_THRESHOLD_="))) << contender.name;
    }
  }
}

TEST(Contenders, OfOtherOperationsHaveNoAllReduceAlgorithms) {
  EXPECT_THAT(names_of(contenders(kAllRivals, {.operation = "broadcast", .ranks = 2})),
              ElementsAre("rondo", "gloo-ring", "openmpi", "openmpi-copy-in-out", "mpich"));
}

TEST(Contenders, AreNotThoseThatLackTheOperation) {
  EXPECT_THAT(names_of(contenders(kAllRivals, {.operation = "reduce_scatter", .ranks = 2})),
              ElementsAre("rondo", "openmpi", "openmpi-copy-in-out", "mpich"));
}

TEST(Contenders, ThatPollAreLeftOutWhereRanksShareCores) {
  const Field own{.operation = "all_reduce", .ranks = 4};
  Field shared = own;
  shared.cores = Field::Cores::kShared;
  EXPECT_THAT(names_of(contenders(kAllRivals, own)), Contains("gloo-halving-doubling-polled"));
  EXPECT_THAT(names_of(contenders(kAllRivals, shared)), Not(Contains("gloo-halving-doubling-polled")));
}

TEST(Contenders, EachRunsFirstInSomeRoundAndOnceInEvery) {
  constexpr size_t kCount = 5;
  std::set<size_t> first;
  for (int round = 1; round <= 5; ++round) {
    const auto order = running_order(kCount, round);
    first.insert(order.front());
    EXPECT_EQ(std::set(order.begin(), order.end()).size(), kCount) << "round " << round;
  }
  EXPECT_EQ(first.size(), kCount);
}

TEST(Contenders, OfOursAreStartedOnceARankAndMpisByTheirOwnLauncher) {
  const std::vector<std::string> flags{"all_reduce", "--quick"};
  const auto all = contenders(kAllRivals, {.operation = "all_reduce", .ranks = 3});
  const Start ours = start_of(all.front(), "/bin/rondo-comm-bench", flags, 3);
  EXPECT_EQ(ours.processes, 3);
  EXPECT_THAT(ours.words, ElementsAre("/bin/rondo-comm-bench", "all_reduce", "--quick"));
  for (const Contender& contender : all) {
    const Start start = start_of(contender, "/d", flags, 3);
    if (contender.name == "openmpi-ring") {
      EXPECT_EQ(start.processes, 1);
      const std::string words = testing::PrintToString(start.words);
      EXPECT_EQ(start.words.front(), "env");
      EXPECT_THAT(words, HasSubstr("\"mpirun.openmpi\", \"--bind-to\", \"none\""));
      EXPECT_THAT(words,
                  HasSubstr("\"coll_tuned_allreduce_algorithm\", \"4\", \"-np\", \"3\", \"/d\", \"all_reduce\""));
      EXPECT_THAT(words, HasSubstr("\"--variant\", \"ring\""));
      EXPECT_THAT(words, Not(HasSubstr("--oversubscribe")));
    }
    if (contender.name == "gloo-bcube") {
      EXPECT_EQ(start.processes, 3);
      EXPECT_EQ(start.words.back(), "bcube");
    }
  }
}

TEST(Contenders, MayShareCoresWhenToldSo) {
  const Field field{.operation = "all_reduce", .ranks = 4, .cores = Field::Cores::kShared};
  for (const Contender& contender : contenders(std::vector{Rival::kOpenMpi}, field)) {
    if (contender.camp != Camp::kMpi) continue;
    EXPECT_THAT(contender.starter, Contains("--oversubscribe"));
    EXPECT_THAT(settings_text(contender), HasSubstr("mpirun.openmpi --bind-to none"));
  }
}

}  // namespace
}  // namespace rondo::launcher
