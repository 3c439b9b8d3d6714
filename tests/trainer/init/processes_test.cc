// Ranks as real processes over tcp, started by `rondo run`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/trainer/init/process_runs.h"

namespace rondo::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Ended run_worker(const std::string& ranks, const std::string& arguments) {
  return run_in_empty_folder(RONDO_PROGRAM " run --nproc-per-node " + ranks + " " RONDO_WORKER " " + arguments);
}

TEST(Processes, ReplicasOfTwoProcessesStayEqual) {
  const Ended ended = run_worker("2", "4");
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("rank 0 of 2 trained 4 steps, replicas equal"));
  EXPECT_THAT(ended.output, HasSubstr("rank 1 of 2 trained 4 steps, replicas equal"));
}

TEST(Processes, WorkerAloneIsAJobOfOne) {
  const Ended ended = run_in_empty_folder(RONDO_WORKER " 2");
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("rank 0 of 1 trained 2 steps"));
}

TEST(Processes, RankKilledInTheMiddleOfBackwardIsNamedByItsPeer) {
  const Ended ended = run_two_by_hand(RONDO_WORKER " 4 2");
  EXPECT_THAT(ended.output, HasSubstr("rondo::Error, culprit 1"));
  EXPECT_THAT(ended.output, HasSubstr("rank 0 ended with 1"));
  EXPECT_THAT(ended.output, Not(HasSubstr("trained")));
}

TEST(Processes, LauncherEndsWithTheSignalOfARankThatIsKilledInBackward) {
  const Ended ended = run_worker("2", "4 2");
  EXPECT_EQ(ended.exit_code, 137) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("killed by signal 9 (SIGKILL)"));
  EXPECT_THAT(ended.output, Not(HasSubstr("trained")));
}

}  // namespace
}  // namespace rondo::test
