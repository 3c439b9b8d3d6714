// Ranks that mpirun or mpiexec starts, on two hosts of a test: they meet by MPI without any address or secret of the
// user's, and sum the same bits over every kind of link. And programs that have started MPI themselves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/hosts.h"
#include "tests/support/mpi_hosts.h"
#include "tests/support/process.h"

namespace rondo::test {
namespace {

using namespace std::chrono_literals;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

const char* const kProgram = RONDO_LAUNCHED_COMM;

/// What a rank said of itself.
struct Line {
  int rank = -1;
  pid_t pid = -1;
  std::string local, sum, bits, links;
};
std::optional<Line> parse(const std::string& text) {
  static const std::regex kPattern(
      R"(launched pid=(\d+) rank=(\d+) world=\d+ local_rank=(\d+) local_world=(\d+) sum=(\d+) bits=(\d+) links=(\S+))");
  std::smatch found;
  if (!std::regex_search(text, found, kPattern)) return std::nullopt;
  return Line{.rank = std::stoi(found[2]),
              .pid = std::stoi(found[1]),
              .local = found[3].str() + " of " + found[4].str(),
              .sum = found[5],
              .bits = found[6],
              .links = found[7]};
}

/// A launcher under way, and what has been said so far, errors too.
class Launched {
 public:
  explicit Launched(Process::Options options) : process_(with_errors(std::move(options))) {}

  /// Until `count` ranks have said their line.
  bool said(size_t count) {
    while (lines.size() < count) {
      const auto next = process_.line(40s);
      if (!next) return false;
      note(*next);
    }
    return true;
  }
  int end() {
    while (const auto next = process_.line(60s)) note(*next);
    return process_.end(20s).value_or(-1);
  }

  std::map<int, Line> lines;
  std::string text;

 private:
  static Process::Options with_errors(Process::Options options) {
    std::vector<std::string> words{"-c", "exec 2>&1; exec \"$0\" \"$@\"", options.program};
    words.insert(words.end(), options.arguments.begin(), options.arguments.end());
    options.environment.merge(open_mpi_environment());
    return {.program = "/bin/sh", .arguments = std::move(words), .environment = std::move(options.environment)};
  }
  void note(const std::string& line) {
    text += line + "\n";
    if (const auto of_rank = parse(line)) lines[of_rank->rank] = *of_rank;
  }

  Process process_;
};

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Two hosts by the names a and b, two ranks on each.
class MpiOnTwoHosts : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(Hosts::refusal(), "");
    hosts_.emplace(2);
    hosts_->connect({.first = 0, .second = 1});
    by_mpi_.emplace(*hosts_);
  }

  Launched launch(std::vector<std::string> launcher, const std::string& transport,
                  const std::vector<std::string>& arguments, const std::string& program = kProgram) const {
    launcher.insert(launcher.end(), {"env", "RONDO_TRANSPORT=" + transport, program});
    launcher.insert(launcher.end(), arguments.begin(), arguments.end());
    return Launched(by_mpi_->on_first(std::move(launcher)));
  }
  std::vector<std::string> mpirun(const std::string& where = "a:2,b:2") const { return by_mpi_->mpirun(where); }
  std::vector<std::string> mpiexec() const { return by_mpi_->mpiexec("a:2,b:2"); }
  void expect_whole(Launched& job, const std::string& links, const std::string& bits) const {
    EXPECT_EQ(job.end(), 0) << job.text;
    ASSERT_EQ(job.lines.size(), 4u) << job.text;
    for (const auto& [rank, line] : job.lines) {
      EXPECT_EQ(line.local, std::to_string(rank % 2) + " of 2");
      EXPECT_EQ(line.sum, "10");
      EXPECT_EQ(line.links, links);
      EXPECT_EQ(line.bits, bits) << "other bits than on one host";
    }
  }

  std::optional<Hosts> hosts_;
  std::optional<MpiHosts> by_mpi_;
};

TEST_F(MpiOnTwoHosts, RanksMeetByMpiAndSumTheBitsOfOneHostOverEveryLink) {
  Launched alone = launch(mpirun("a:4"), "auto", {});
  ASSERT_EQ(alone.end(), 0) << alone.text;
  ASSERT_EQ(alone.lines.size(), 4u) << alone.text;
  EXPECT_THAT(alone.text, Not(HasSubstr("met by MPI"))) << "on one host MPI is not started";
  const std::string bits = alone.lines[0].bits;
  const std::pair<const char*, const char*> kinds[] = {{"auto", "shm+tcp"}, {"shm+mpi", "shm+mpi"}, {"mpi", "mpi"}};
  for (const auto& [transport, links] : kinds) {
    SCOPED_TRACE(transport);
    Launched open_mpi = launch(mpirun(), transport, {});
    expect_whole(open_mpi, links, bits);
    EXPECT_THAT(open_mpi.text, HasSubstr("met by MPI: Open MPI "));
    Launched mpich = launch(mpiexec(), transport, {});
    expect_whole(mpich, links, bits);
    EXPECT_THAT(mpich.text, HasSubstr("met by MPI: MPICH "));
  }
}

