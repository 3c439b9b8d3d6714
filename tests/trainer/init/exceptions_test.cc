// One rank throws, in each place where a training program can.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/trainer/init/process_runs.h"

namespace rondo::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Exception : public testing::TestWithParam<const char*> {
 protected:
  std::string worker(const std::string& end) const { return RONDO_THROWING_WORKER " " + place() + " " + end; }
  std::string place() const { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(In, Exception, testing::Values("forward", "loss", "node", "hook"),
                         [](const auto& each) { return std::string(each.param); });

TEST_P(Exception, ThatNobodyCatchesIsToldToTheOtherRankWithItsTextAndTheStep) {
  const Ended ended = run_two_by_hand(worker("uncaught"));
  EXPECT_THAT(ended.output, HasSubstr("rondo::Error, culprit 1: kAborted: rank 1 aborted the job: uncaught "
                                      "std::runtime_error: no " +
                                      place() + " today in step 3"));
  EXPECT_THAT(ended.output, HasSubstr("rank 0 ended with 1"));
  EXPECT_THAT(ended.output, HasSubstr("terminate called after throwing")) << "the handler of before goes on";
  EXPECT_THAT(ended.output, Not(HasSubstr("replicas")));
}

TEST_P(Exception, ThatIsCaughtInsideTheLoopSkipsTheStepOnAllRanksAndTheyTrainOn) {
  const Ended ended = run_two_by_hand(worker("inside"));
  const std::string cause =
      "step 3 is skipped on all ranks: rank 1 failed (std::runtime_error: no " + place() + " today)";
  EXPECT_THAT(ended.output, HasSubstr("rondo[0]: warning: " + cause));
  EXPECT_THAT(ended.output, HasSubstr("rondo[1]: warning: " + cause));
  EXPECT_THAT(ended.output, HasSubstr("rank 0: 6 steps reduced, replicas equal"));
  EXPECT_THAT(ended.output, HasSubstr("rank 1: 6 steps reduced, replicas equal"));
}

TEST_P(Exception, ThatIsReportedBehindTheCatchBlockSkipsTheStepToo) {
  const Ended ended = run_two_by_hand(worker("skip"));
  EXPECT_THAT(ended.output,
              HasSubstr("rondo[0]: warning: step 3 is skipped on all ranks: rank 1 failed (no " + place() + " today)"));
  EXPECT_THAT(ended.output, HasSubstr("rank 0: 6 steps reduced, replicas equal"));
  EXPECT_THAT(ended.output, HasSubstr("rank 1: 6 steps reduced, replicas equal"));
}

TEST(Exceptions, InBackwardNeedsNoCallToBeSkippedOnAllRanks) {
  const Ended ended = run_two_by_hand(RONDO_THROWING_WORKER " node goes-on");
  EXPECT_THAT(ended.output,
              HasSubstr("rondo[0]: warning: step 3 is skipped on all ranks: rank 1 failed (its backward threw)"));
  EXPECT_THAT(ended.output, HasSubstr("rank 0: 6 steps reduced, replicas equal"));
  EXPECT_THAT(ended.output, HasSubstr("rank 1: 6 steps reduced, replicas equal"));
}

TEST(Exceptions, ThatLeavesTheScopeOfItsJobEndsTheOthersWithTheRankAndTheStep) {
  const Ended ended = run_two_by_hand(RONDO_THROWING_WORKER " forward outside");
  EXPECT_THAT(ended.output, HasSubstr("outside: no forward today"));
  EXPECT_THAT(ended.output, HasSubstr("rondo::Error, culprit 1: "));
  EXPECT_THAT(ended.output, HasSubstr("ended by an exception"));
  EXPECT_THAT(ended.output, HasSubstr("rank 0 ended with 1"));
}

TEST(Exceptions, ThatNobodyCatchesIsInTheFileThatTorchrunAsksFor) {
  const Ended ended = run_two_by_hand("TORCHELASTIC_ERROR_FILE=error.json " RONDO_THROWING_WORKER " node uncaught",
                                      "echo error file: $(cat error.json)");
  EXPECT_THAT(ended.output, HasSubstr("error file: {\"message\":{\"extraInfo\":{\"py_callstack\":\"uncaught "
                                      "std::runtime_error: no node today in step 3\""))
      << "rank 1's: rank 0 catches its error";
}

TEST(Exceptions, OfAFailedStartAreInTheFileThatTorchrunAsksForToo) {
  const Ended ended = run_in_empty_folder("sh -c 'WORLD_SIZE=2 RANK=2 TORCHELASTIC_ERROR_FILE=error.json " RONDO_WORKER
                                          "; echo error file: $(cat error.json)'");
  EXPECT_THAT(ended.output, HasSubstr("error file: {\"message\":"));
  EXPECT_THAT(ended.output, HasSubstr("\"message\":\"kInvalidArgument: RANK is")) << ended.output;
}

TEST(Exceptions, ThatNobodyCatchesIsInTheReportOfTheLauncher) {
  const Ended ended = run_in_empty_folder(RONDO_PROGRAM " run --nproc-per-node 2 " RONDO_THROWING_WORKER
                                                        " node uncaught; code=$?; cat runs/latest/failure.json 2>&1; "
                                                        "cat runs/latest/events.jsonl; exit $code");
  EXPECT_EQ(ended.exit_code, 134) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("uncaught std::runtime_error: no node today in step 3"));
}

}  // namespace
}  // namespace rondo::test
