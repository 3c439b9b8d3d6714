#include "launcher/report/cause.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

namespace rondo::launcher {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::StartsWith;

RankStory ended(int exit_code, int signal) {
  RankStory story{.rank = 1, .pid = 7, .host = "box"};
  story.evidence.ending = Ending{.exit_code = exit_code, .signal = signal, .at = {}};
  return story;
}

TEST(Cause, IsShortageOfMemoryOnlyByEvidence) {
  RankStory story = ended(0, SIGKILL);
  EXPECT_EQ(cause_of(story), "");
  EXPECT_THAT(*hint_for(story), HasSubstr("kill -9"));
  story.evidence.out_of_memory = "memory cgroup /sys/fs/cgroup/job: the kernel killed a process in it";
  EXPECT_EQ(cause_of(story), "out of memory: " + story.evidence.out_of_memory);
  EXPECT_THAT(*hint_for(story), HasSubstr("smaller batch"));
  // Another process's misfortune is not this one's crash.
  RankStory crashed = ended(0, SIGSEGV);
  crashed.evidence.out_of_memory = story.evidence.out_of_memory;
  EXPECT_EQ(cause_of(crashed), "it used memory that is not its own");
}

TEST(Cause, OfARefusedAllocationIsShortageOfMemory) {
  RankStory story = ended(0, SIGABRT);
  story.last_lines = {"terminate called after throwing an instance of 'std::bad_alloc'"};
  EXPECT_EQ(cause_of(story), "out of memory: an allocation was refused");
}

TEST(Cause, OfAnExceptionIsItsText) {
  RankStory story = ended(0, SIGABRT);
  story.evidence.report = FailureReport{.culprit = 1, .code = "exception", .text = "no such tensor"};
  EXPECT_EQ(cause_of(story), "exception: no such tensor");
  EXPECT_THAT(evidence_of({.ranks = {ended(0, 0), story}, .culprit = 1}),
              Contains("its own report: exception: no such tensor"));
}

TEST(Cause, OfAHangSaysHowTheRankWasFoundAndWhoWaited) {
  RankStory silent = ended(0, SIGTERM), waited = ended(1, 0);
  silent.evidence.hung = silent.evidence.stopped_by_launcher = true;
  silent.evidence.silence = Silence{.state = 'T', .beat_before = std::chrono::milliseconds(5200)};
  waited.rank = 0;
  waited.evidence.told_of = 1;
  waited.evidence.told_timeout = true;
  EXPECT_EQ(how_it_failed(silent), "did not answer");
  EXPECT_EQ(cause_of(silent),
            "stopped (process state T: SIGSTOP or a debugger); its keeper last beat 5200 ms before it was given up");
  EXPECT_THAT(*hint_for(silent), StartsWith("kill -CONT"));
  EXPECT_THAT(evidence_of({.ranks = {waited, silent}, .culprit = 1}), Contains("rank 0 waited for it in vain"));
}

TEST(Hint, ComesFromTheLastLinesOrTheEnding) {
  const auto hint = [](int exit_code, int signal, const std::string& line) {
    RankStory story = ended(exit_code, signal);
    story.last_lines = {line};
    return hint_for(story).value_or("none");
  };
  EXPECT_THAT(hint(127, 0, "./a: error while loading shared libraries: libx.so: cannot open"), HasSubstr("ldd"));
  EXPECT_THAT(hint(127, 0, ""), HasSubstr("not found"));
  EXPECT_THAT(hint(126, 0, ""), HasSubstr("chmod +x"));
  EXPECT_THAT(hint(1, 0, "bind: Address already in use"), HasSubstr("--master-port"));
  EXPECT_THAT(hint(1, 0, "OSError: [Errno 28] No space left on device"), HasSubstr("df -h"));
  EXPECT_THAT(hint(0, SIGILL, ""), HasSubstr("-march=native"));
  EXPECT_EQ(hint(37, 0, "my own trouble"), "none");
}

}  // namespace
}  // namespace rondo::launcher
