#include "launcher/agent/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launcher/support/launch.h"

namespace rondo::launcher {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

RunFolderOptions options(const fs::path& directory) {
  return {.name = "mine",
          .directory = directory.string(),
          .log_directory = {},
          .command = {"rondo", "run", "a b"},
          .config_toml = "[launch]\n",
          .version_json = "{}\n"};
}

TEST(RunFolder, HoldsItsFirstFiles) {
  const test::TemporaryFolder temporary;
  const auto folder = RunFolder::create(options(temporary.path() / "runs" / "first"));
  ASSERT_TRUE(folder.ok()) << folder.status().text();
  EXPECT_EQ(folder->path(), (temporary.path() / "runs" / "first").string());
  EXPECT_EQ(test::read_file(folder->file("command.txt")), "rondo run 'a b'\n");
  EXPECT_EQ(test::read_file(folder->file("config.toml")), "[launch]\n");
  EXPECT_EQ(test::read_file(folder->file("version.json")), "{}\n");
  EXPECT_TRUE(folder->open_log(12, "err").ok());
  EXPECT_TRUE(fs::exists(folder->file("logs/rank-0012.err")));
}

TEST(RunFolder, LinksTheLatestRun) {
  const test::TemporaryFolder temporary;
  const fs::path runs = temporary.path() / "runs";
  ASSERT_TRUE(RunFolder::create(options(runs / "first")).ok());
  EXPECT_EQ(fs::read_symlink(runs / "latest"), "first");
  ASSERT_TRUE(RunFolder::create(options(runs / "second")).ok());
  EXPECT_EQ(fs::read_symlink(runs / "latest"), "second");
  ASSERT_TRUE(RunFolder::create(options(temporary.path() / "elsewhere" / "third")).ok());
  EXPECT_FALSE(fs::exists(temporary.path() / "elsewhere" / "latest")) << "a folder of one's own gets no link beside it";
}

TEST(RunFolder, IsNeverSharedByTwoRuns) {
  const test::TemporaryFolder temporary;
  ASSERT_TRUE(RunFolder::create(options(temporary.path() / "one")).ok());
  const auto again = RunFolder::create(options(temporary.path() / "one"));
  EXPECT_EQ(again.status().code(), comm::Code::kInvalidArgument);
  EXPECT_THAT(again.status().message(), HasSubstr("holds a run already"));
}

TEST(RunFolder, ThatCannotBeMadeIsAnErrorWithItsPath) {
  const auto folder = RunFolder::create(options("/proc/nowhere/run"));
  EXPECT_EQ(folder.status().code(), comm::Code::kIo);
  EXPECT_THAT(folder.status().message(), HasSubstr("/proc/nowhere/run"));
}

TEST(RunName, IsTheProgramsNameWithoutAwkwardLetters) {
  EXPECT_EQ(run_name("./bin/train_gpt-2.sh"), "train_gpt-2.sh");
  EXPECT_EQ(run_name("/opt/my tool"), "my_tool");
  EXPECT_EQ(run_name("."), "run.");
  EXPECT_EQ(run_name("fmnist-cnn"), "fmnist-cnn");
}

}  // namespace
}  // namespace rondo::launcher
