#include "launcher/terminal/recorded_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RecordedLines : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    const auto path = folder_.path() / "logs" / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  comm::Status tell(const launcher::RecordedWish& wish = {}) {
    told_.clear();
    return launcher::tell_recorded_lines(
        folder_.path().string(), wish, [this](const launcher::RecordedLine& of, std::string_view text) {
          told_.push_back(std::to_string(of.rank) + (of.channel == launcher::Channel::kOutput ? "o " : "e ") +
                          std::string(text));
        });
  }
  const TemporaryFolder folder_;
  std::vector<std::string> told_;
};

TEST_F(RecordedLines, ComeRankByRank) {
  write("rank-0010.out", "ten\n");
  write("rank-0001.err", "oh\n");
  write("rank-0001.out", "a\nb\nunfinished");
  write("rank-0001.bak", "no");
  write("rank-x.out", "no");
  ASSERT_TRUE(tell().ok());
  EXPECT_THAT(told_, ElementsAre("1o a", "1o b", "1o unfinished", "1e oh", "10o ten"));
}

TEST_F(RecordedLines, AreThoseThatAreWanted) {
  write("rank-0000.out", "a\nb\nc\n");
  write("rank-0001.out", "d\n");
  ASSERT_TRUE(tell({.ranks = {0}, .tail = 2}).ok());
  EXPECT_THAT(told_, ElementsAre("0o b", "0o c"));
  ASSERT_TRUE(tell({.ranks = {}, .tail = 0}).ok());
  EXPECT_THAT(told_, ElementsAre());
  EXPECT_THAT(tell({.ranks = {2}, .tail = std::nullopt}).message(), HasSubstr("no file of rank 2"));
}

TEST_F(RecordedLines, AreOfTheLastGeneration) {
  write("rank-0000.out", "first\n");
  write("attempt-2/rank-0000.out", "third\n");
  write("attempt-10/rank-0000.out", "eleventh\n");
  ASSERT_TRUE(tell().ok());
  EXPECT_THAT(told_, ElementsAre("0o eleventh"));
}

TEST_F(RecordedLines, ThatAreNotThereAreSaid) {
  EXPECT_EQ(tell().code(), comm::Code::kInvalidArgument);
  EXPECT_THAT(tell().message(), HasSubstr("no logs are kept"));
}

}  // namespace
}  // namespace rondo::test
