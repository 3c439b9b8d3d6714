// Ranks that a program starts by itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "tests/support/process.h"
#include "tests/trainer/init/process_runs.h"

namespace rondo::test {
namespace {

using ::testing::HasSubstr;

TEST(Spawn, RunsTheProgramOnceForEachRankWithItsArguments) {
  const Ended ended = run_in_empty_folder(RONDO_SPAWN_WORKER " well");
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
  for (const std::string rank : {"0", "1", "2"})
    EXPECT_THAT(ended.output, HasSubstr("rank " + rank + " of 3 says well, sum 6"));
  EXPECT_THAT(ended.output, HasSubstr("parent: 0, rank -1, "));
}

TEST(Spawn, EndsWithTheCodeOfTheRankThatFailedFirst) {
  const Ended left = run_in_empty_folder(RONDO_SPAWN_WORKER " exit");
  EXPECT_EQ(left.exit_code, 37) << left.output;
  EXPECT_THAT(left.output, HasSubstr("parent: 37, rank 1, rank 1 ended with exit code 37"));
  const Ended crashed = run_in_empty_folder(RONDO_SPAWN_WORKER " crash");
  EXPECT_EQ(crashed.exit_code, 139) << crashed.output;
  EXPECT_THAT(crashed.output, HasSubstr("rank 1 was killed by signal 11"));
}

TEST(Spawn, IsARankItselfWhereALauncherStartedTheProgram) {
  const Ended ended = run_in_empty_folder(RONDO_PROGRAM " run --nproc-per-node 2 " RONDO_SPAWN_WORKER " well");
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("rank 1 of 2 says well, sum 3"));
}

/// Two tasks of the spawn worker, each with the variables that `of_task` gives its number.
Ended run_two_tasks(const std::function<std::string(const std::string& task)>& of_task) {
  const auto task = [&](const std::string& number) {
    return "env " + of_task(number) + " " RONDO_SPAWN_WORKER " well";
  };
  return run_in_empty_folder("sh -c '" + task("1") + " & " + task("0") + "; wait'");
}

TEST(Spawn, IsARankItselfInATaskOfSrunOrMpirun) {
  const std::string own = std::to_string(::getpid());  // names the job: no other one of this host may meet it
  const auto slurm = [&](const std::string& task, const std::string& tasks) {
    return "SLURM_JOB_ID=" + own + " SLURM_STEP_ID=0 SLURM_PROCID=" + task + " SLURM_LOCALID=" + task +
           " SLURM_NODEID=0 SLURM_NTASKS=" + tasks + " SLURM_STEP_NUM_TASKS=" + tasks +
           " SLURM_STEP_TASKS_PER_NODE=" + tasks + " SLURM_STEP_NODELIST=vm";
  };
  const auto open_mpi = [&](const std::string& task) {
    return "OMPI_COMM_WORLD_RANK=" + task + " OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=" + task +
           " OMPI_COMM_WORLD_LOCAL_SIZE=2 PMIX_RANK=" + task + " PMIX_NAMESPACE=" + own;
  };
  for (const Ended& ended :
       {run_two_tasks([&](const std::string& task) { return slurm(task, "2"); }), run_two_tasks(open_mpi)}) {
    EXPECT_EQ(ended.exit_code, 0) << ended.output;
    for (const std::string rank : {"0", "1"})
      EXPECT_THAT(ended.output, HasSubstr("rank " + rank + " of 2 says well, sum 3"));
    EXPECT_THAT(ended.output, ::testing::Not(HasSubstr("parent")));
  }
  const Ended one_task = run_in_empty_folder("env " + slurm("0", "1") + " " RONDO_SPAWN_WORKER " well");
  EXPECT_EQ(one_task.exit_code, 0) << one_task.output;
  EXPECT_THAT(one_task.output, HasSubstr("rank 2 of 3 says well, sum 6")) << "a task alone is a program, not a rank";
}

TEST(Spawn, NoRankOutlivesTheParent) {
  Process parent({.program = RONDO_SPAWN_WORKER, .arguments = {"stay"}, .environment = {}});
  std::vector<int> ranks;  // pidfds
  while (ranks.size() < 3) {
    const auto line = parent.line();
    ASSERT_TRUE(line) << "the ranks do not say their numbers";
    if (line->starts_with("pid "))
      ranks.push_back(static_cast<int>(::syscall(SYS_pidfd_open, std::stoi(line->substr(4)), 0)));
  }
  parent.signal(SIGKILL);
  EXPECT_EQ(parent.end(), 128 + SIGKILL);
  for (const int rank : ranks) {
    ASSERT_GE(rank, 0);
    pollfd ended{.fd = rank, .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&ended, 1, 20'000), 1) << "a rank runs on";
    ::close(rank);
  }
}

/// Reads lines until `count` of them contain `text`; returns all that was read.
std::string read_until(Process& process, const std::string& text, int count) {
  std::string all;
  while (count > 0) {
    const auto line = process.line();
    if (!line) {
      ADD_FAILURE() << "no line with \"" << text << "\" came behind:\n" << all;
      break;
    }
    all += *line + "\n";
    if (line->find(text) != std::string::npos) --count;
  }
  return all;
}

TEST(Spawn, RequestsToTheParentReachTheRanksAndTheyEndInTheirOwnTime) {
  Process parent({.program = RONDO_SPAWN_WORKER, .arguments = {"requests"}, .environment = {}});
  read_until(parent, "listens", 3);
  parent.signal(SIGUSR1);
  EXPECT_THAT(read_until(parent, "saves", 3), ::testing::Not(HasSubstr("ends")));
  parent.signal(SIGTERM);
  // Rank 0 ends long after the others: a stop is no failure that leaves it 5 s.
  EXPECT_THAT(read_until(parent, "parent:", 1),
              ::testing::AllOf(HasSubstr("rank 0 ends"), HasSubstr("parent: 75, rank -1")));
  EXPECT_EQ(parent.end(), 75);
}

TEST(Spawn, TheSecondStopKills) {
  Process parent({.program = RONDO_SPAWN_WORKER, .arguments = {"deaf"}, .environment = {}});
  read_until(parent, "listens", 3);
  parent.signal(SIGINT);
  read_until(parent, "saves", 3);
  parent.signal(SIGTERM);
  EXPECT_THAT(read_until(parent, "parent:", 1), HasSubstr("the ranks were killed: signal 15 was the second"));
  EXPECT_EQ(parent.end(), 128 + SIGTERM);
}

}  // namespace
}  // namespace rondo::test
