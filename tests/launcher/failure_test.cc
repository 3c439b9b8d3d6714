/// A rank fails: who is named, which code comes out, what happens to the others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

using nlohmann::json;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

/// "rank 1 (host H, pid P) " of this run, with P from events.jsonl.
std::string rank_in_words(const std::filesystem::path& run, int rank) {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  for (const std::string& line : lines_of(read_file(run / "events.jsonl"))) {
    const json event = json::parse(line);
    if (event["kind"] == "spawn" && event["rank"] == rank) {
      return "rank " + std::to_string(rank) + " (host " + host.data() + ", pid " +
             std::to_string(event["pid"].get<int>()) + ") ";
    }
  }
  return "rank without a spawn event";
}

pid_t pid_of(const std::filesystem::path& run, int rank) {
  pid_t pid = -1;
  eventually(std::chrono::seconds(10), [&] {
    for (const std::string& line : lines_of(read_file(run / "events.jsonl"))) {
      const json event = json::parse(line, nullptr, false);
      if (!event.is_discarded() && event["kind"] == "spawn" && event["rank"] == rank) pid = event["pid"];
    }
    return pid > 0;
  });
  return pid;
}

class Failure : public testing::Test {
 protected:
  Outcome run(int ranks, std::vector<std::string> actions, std::vector<std::string> flags = {},
              std::map<std::string, std::string> environment = {}) {
    std::vector<std::string> arguments{"run", "-n", std::to_string(ranks), "--run-dir", "run"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    arguments.emplace_back(RONDO_TEST_WORKER);
    arguments.insert(arguments.end(), actions.begin(), actions.end());
    return run_rondo(arguments, {.environment = std::move(environment), .folder = folder_.path()});
  }
  /// The command of the report, as a user would type it.
  Outcome type(const std::string& command) {
    const std::string program = std::filesystem::path(RONDO_PROGRAM).parent_path().string();
    return run_rondo({"-c", "PATH=" + program + ":$PATH; " + command},
                     {.program = "/bin/sh", .folder = folder_.path()});
  }
  std::filesystem::path run_folder() const { return folder_.path() / "run"; }

  const TemporaryFolder folder_;
};

TEST_F(Failure, ExitCodeOfTheFailedRankComesOutWithItsNameAndLastLines) {
  const Outcome outcome = run(3, {"1:err=the disk is full", "1:exit=37", "wait"});
  EXPECT_EQ(outcome.exit_code, 37);
  const auto lines = lines_of(outcome.errors);
  EXPECT_THAT(lines, Contains(rank_in_words(run_folder(), 1) + "exited with code 37"));
  EXPECT_THAT(lines, Contains("    the disk is full"));
  EXPECT_THAT(lines, Contains("  ended because of it: rank 0 (stopped), rank 2 (stopped)"));
}

TEST_F(Failure, KilledWorkerIsNamedWithItsSignalWithinFiveSeconds) {
  Launch launch({"run", "-n", "2", "--run-dir", "run", RONDO_TEST_WORKER, "out=ready", "wait"},
                {.folder = folder_.path()});
  ASSERT_TRUE(launch.wait_for("[rank 1] ready"));
  const auto before = std::chrono::steady_clock::now();
  ASSERT_EQ(::kill(pid_of(run_folder(), 1), SIGKILL), 0);
  const Outcome outcome = launch.wait();
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(5));
  EXPECT_EQ(outcome.exit_code, 137);
  EXPECT_THAT(lines_of(outcome.errors), Contains(rank_in_words(run_folder(), 1) + "killed by signal 9 (SIGKILL)"));
}

TEST_F(Failure, AbortIsReportedAs134) {
  const Outcome outcome = run(2, {"0:abort", "wait"});
  EXPECT_EQ(outcome.exit_code, 134);
  EXPECT_THAT(outcome.errors, HasSubstr("killed by signal 6 (SIGABRT)"));
}

TEST_F(Failure, VictimThatIsSeenFirstDoesNotDecide) {
  const Outcome outcome = run(3, {"0:blame=1", "0:exit=1", "1:sleep=300", "1:kill", "2:blame=1", "2:exit=5"});
  EXPECT_EQ(outcome.exit_code, 137);
  const auto lines = lines_of(outcome.errors);
  EXPECT_THAT(lines, Contains(rank_in_words(run_folder(), 1) + "killed by signal 9 (SIGKILL)"));
  EXPECT_THAT(lines, Contains("  ended because of it: rank 0 (exited with code 1), rank 2 (exited with code 5)"));
  EXPECT_THAT(outcome.errors, Not(HasSubstr(rank_in_words(run_folder(), 0))));
}