TEST_F(MpiOnTwoHosts, NoSecretIsInArgumentsOrEnvironmentAndHostsShareNoMemory) {
  Launched job = launch(mpirun(), "shm+mpi", {"1", "stop"});
  ASSERT_TRUE(job.said(4)) << job.text;
  std::vector<std::pair<int, pid_t>> places;
  const std::regex secret("[0-9a-fA-F]{64}");
  for (const auto& [rank, line] : job.lines) {
    places.emplace_back(rank / 2, line.pid);
    const std::string process = "/proc/" + std::to_string(line.pid) + "/";
    const std::string variables = contents(process + "environ"), arguments = contents(process + "cmdline");
    EXPECT_THAT(variables, HasSubstr("OMPI_COMM_WORLD_RANK=" + std::to_string(rank)));
    EXPECT_FALSE(std::regex_search(variables, secret)) << variables;
    EXPECT_FALSE(std::regex_search(arguments, secret)) << arguments;
  }
  hosts_->expect_no_shared_memory(places);
  const auto stopped = [](pid_t pid) {  // which it does after its line
    const std::string stat = contents("/proc/" + std::to_string(pid) + "/stat");
    const size_t name_end = stat.rfind(") ");
    return name_end != std::string::npos && stat[name_end + 2] == 'T';
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (const auto& [rank, line] : job.lines)
    while (!stopped(line.pid) && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  for (const auto& [rank, line] : job.lines) ::kill(line.pid, SIGCONT);
  EXPECT_EQ(job.end(), 0) << job.text;
}

TEST_F(MpiOnTwoHosts, ARankThatDiesIsNamedBeforeTheLauncherEndsTheJob) {
  for (const char* const transport : {"auto", "shm+mpi"}) {
    SCOPED_TRACE(transport);
    Launched job = launch(mpirun(), transport, {"1", "die"});
    EXPECT_NE(job.end(), 0) << job.text;
    ASSERT_TRUE(job.lines.contains(1)) << job.text;
    EXPECT_THAT(job.text, HasSubstr("rank 1 (pid " + std::to_string(job.lines[1].pid) + ") died"));
  }
}

TEST_F(MpiOnTwoHosts, ARankThatNeverComesEndsTheWaitAtTheDeadline) {
  Launched job = launch(mpirun(), "auto", {"1", "late"});
  EXPECT_NE(job.end(), 0) << job.text;
  EXPECT_THAT(job.text, HasSubstr("not all of the 4 ranks have come to it"));
  EXPECT_TRUE(job.lines.empty()) << job.text;
}

#ifdef RONDO_PROGRAM
TEST_F(MpiOnTwoHosts, TheDoctorLooksAtBothInOneReport) {
  Launched job = launch(mpirun("a:2,b:2"), "auto", {"doctor"}, RONDO_PROGRAM);
  EXPECT_EQ(job.end(), 0) << job.text;
  for (const char* const said : {"2 hosts, 4 ranks, started by Open MPI's mpirun", "host a (rank 0) and 1 other rank",
                                 "host b (rank 2) and 1 other rank", "4 ranks sum 4 bytes right over shm+tcp"})
    EXPECT_THAT(job.text, HasSubstr(said));
}
#endif

Launched launch_here(const std::vector<std::string>& words, std::map<std::string, std::string> environment) {
  std::vector<std::string> arguments{"--oversubscribe", "-np", "2"};
  arguments.insert(arguments.end(), words.begin(), words.end());
  return Launched(
      {.program = "mpirun.openmpi", .arguments = std::move(arguments), .environment = std::move(environment)});
}

TEST(Mpi, AProgramThatHasStartedItKeepsIt) {
  Launched job = launch_here({RONDO_OWN_MPI, "serialized"}, {{"RONDO_TRANSPORT", "mpi"}});
  EXPECT_EQ(job.end(), 0) << job.text;
  for (const char* const rank : {"0", "1"})
    EXPECT_THAT(job.text, HasSubstr(std::string("own rank=") + rank + " by rondo 3 by mpi 3"));
}

TEST(Mpi, ThatIsForOneThreadBringsRanksTogetherButCarriesNoLinks) {
  Launched links = launch_here({RONDO_OWN_MPI, "single"}, {{"RONDO_TRANSPORT", "mpi"}});
  EXPECT_NE(links.end(), 0);
  EXPECT_THAT(links.text, ContainsRegex("kUnsupported: .*MPI_THREAD_SERIALIZED"));
  // Each rank takes itself to be alone on its host.
  Launched meets = launch_here({"env", "OMPI_COMM_WORLD_LOCAL_RANK=0", "OMPI_COMM_WORLD_LOCAL_SIZE=1",
                                "RONDO_INTERFACE=lo", RONDO_OWN_MPI, "single"},
                               {});
  EXPECT_EQ(meets.end(), 0) << meets.text;
  EXPECT_THAT(meets.text, HasSubstr("own rank=1 by rondo 3 by mpi 3"));
}

TEST(Mpi, ThatCannotBeLoadedSaysHowToDoWithout) {
  const std::map<std::string, std::string> nowhere{{"RONDO_MPI_LIBRARY", "/nowhere/libmpi.so"}};
  Launched meets =
      launch_here({"env", "OMPI_COMM_WORLD_LOCAL_RANK=0", "OMPI_COMM_WORLD_LOCAL_SIZE=1", kProgram}, nowhere);
  EXPECT_NE(meets.end(), 0);
  EXPECT_THAT(meets.text,
              ContainsRegex("kUnsupported: ranks on several hosts cannot meet by MPI: .*/nowhere/libmpi.so"));
  EXPECT_THAT(meets.text, HasSubstr("a file with a secret in RONDO_SECRET_FILE"));
}

TEST(Mpi, OfAnotherLauncherIsRefused) {
  // The library of MPICH knows nothing of Open MPI's launcher: each rank is a world of its own there.
  Launched job = launch_here({kProgram}, {{"RONDO_TRANSPORT", "mpi"}, {"RONDO_MPI_LIBRARY", "libmpich.so.12"}});
  EXPECT_NE(job.end(), 0);
  EXPECT_THAT(job.text, ContainsRegex("kMismatch: .*MPICH [0-9.]+ says that this is rank 0 of 1, its launcher's "
                                      "variables rank 1 of 2"));
}

}  // namespace
}  // namespace rondo::test
