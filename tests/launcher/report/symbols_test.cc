#include "launcher/report/symbols.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>

namespace rondo::launcher {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

/// Where a function of this program lies in its file.
[[gnu::noinline]] int landmark(int value) { return value * 3; }
std::string raw_frame_of(uint64_t address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long start = 0, end = 0, offset = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %*s %lx", &start, &end, &offset) != 3) continue;
    if (address < start || address >= end) continue;
    std::array<char, 32> hex{};
    std::snprintf(hex.data(), hex.size(), "+0x%lx", static_cast<unsigned long>(address) - start + offset);
    return line.substr(line.find('/')) + hex.data();
  }
  return "?";
}

TEST(Symbols, NameTheFunctionAndItsFile) {
  ASSERT_EQ(landmark(1), 3);
  const uint64_t inside = reinterpret_cast<uint64_t>(&landmark) + 2;
  const auto lines = named_stacks("thread 12 worker\n" + raw_frame_of(inside) + "\n?+0x1234\n");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], StartsWith("rondo::launcher::(anonymous namespace)::landmark(int)+0x2 ("));
  EXPECT_EQ(lines[1], "?+0x1234");
}

TEST(Symbols, OfSeveralThreadsAreToldApart) {
  EXPECT_THAT(named_stacks("thread 12 main\n?+0x1\nthread 13 rondo-keeper\n/no/such+0x2\n"),
              ElementsAre("thread main (12):", "  ?+0x1", "thread rondo-keeper (13):", "  /no/such+0x2"));
}

TEST(Symbols, OfBrokenFilesAreNone) {
  const std::string self = "/proc/self/exe";
  std::ifstream program(self, std::ios::binary);
  std::string head(4096, '\0');
  program.read(head.data(), static_cast<std::streamsize>(head.size()));
  const std::string path = testing::TempDir() + "rondo-half-an-elf";
  for (const size_t size : {0u, 3u, 63u, 64u, 500u, 4096u}) {
    std::ofstream(path, std::ios::binary) << head.substr(0, size);
    EXPECT_FALSE(function_at(path, 100)) << size;
  }
  std::remove(path.c_str());
  EXPECT_FALSE(function_at("/", 1));
}

}  // namespace
}  // namespace rondo::launcher
