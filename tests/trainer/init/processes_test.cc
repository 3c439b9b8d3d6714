// Ranks as real processes over tcp, started by `rondo run`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace rondo::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Ended {
  int exit_code = -1;
  std::string output;  // stdout and stderr
};

// `command` in an empty folder, which is removed afterwards.
Ended run_in_empty_folder(const std::string& command) {
  std::string folder = std::filesystem::temp_directory_path() / "rondo-processes-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return {};
  Ended ended;
  FILE* pipe = popen(("cd " + folder + " && timeout 60 " + command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return ended;
  std::array<char, 4096> part{};
  while (const size_t count = fread(part.data(), 1, part.size(), pipe)) ended.output.append(part.data(), count);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) ended.exit_code = WEXITSTATUS(status);
  std::filesystem::remove_all(folder);
  return ended;
}

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

// Without an agent that would stop the survivor: torchrun's variables by hand. The port only names the meeting point.
TEST(Processes, RankKilledInTheMiddleOfBackwardIsNamedByItsPeer) {
  const std::string place = "WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=" +
                            std::to_string(20'000 + getpid() % 40'000) + " ";
  const auto rank = [&](const std::string& number) {
    return "RANK=" + number + " LOCAL_RANK=" + number + " " + place + RONDO_WORKER + " 4 2";
  };
  const Ended ended =
      run_in_empty_folder("sh -c '" + rank("1") + " & " + rank("0") + "; echo rank 0 ended with $?; wait'");
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
