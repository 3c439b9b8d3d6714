#include "launcher/agent/lines.h"

#include <gtest/gtest.h>

#include <vector>

namespace rondo::launcher {
namespace {

using Lines = std::vector<std::string>;

class Cutter {
 public:
  void feed(std::string_view bytes) { assembler_.feed(bytes, now_, emit()); }
  void pass(std::chrono::milliseconds time) {
    now_ += time;
    assembler_.flush_stale(now_, emit());
  }
  void finish() { assembler_.finish(emit()); }
  Lines take() { return std::exchange(lines_, {}); }
  LineAssembler& assembler() { return assembler_; }

 private:
  LineAssembler::Emit emit() {
    return [this](std::string_view line) { lines_.emplace_back(line); };
  }
  comm::TimePoint now_{};
  LineAssembler assembler_;
  Lines lines_;
};

TEST(LineAssembler, GivesTheSameLinesHoweverTheBytesArrive) {
  const std::string text = "first\n\nsecond with words\nthird\n";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    Cutter cutter;
    for (size_t at = 0; at < text.size(); at += piece) cutter.feed(std::string_view(text).substr(at, piece));
    EXPECT_EQ(cutter.take(), (Lines{"first", "", "second with words", "third"})) << "pieces of " << piece;
  }
}

TEST(LineAssembler, ShowsAnUnfinishedLineAfter200Milliseconds) {
  Cutter cutter;
  cutter.feed("enter a number: ");
  cutter.pass(std::chrono::milliseconds(199));
  EXPECT_EQ(cutter.take(), Lines{});
  cutter.pass(std::chrono::milliseconds(1));
  EXPECT_EQ(cutter.take(), Lines{"enter a number: "});
  EXPECT_FALSE(cutter.assembler().stale_at().has_value());
  cutter.feed("thanks\n");
  EXPECT_EQ(cutter.take(), Lines{"thanks"});
}

TEST(LineAssembler, NeverCutsACharacter) {
  Cutter cutter;
  cutter.feed("caf\xc3");
  cutter.pass(std::chrono::milliseconds(200));
  EXPECT_EQ(cutter.take(), Lines{"caf"});
  cutter.feed("\xa9\n");
  EXPECT_EQ(cutter.take(), Lines{"\xc3\xa9"});
}

TEST(LineAssembler, KeepsTheLastFrameOfAProgressBar) {
  Cutter cutter;
  cutter.feed(" 10 %\r 50 %\r100 %\r\nwindows\r\n");
  EXPECT_EQ(cutter.take(), (Lines{"100 %", "windows"}));
  cutter.feed(" 10 %\r 20 %");
  cutter.pass(std::chrono::seconds(9));
  EXPECT_EQ(cutter.take(), Lines{}) << "frames are not lines";
  cutter.pass(std::chrono::seconds(1));
  EXPECT_EQ(cutter.take(), Lines{" 20 %"});
}

TEST(LineAssembler, BoundsALineWithoutEnd) {
  Cutter cutter;
  cutter.feed(std::string(3 * LineAssembler::kLongestLineBytes, 'x'));
  cutter.finish();
  size_t total = 0;
  for (const std::string& line : cutter.take()) {
    EXPECT_LE(line.size(), LineAssembler::kLongestLineBytes);
    total += line.size();
  }
  EXPECT_EQ(total, 3 * LineAssembler::kLongestLineBytes);
}

TEST(LineAssembler, EmitsWhatIsLeftAtTheEnd) {
  Cutter cutter;
  cutter.feed("no newline");
  cutter.finish();
  cutter.finish();
  EXPECT_EQ(cutter.take(), Lines{"no newline"});
}

}  // namespace
}  // namespace rondo::launcher
