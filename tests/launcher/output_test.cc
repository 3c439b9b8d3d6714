/// How the ranks' output looks on the launcher's own stdout and stderr.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

/// The line that launcher_worker's lines=N writes.
std::string expected_line(int rank, int i) {
  return "line " + std::to_string(i) + " of rank " + std::to_string(rank) + " " +
         std::string(static_cast<size_t>((i * 7 + rank) % 90), 'x') + " end";
}

TEST(Output, NeverMixesLinesOfEightRanksAndLosesNone) {
  constexpr int kRanks = 8, kLines = 2000;
  const TemporaryFolder folder;
  const Outcome run =
      run_rondo({"run", "-n", std::to_string(kRanks), RONDO_TEST_WORKER, "lines=" + std::to_string(kLines)},
                {.folder = folder.path()});
  ASSERT_EQ(run.exit_code, 0);
  for (const std::string* text : {&run.output, &run.errors}) {
    std::map<int, int> seen;
    for (const std::string& line : lines_of(*text)) {
      ASSERT_TRUE(line.starts_with("[rank ")) << line;
      const int rank = line[6] - '0';
      ASSERT_EQ(line, "[rank " + std::to_string(rank) + "] " + expected_line(rank, seen[rank]));
      ++seen[rank];
    }
    ASSERT_EQ(seen.size(), static_cast<size_t>(kRanks));
    for (const auto& [rank, count] : seen) EXPECT_EQ(count, kLines) << "rank " << rank;
  }
}

TEST(Output, OfASingleRankHasNoPrefix) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"run", RONDO_TEST_WORKER, "out=hello", "err=trouble"}, {.folder = folder.path()});
  EXPECT_EQ(run.output, "hello\n");
  EXPECT_EQ(run.errors, "trouble\n");
}

TEST(Output, ShowsAnUnfinishedLineWhileTheRankStillRuns) {
  const TemporaryFolder folder;
  Launch launch({"run", "-n", "2", RONDO_TEST_WORKER, "1:raw=half a line", "wait"}, {.folder = folder.path()});
  EXPECT_TRUE(launch.wait_for("[rank 1] half a line\n"));
}

TEST(Output, EscapesTerminalControlButKeepsTheLogRaw) {
  const TemporaryFolder folder;
  const Outcome run =
      run_rondo({"run", "--run-dir", "run", RONDO_TEST_WORKER, "raw=\\e[2Jgone\\ttab\\n"}, {.folder = folder.path()});
  EXPECT_EQ(run.output, "\\x1b[2Jgone\ttab\n");
  EXPECT_EQ(read_file(folder.path() / "run" / "logs" / "rank-0000.out"), "\x1b[2Jgone\ttab\n");
}

TEST(Output, PrintsWhatRanksSayToPeopleBare) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"run", "-n", "2", RONDO_TEST_WORKER, "0:say=test accuracy: 90.87 %", "1:out=plain"},
                                {.folder = folder.path()});
  EXPECT_THAT(lines_of(run.output), UnorderedElementsAre("test accuracy: 90.87 %", "[rank 1] plain"));
}

TEST(Output, WritesProgressAsPlainLinesWhenStderrIsNoTerminal) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"run", "-n", "2", RONDO_TEST_WORKER, "progress=1,1", "progress=1,2", "progress=1,99",
                                 "progress=1,100", "progress=2,1"},
                                {.folder = folder.path()});
  EXPECT_EQ(run.output, "");
  EXPECT_THAT(lines_of(run.errors), ElementsAre("epoch 1/3, step 1/100, loss 0.2500, 1234 samples/s",
                                                "epoch 1/3, step 100/100, loss 0.2500, 1234 samples/s"))
      << "the first, the end of an epoch, and one about every 10 s; of rank 0 only";
}

TEST(Output, GoesOnToTheLogsWhenNobodyReadsItAnyMore) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"-c", std::string(RONDO_PROGRAM) + " run --run-dir run " + RONDO_TEST_WORKER +
                                           " lines=5000 | head -n 1; exit ${PIPESTATUS[0]}"},
                                {.program = "/bin/bash", .folder = folder.path()});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.output, expected_line(0, 0) + "\n");
  EXPECT_EQ(lines_of(read_file(folder.path() / "run" / "logs" / "rank-0000.out")).size(), 5000u);
}

// Of rank 0, both streams, without the prefixes: the launcher holds at most 1 MiB of both together, prefixes included.
std::uintmax_t logged_bytes(const std::filesystem::path& logs) {
  std::uintmax_t bytes = 0;
  for (const char* stream : {"rank-0000.out", "rank-0000.err"}) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(logs / stream, error);
    if (!error) bytes += size;
  }
  return bytes;
}

TEST(Output, WaitsForASlowReaderWithoutLosingALineOrGoingDeaf) {
  const TemporaryFolder folder;
  // 3.6 MB: more than the pipes and the launcher hold.
  Launch launch({"run", "-n", "2", RONDO_TEST_WORKER, "0:lines=30000"}, {.folder = folder.path()});
  const auto logs = folder.path() / "runs" / "latest" / "logs";
  std::uintmax_t size = 0;
  ASSERT_TRUE(eventually(std::chrono::seconds(20), [&] {  // nobody reads: it comes to rest
    const std::uintmax_t before = std::exchange(size, logged_bytes(logs));
    return size > 900'000 && size == before;
  }));
  const Outcome run = launch.wait();
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(lines_of(run.output).size(), 30000u);
  EXPECT_EQ(lines_of(run.errors).size(), 30000u);
}

