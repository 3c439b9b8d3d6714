#include "launcher/remote/line_queue.h"

#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

control::LogLine line(const std::string& text) {
  control::LogLine line;
  line.set_text(text);
  return line;
}

TEST(LineQueue, GivesLinesInTheirOrderInBoundedBatches) {
  LineQueue queue;
  EXPECT_TRUE(queue.empty());
  const int count = 3000;
  for (int i = 0; i < count; ++i) queue.put(line(std::to_string(i) + std::string(200, 'x')));
  int seen = 0;
  while (!queue.empty()) {
    const control::LogLines batch = queue.take();
    ASSERT_GT(batch.lines_size(), 0);
    EXPECT_LE(batch.ByteSizeLong(), LineQueue::kBatchBytes);
    for (const auto& each : batch.lines()) {
      EXPECT_EQ(each.skipped(), 0u);
      EXPECT_EQ(each.text().substr(0, each.text().find('x')), std::to_string(seen++));
    }
  }
  EXPECT_EQ(seen, count);
}

TEST(LineQueue, CountsWhatDoesNotFitWhereItIsMissing) {
  LineQueue queue;
  const std::string text(1000, 'x');
  const uint64_t count = 5000;
  for (uint64_t i = 0; i < count; ++i) queue.put(line(text));
  uint64_t seen = queue.take().lines_size();
  queue.put(line("after"));  // there is room again
  uint64_t skipped = 0;
  std::string last;
  bool marker_before_last = false;
  while (!queue.empty()) {
    const control::LogLines batch = queue.take();
    for (const auto& each : batch.lines()) {
      skipped += each.skipped();
      if (each.skipped() == 0) {
        ++seen;
        last = each.text();
      } else {
        marker_before_last = true;
      }
    }
  }
  EXPECT_EQ(last, "after");
  EXPECT_TRUE(marker_before_last);
  EXPECT_GT(skipped, 0u);
  EXPECT_EQ(seen + skipped, count + 1) << "each line is seen or counted";
  EXPECT_LE((seen - 1) * text.size(), LineQueue::kMostBytes + LineQueue::kBatchBytes);
}

TEST(LineQueue, TakesALongLineAlone) {
  LineQueue queue;
  queue.put(line(std::string(2 * LineQueue::kMostBytes, 'x')));
  queue.put(line("y"));
  EXPECT_EQ(queue.take().lines_size(), 1);
  EXPECT_EQ(queue.take().lines(0).skipped(), 1u);
  EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace rondo::launcher
