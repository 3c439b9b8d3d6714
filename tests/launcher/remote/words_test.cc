#include "launcher/remote/words.h"

#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

constexpr size_t kLimit = 10'000;

proto::WorkerMessage worker_message(const control::AgentSays& says) {
  proto::WorkerMessage message;
  EXPECT_TRUE(message.ParseFromString(says.message().message()));
  return message;
}

TEST(Words, ThatFitAreLeftAlone) {
  control::AgentSays says;
  says.mutable_stacks()->add_lines("main+0x10");
  EXPECT_TRUE(cut_to(kLimit, says));
  EXPECT_EQ(says.stacks().lines(0), "main+0x10");
}

TEST(Words, OfAWorkerAreCutAtTheEndOfALetter) {
  for (const std::string letter : {"x", "\xc3\xa4", "\xe2\x82\xac"}) {
    proto::WorkerMessage message;
    for (size_t i = 0; i < kLimit; ++i) *message.mutable_say()->mutable_line() += letter;
    control::AgentSays says;
    says.mutable_message()->set_rank(3);
    message.SerializeToString(says.mutable_message()->mutable_message());
    ASSERT_GT(says.ByteSizeLong(), kLimit);
    EXPECT_TRUE(cut_to(kLimit, says));
    EXPECT_LE(says.ByteSizeLong(), kLimit);
    const std::string line = worker_message(says).say().line();
    EXPECT_GT(line.size(), kLimit - 200);
    EXPECT_EQ(line.size() % letter.size(), 0u) << letter;
    EXPECT_EQ(says.message().rank(), 3);
  }
}

TEST(Words, OfStacksAndEndsLoseTheirLastLines) {
  control::AgentSays stacks, ended;
  for (int i = 0; i < 2000; ++i) {
    stacks.mutable_stacks()->add_lines("frame " + std::to_string(i));
    ended.mutable_ended()->add_backtrace("frame " + std::to_string(i));
  }
  ended.mutable_ended()->mutable_report()->set_text(std::string(2 * kLimit, 'x'));
  ended.mutable_ended()->mutable_ending()->set_exit_code(37);
  EXPECT_TRUE(cut_to(kLimit, stacks));
  EXPECT_LE(stacks.ByteSizeLong(), kLimit);
  EXPECT_EQ(stacks.stacks().lines(0), "frame 0");
  EXPECT_GT(stacks.stacks().lines_size(), 100);
  EXPECT_TRUE(cut_to(kLimit, ended));
  EXPECT_LE(ended.ByteSizeLong(), kLimit);
  EXPECT_EQ(ended.ended().ending().exit_code(), 37) << "what decides is never cut";
  EXPECT_GT(ended.ended().report().text().size(), kLimit / 2);
}

TEST(Words, ThatCannotBeCutSaySo) {
  control::AgentSays says;
  says.mutable_event()->set_fields(std::string(2 * kLimit, 'x'));
  EXPECT_FALSE(cut_to(kLimit, says));
}

}  // namespace
}  // namespace rondo::launcher