TEST_F(Failure, OwnReportIsShown) {
  const Outcome outcome = run(2, {"1:blame=-1", "1:exit=7", "wait"});
  EXPECT_EQ(outcome.exit_code, 7);
  EXPECT_THAT(lines_of(outcome.errors), Contains("  it reported: kPeerLost: all_reduce: rank -1 is gone"));
}

TEST_F(Failure, VerdictReachesTheOthersWhichMayEndWithTheirOwnErrors) {
  const Outcome outcome = run(3, {"hello", "1:sleep=200", "1:kill", "verdict", "err=rank 1 was lost", "exit=1"});
  EXPECT_EQ(outcome.exit_code, 137);
  const std::string verdict = "verdict: rank 1 pid " + std::to_string(pid_of(run_folder(), 1)) + " exit -1 signal 9";
  EXPECT_THAT(lines_of(outcome.output), testing::UnorderedElementsAre("[rank 0] " + verdict, "[rank 2] " + verdict));
  EXPECT_THAT(lines_of(outcome.errors),
              Contains("  ended because of it: rank 0 (exited with code 1), rank 2 (exited with code 1)"));
}

TEST_F(Failure, DeafRanksAreKilledAfterTheGrace) {
  const auto before = std::chrono::steady_clock::now();
  const Outcome outcome = run(2, {"0:ignore-term", "0:wait", "1:exit=3"}, {"--grace", "0.3"});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(8));
}

TEST_F(Failure, EventsTellTheStoryInOrder) {
  run(2, {"1:exit=9", "wait"});
  std::vector<std::string> kinds;
  json verdict, end;
  for (const std::string& line : lines_of(read_file(run_folder() / "events.jsonl"))) {
    const json event = json::parse(line);
    kinds.push_back(event["kind"]);
    if (event["kind"] == "verdict") verdict = event;
    if (event["kind"] == "end") end = event;
  }
  EXPECT_THAT(kinds, testing::ElementsAre("start", "spawn", "spawn", "exit", "verdict", "stop", "exit", "end"));
  EXPECT_EQ(verdict["rank"], 1);
  EXPECT_EQ(verdict["cause"], "exited with code 9");
  EXPECT_EQ(end["exit_code"], 9);
}

TEST_F(Failure, ProgramThatIsNoExecutableFormatEndsWith126) {
  const auto script = folder_.path() / "no-shebang";
  {
    Outcome made = run_rondo({"-c", "echo exit 0 > no-shebang; chmod +x no-shebang"},
                             {.program = "/bin/sh", .folder = folder_.path()});
  }
  const Outcome outcome = run_rondo({"run", script.string()}, {.folder = folder_.path()});
  EXPECT_EQ(outcome.exit_code, 126);
  EXPECT_THAT(outcome.errors, HasSubstr("a script needs a first line such as #!/bin/sh"));
}

TEST_F(Failure, ChildrenOfAFailedRankDieWithIt) {
  const Outcome outcome = run(1, {"child", "exit=4"});
  EXPECT_EQ(outcome.exit_code, 4);
  const std::string line = lines_of(outcome.output).at(0);
  ASSERT_THAT(line, testing::MatchesRegex("child [0-9]+"));
  EXPECT_TRUE(eventually(std::chrono::seconds(5), [&] { return !process_lives(std::stoi(line.substr(6))); }));
}

TEST_F(Failure, IsWrittenForProgramsToo) {
  const Outcome outcome = run(3, {"1:err=the disk is full", "1:exit=37", "wait"});
  const json failure = json::parse(read_file(run_folder() / "failure.json"));
  EXPECT_EQ(failure["rank"], 1);
  EXPECT_EQ(failure["pid"], pid_of(run_folder(), 1));
  EXPECT_EQ(failure["exit_code"], 37);
  EXPECT_EQ(failure["signal"], nullptr);
  EXPECT_EQ(failure["cause"], "exited with code 37");
  EXPECT_EQ(failure["last_lines"], json::array({"the disk is full"}));
  EXPECT_EQ(failure["victims"], json::array({0, 2}));
  EXPECT_FALSE(failure["evidence"].empty());
  // The command fails in the same way when it is typed again.
  const std::string again = failure["rerun"].get<std::string>();
  EXPECT_THAT(lines_of(outcome.errors), Contains("  again: " + again));
  const Outcome second = type(again);
  EXPECT_EQ(second.exit_code, 37) << again << second.errors;
}

