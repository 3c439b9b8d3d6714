/// 64 ranks that print 10,000 lines a second and draw progress bars: no line torn, none lost, each rank's order kept.
/// What the launcher itself spends on it is printed; timing fails no test. `./dev soak chatter` takes the figures.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <time.h>

#include <cstdio>
#include <map>

#include "tests/launcher/support/launch.h"
#include "tests/support/soak.h"

namespace rondo::test {
namespace {

using std::chrono::steady_clock;

constexpr int kRanks = 64, kLinesPerSecond = 10'000;
constexpr std::chrono::seconds kDeadline{100};

/// Of `pid` alone, not of its children.
double cpu_seconds(pid_t pid) {
  clockid_t clock{};
  timespec spent{};
  EXPECT_EQ(::clock_getcpuclockid(pid, &clock), 0);
  EXPECT_EQ(::clock_gettime(clock, &spent), 0);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;
}

std::string chatter_line(int rank, int i) {
  return "line " + std::to_string(i) + " of rank " + std::to_string(rank) + " " +
         std::string(static_cast<size_t>((i * 7 + rank) % 90), 'x') + " end";
}

std::string ranked(int rank, const std::string& text) { return "[rank " + std::to_string(rank) + "] " + text; }

struct Chatter {
  Outcome run;
  double core_share = 0, lines_per_second = 0;
};

/// Lets the ranks print `lines` each, and measures while they do.
Chatter chatter(int lines) {
  const TemporaryFolder folder;
  const std::string go = (folder.path() / "go").string(), end = (folder.path() / "end").string();
  EXPECT_EQ(::mkfifo(go.c_str(), 0600), 0);
  EXPECT_EQ(::mkfifo(end.c_str(), 0600), 0);
  const auto open_gate = [](const std::string& fifo) {
    return launcher::Descriptor(::open(fifo.c_str(), O_RDWR | O_CLOEXEC));
  };
  Launch launch({"run", "-n", std::to_string(kRanks), RONDO_TEST_CHATTER, std::to_string(lines),
                 std::to_string(kLinesPerSecond / kRanks), go, end},
                {.folder = folder.path()});
  const auto wait_for_all = [&](const std::string& word) {
    for (int rank = 0; rank < kRanks; ++rank)
      EXPECT_TRUE(launch.wait_for(ranked(rank, word + " of rank " + std::to_string(rank) + "\n"), kDeadline)) << rank;
  };
  Chatter chatter;
  wait_for_all("ready");
  const double cpu_before = cpu_seconds(launch.pid());
  const auto began = steady_clock::now();
  const launcher::Descriptor gate = open_gate(go);
  wait_for_all("done");
  const double seconds = std::chrono::duration<double>(steady_clock::now() - began).count();
  chatter.core_share = (cpu_seconds(launch.pid()) - cpu_before) / seconds;
  chatter.lines_per_second = kRanks * lines / seconds;
  const launcher::Descriptor last_gate = open_gate(end);
  chatter.run = launch.wait(kDeadline);
  return chatter;
}

TEST(ManyRanks, LinesAndBarsOfSixtyFourRanksStayWholeAndInOrder) {
  const bool soak = std::getenv("RONDO_SOAK_COUNT") != nullptr;
  const int lines = (soak ? 10 : 1) * kLinesPerSecond / kRanks;
  std::vector<double> shares, rates;
  for (uint64_t round = 0; round < soak_rounds(1).count; ++round) {
    const Chatter heard = chatter(lines);
    ASSERT_EQ(heard.run.exit_code, 0) << heard.run.errors;
    std::map<int, int> next;
    for (const std::string& line : lines_of(heard.run.output)) {
      int rank = -1;
      ASSERT_EQ(std::sscanf(line.c_str(), "[rank %d]", &rank), 1) << line;
      const int i = next[rank]++ - 1;  // "ready" comes before line 0
      const std::string said = i < 0 ? "ready" : "done";
      ASSERT_EQ(line,
                ranked(rank, i >= 0 && i < lines ? chatter_line(rank, i) : said + " of rank " + std::to_string(rank)));
    }
    ASSERT_EQ(next.size(), static_cast<size_t>(kRanks));
    for (const auto& [rank, count] : next) EXPECT_EQ(count, lines + 2) << "rank " << rank;

    std::map<int, int> frames;  // the last that was shown
    for (const std::string& line : lines_of(heard.run.errors)) {
      int rank = -1, of_rank = -1, at = 0, of = 0, read = 0;
      ASSERT_EQ(
          std::sscanf(line.c_str(), "[rank %d] bar of rank %d: %d/%d [%*[=>]]%n", &rank, &of_rank, &at, &of, &read), 4)
          << line;
      ASSERT_EQ(static_cast<size_t>(read), line.size()) << line;
      ASSERT_EQ(rank, of_rank) << line;
      ASSERT_GT(at, frames[rank]) << "frames of a rank go forward only: " << line;
      frames[rank] = at;
    }
    ASSERT_EQ(frames.size(), static_cast<size_t>(kRanks));
    for (const auto& [rank, at] : frames) EXPECT_EQ(at, lines) << "the last frame of rank " << rank << " is shown";
    shares.push_back(100 * heard.core_share);
    rates.push_back(heard.lines_per_second);
  }
  print_samples("launcher_percent_of_a_core_with_64_ranks_printing", shares);
  print_samples("lines_per_second_of_64_ranks", rates);
}

}  // namespace
}  // namespace rondo::test