TEST(Output, ThatNobodyReadsDoesNotKeepASignalFromEndingTheRun) {
  const TemporaryFolder folder;
  Launch launch({"run", "-n", "2", "--run-dir", "run", RONDO_TEST_WORKER, "0:lines=30000", "wait"},
                {.folder = folder.path()});
  const auto logs = folder.path() / "run" / "logs";
  ASSERT_TRUE(eventually(std::chrono::seconds(20), [&] { return logged_bytes(logs) > 900'000; }));
  launch.signal(SIGINT);
  EXPECT_TRUE(eventually(std::chrono::seconds(10), [&] {
    return read_file(folder.path() / "run" / "events.jsonl").find("\"kind\":\"exit\"") != std::string::npos;
  }));
  launch.signal(SIGINT);  // and neither does the report that nobody reads
  EXPECT_EQ(launch.wait().exit_code, 130);
}

TEST(Output, HasThePrefixThatWasAskedFor) {
  const TemporaryFolder folder;
  const auto output = [&](const char* prefix) {
    return run_rondo({"run", "-n", "2", "--prefix", prefix, RONDO_TEST_WORKER, "1:out=hello"},
                     {.folder = folder.path()})
        .output;
  };
  EXPECT_EQ(output("none"), "hello\n");
  EXPECT_EQ(output("rank"), "[rank 1] hello\n");
  EXPECT_THAT(output("full"), testing::ContainsRegex("^\\[20[0-9-]+T[0-9:.]+Z [^ ]+ rank 1 stdout\\] hello\n$"));
  const auto line = nlohmann::json::parse(output("json"));
  EXPECT_EQ(line["rank"], 1);
  EXPECT_EQ(line["stream"], "stdout");
  EXPECT_EQ(line["line"], "hello");
}

TEST(Output, IsColouredWhenForcedAndNotInAPipe) {
  const TemporaryFolder folder;
  const auto output = [&](const std::map<std::string, std::string>& variables) {
    return run_rondo({"run", "-n", "2", RONDO_TEST_WORKER, "1:out=hello"},
                     {.environment = variables, .folder = folder.path()})
        .output;
  };
  EXPECT_EQ(output({{"NO_COLOR", ""}, {"CLICOLOR_FORCE", ""}, {"TERM", "xterm"}}), "[rank 1] hello\n");
  EXPECT_EQ(output({{"NO_COLOR", ""}, {"CLICOLOR_FORCE", "1"}}), "\x1b[33m[rank 1]\x1b[0m hello\n");
  EXPECT_EQ(output({{"NO_COLOR", "1"}, {"CLICOLOR_FORCE", "1"}}), "[rank 1] hello\n");
}

TEST(Output, ShowsEqualLinesOfRanksAsOneWhenAsked) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"run", "-n", "3", "--collapse", "--run-dir", "run", RONDO_TEST_WORKER,
                                 "out=loaded 60000 samples", "1:out=mine", "out=done"},
                                {.folder = folder.path()});
  // A slow start may split a line of three; nothing may be lost, and each rank's lines keep their order.
  std::map<char, std::vector<std::string>> by_rank;
  for (const std::string& line : lines_of(run.output)) {
    ASSERT_TRUE(line.starts_with("[rank")) << line;
    const size_t end = line.find("] ");
    const std::string who = line.substr(line.find(' ') + 1, end - line.find(' ') - 1);
    for (const char rank : {'0', '1', '2'}) {
      const bool inside = who.find(rank) != std::string::npos || (who == "0-2" && rank == '1');
      if (inside) by_rank[rank].push_back(line.substr(end + 2));
    }
  }
  EXPECT_THAT(by_rank['0'], ElementsAre("loaded 60000 samples", "done"));
  EXPECT_THAT(by_rank['1'], ElementsAre("loaded 60000 samples", "mine", "done"));
  EXPECT_THAT(by_rank['2'], ElementsAre("loaded 60000 samples", "done"));
  EXPECT_EQ(read_file(folder.path() / "run" / "logs" / "rank-0002.out"), "loaded 60000 samples\ndone\n");
}

TEST(Output, IsKeptUpToACapOfWhichTheBeginningAndTheEndAreLeft) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"run", "--log-cap", "4KiB", "--run-dir", "run", RONDO_TEST_WORKER, "lines=1000"},
                                {.folder = folder.path()});
  EXPECT_EQ(lines_of(run.output).size(), 1000u) << "what is shown has no cap";
  const auto logs = folder.path() / "run" / "logs";
  const std::string log = read_file(logs / "rank-0000.out");
  EXPECT_THAT(log, testing::StartsWith(expected_line(0, 0) + "\n"));
  EXPECT_THAT(log, HasSubstr("bytes left out here: --log-cap]\n"));
  EXPECT_THAT(log, testing::EndsWith(expected_line(0, 999) + "\n"));
  EXPECT_LT(log.size(), 7000u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(logs), {}), 2) << "no parts are left";
}

TEST(Output, DoesNotWaitForAProcessThatARankLeftBehind) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"run", RONDO_TEST_WORKER, "child", "out=done"}, {.folder = folder.path()});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.output, testing::MatchesRegex("child [0-9]+\ndone\n"));
}

}  // namespace
}  // namespace rondo::test