TEST_F(Failure, CanBeRepeatedInAnotherShellWithWhatVariablesSaid) {
  const Outcome outcome = run(2, {"out=o", "1:exit=37"}, {"--run_dir=own"},
                              {{"RONDO_ROLE", "an actor"}, {"PET_MAX_RESTARTS", "1"}, {"PET_STANDALONE", "0"}});
  EXPECT_EQ(outcome.exit_code, 37);
  const std::string again = "rondo run --max-restarts=1 '--role=an actor' -n 2 " RONDO_TEST_WORKER " out=o 1:exit=37";
  EXPECT_THAT(lines_of(outcome.errors), Contains("  again: " + again));
  const Outcome second = type(again);
  EXPECT_EQ(second.exit_code, 37) << second.errors;
  EXPECT_THAT(second.errors, HasSubstr("restart 1 of 1"));
}

TEST_F(Failure, OfARankThatWritesToStdoutOnlyShowsThatAndHelpsByIt) {
  const Outcome outcome = run(2, {"1:out=bind: Address already in use", "1:exit=37", "wait"});
  EXPECT_EQ(outcome.exit_code, 37);
  EXPECT_THAT(outcome.errors, HasSubstr("\n  its last lines on stdout (all of them: /"));
  EXPECT_THAT(outcome.errors, HasSubstr("/run/logs/rank-0001.out; it wrote nothing to stderr):\n"
                                        "    bind: Address already in use\n"));
  EXPECT_THAT(outcome.errors, HasSubstr("  hint: another process has that port"));
  const json failure = json::parse(read_file(run_folder() / "failure.json"));
  EXPECT_EQ(failure["last_lines"], json::array({"bind: Address already in use"}));
  EXPECT_EQ(failure["last_lines_of"], "stdout");
}

TEST_F(Failure, RankThatHangsIsNamedAndNotThoseThatWaitedForIt) {
  const Outcome outcome = run(3, {"timeout=1000", "join", "reduce=10", "1:stop", "reduce=10", "leave"});
  EXPECT_EQ(outcome.exit_code, 5) << outcome.errors;
  EXPECT_THAT(lines_of(outcome.errors), Contains(rank_in_words(run_folder(), 1) + "did not answer"));
  EXPECT_THAT(outcome.errors, HasSubstr("  cause: stopped (process state T: SIGSTOP or a debugger); its keeper last"));
  EXPECT_THAT(outcome.errors, HasSubstr("    ranks 0 and 2: in all_reduce of 10 float32, sum, tag \"bucket 1\""));
  const json failure = json::parse(read_file(run_folder() / "failure.json"));
  EXPECT_EQ(failure["rank"], 1);
  EXPECT_EQ(failure["exit_code"], nullptr);
  EXPECT_THAT(failure["cause"].get<std::string>(), HasSubstr("did not answer: stopped (process state T"));
  EXPECT_EQ(failure["victims"], json::array({0, 2}));
}

TEST_F(Failure, CrashShowsWhereItWas) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer handles crashes itself";
#endif
  const Outcome outcome = run(2, {"join", "1:crash", "reduce=10", "leave"});
  EXPECT_EQ(outcome.exit_code, 139) << outcome.errors;
  EXPECT_THAT(lines_of(outcome.errors), Contains(rank_in_words(run_folder(), 1) + "killed by signal 11 (SIGSEGV)"));
  EXPECT_THAT(outcome.errors, HasSubstr("  cause: it used memory that is not its own"));
  const json frames = json::parse(read_file(run_folder() / "failure.json"))["backtrace"];
  ASSERT_FALSE(frames.empty()) << outcome.errors;
  EXPECT_THAT(frames[0].get<std::string>(), testing::MatchesRegex(".*use_memory_that_is_not_ours.*launcher_worker."));
  EXPECT_THAT(frames.dump(), HasSubstr("main+0x"));
}

}  // namespace
}  // namespace rondo::test
