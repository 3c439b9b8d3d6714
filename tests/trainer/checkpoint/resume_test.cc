// Resuming in the middle of an epoch, with real processes: each has LibTorch's default generator to itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "tests/trainer/data/test_data.h"

namespace rondo::test {
namespace {

/// What the ranks printed, by title: "rank 0 ...", "rank 1 ...".
std::map<std::string, std::set<std::string>> run_worker(const std::string& folder, const std::string& arguments) {
  const std::string command = "cd " + folder +
                              " && timeout 100 " RONDO_PROGRAM " run --nproc-per-node 2 " RONDO_WORKER " " + arguments +
                              " 2>&1";
  FILE* const pipe = popen(command.c_str(), "r");
  std::string output;
  std::array<char, 4096> part{};
  while (const size_t count = fread(part.data(), 1, part.size(), pipe)) output.append(part.data(), count);
  EXPECT_EQ(pclose(pipe), 0) << output;
  std::map<std::string, std::set<std::string>> printed;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.find(": rank ");
    if (at == std::string::npos || line.find(", factor ") == std::string::npos) continue;
    const size_t title = line.find("] ");  // behind the launcher's prefix
    printed[line.substr(title + 2, at - title - 2)].insert(line.substr(at + 2));
  }
  return printed;
}

TEST(Resume, InTheMiddleOfAnEpochEqualsNoInterruptionBitForBit) {
  const TemporaryFolder folder;
  const auto through = run_worker(folder.path().string(), "through run");
  ASSERT_EQ(through.size(), 1U);
  const std::set<std::string> expected = through.begin()->second;
  ASSERT_EQ(expected.size(), 2U);

  // Each part alone makes a difference: a resume that forgot it would be seen.
  const auto resumed = run_worker(folder.path().string(), "resume run nothing rates scale ema noise generator sampler");
  ASSERT_EQ(resumed.size(), 7U);
  for (const auto& [title, lines] : resumed) {
    EXPECT_EQ(lines.size(), 2U) << title;
    if (title == "without nothing") {
      EXPECT_EQ(lines, expected);
    } else {
      EXPECT_NE(lines, expected) << title;
    }
  }
}

}  // namespace
}  // namespace rondo::test
