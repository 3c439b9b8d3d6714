// The examples reach their bars on two ranks. Each ends with 1 when it misses one or its replicas differ.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace rondo::test {
namespace {

using ::testing::HasSubstr;

struct Ended {
  int exit_code = -1;
  std::string output;  // stdout and stderr
};

// `program` on two ranks, in an empty folder that is removed afterwards.
Ended run_on_two_ranks(const std::string& program) {
  std::string folder = std::filesystem::temp_directory_path() / "rondo-examples-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return {};
  Ended ended;
  FILE* pipe =
      popen(("cd " + folder + " && " RONDO_PROGRAM " run --nproc-per-node 2 " + program + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return ended;
  std::array<char, 4096> part{};
  while (const size_t count = fread(part.data(), 1, part.size(), pipe)) ended.output.append(part.data(), count);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) ended.exit_code = WEXITSTATUS(status);
  std::filesystem::remove_all(folder);
  return ended;
}

TEST(Examples, GanCoversTheRing) {
  const Ended ended = run_on_two_ranks(RONDO_EXAMPLE_GAN);
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("replicas equal"));
}

TEST(Examples, WganGpCoversTheRing) {
  const Ended ended = run_on_two_ranks(RONDO_EXAMPLE_WGAN_GP);
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("modes covered: 8 of 8"));
}

TEST(Examples, W1CriticMeasuresTheDistanceOnTheLineInThePlaneAndOfPoints) {
  const Ended ended = run_on_two_ranks(RONDO_EXAMPLE_W1_CRITIC);
  EXPECT_EQ(ended.exit_code, 0) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("duality gap"));
}

}  // namespace
}  // namespace rondo::test
