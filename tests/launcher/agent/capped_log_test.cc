#include "launcher/agent/capped_log.h"

#include <gtest/gtest.h>

#include "tests/launcher/support/launch.h"

namespace rondo::launcher {
namespace {

std::string digits(size_t from, size_t to) {
  std::string text;
  for (size_t i = from; i < to; ++i) text += static_cast<char>('a' + i * 7 % 26);
  return text;
}

/// What the file holds when `total` bytes were written in pieces of `piece`.
std::string kept(uint64_t cap, size_t total, size_t piece) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path() / "log";
  auto log = CappedLog::open(path, cap);
  EXPECT_TRUE(log.ok());
  for (size_t at = 0; at < total; at += piece) log->write(digits(at, std::min(total, at + piece)));
  log->finish();
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "only the log itself is left";
  return test::read_file(path);
}

TEST(CappedLog, KeepsEverythingUpToItsCapAndWithoutOne) {
  for (const size_t total : {0, 1, 9, 10, 19, 20}) {
    EXPECT_EQ(kept(20, total, 3), digits(0, total)) << total;
    EXPECT_EQ(kept(0, total * 1000, 7), digits(0, total * 1000)) << total;
  }
}

TEST(CappedLog, KeepsTheBeginningAndTheEndAboveItsCapAndSaysWhatIsMissing) {
  for (const size_t piece : {1, 3, 10, 64}) {
    for (const size_t total : {41, 50, 59, 1001}) {
      const std::string text = kept(20, total, piece);
      EXPECT_TRUE(text.starts_with(digits(0, 10) + "\n[rondo: ")) << text;
      EXPECT_TRUE(text.ends_with(digits(total - 10, total))) << text;
      const size_t lost = std::stoul(text.substr(text.find(": ") + 2));
      const size_t note = text.find("]\n") + 2 - 10;
      EXPECT_EQ(text.size() - note + lost, total) << piece;
      EXPECT_LE(text.size() - note, 30u) << "half of the cap, and at most twice that of the end";
    }
  }
}

TEST(CappedLog, LeavesTheEndReadableWhenTheLauncherIsKilled) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path() / "log";
  auto log = CappedLog::open(path, 20);
  ASSERT_TRUE(log.ok());
  log->write(digits(0, 38));
  EXPECT_EQ(test::read_file(path), digits(0, 10)) << "before finish()";
  EXPECT_EQ(test::read_file(path + ".tail.old") + test::read_file(path + ".tail"), digits(20, 38));
}

}  // namespace
}  // namespace rondo::launcher
