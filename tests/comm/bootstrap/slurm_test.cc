#include "comm/bootstrap/slurm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> hosts(std::string_view list) {
  const auto got = slurm_hosts(list);
  EXPECT_TRUE(got.ok()) << list << ": " << got.status().text();
  return got.ok() ? *got : std::vector<std::string>{};
}

TEST(Slurm, ReadsListsOfHosts) {
  EXPECT_THAT(hosts("vm"), ElementsAre("vm"));
  EXPECT_THAT(hosts("gpu[01-03,7],cpu2"), ElementsAre("gpu01", "gpu02", "gpu03", "gpu7", "cpu2"));
  EXPECT_THAT(hosts("a,b,c"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(hosts("n[8-11]"), ElementsAre("n8", "n9", "n10", "n11"));
  EXPECT_THAT(hosts("n[08-11]"), ElementsAre("n08", "n09", "n10", "n11"));
  EXPECT_THAT(hosts("n[098-101]x"), ElementsAre("n098x", "n099x", "n100x", "n101x"));
  EXPECT_THAT(hosts("rack[1-2]n[01-02]"), ElementsAre("rack1n01", "rack1n02", "rack2n01", "rack2n02"));
  EXPECT_THAT(hosts("gpu[5]-ib.site.example,login"), ElementsAre("gpu5-ib.site.example", "login"));
  EXPECT_EQ(hosts("n[0-65535]").size(), 65536u);
}

TEST(Slurm, SaysWhatIsWrongWithAListOfHosts) {
  for (const char* list : {"", ",", "a,", ",a", "n[", "n]", "n[1", "n[]", "n[1-]", "n[-1]", "n[2-1]", "n[1,]", "n[a-b]",
                           "n[0-65536]", "n[0-999][0-999]", "n[0-65535],m", "n[18446744073709551616]"}) {
    const auto got = slurm_hosts(list);
    ASSERT_FALSE(got.ok()) << list;
    EXPECT_EQ(got.status().code(), Code::kInvalidArgument);
    EXPECT_THAT(got.status().message(), HasSubstr("'" + std::string(list) + "'"));
  }
  EXPECT_EQ(hosts("n[18446744073709551615]").size(), 1u) << "the last number ends the count";
}

TEST(Slurm, ReadsTasksPerNode) {
  const auto tasks = [](std::string_view counts) { return *slurm_tasks_per_node(counts); };
  EXPECT_THAT(tasks("2"), ElementsAre(2));
  EXPECT_THAT(tasks("2(x3),1"), ElementsAre(2, 2, 2, 1));
  EXPECT_THAT(tasks("1,2(x1),16(x2)"), ElementsAre(1, 2, 16, 16));
  for (const char* counts : {"", "two", "2(x3", "2(x)", "2(3)", "2,", "2(x3)1", "-1", "2(x65537)", "1(x65536),1"}) {
    const auto got = slurm_tasks_per_node(counts);
    ASSERT_FALSE(got.ok()) << counts;
    EXPECT_THAT(got.status().message(), HasSubstr("'" + std::string(counts) + "'"));
  }
}

}  // namespace
}  // namespace rondo::comm
