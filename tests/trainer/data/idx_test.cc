#include "trainer/data/idx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rondo/error.h"
#include "tests/trainer/data/test_data.h"

namespace rondo::trainer {
namespace {

using test::gzip;
using test::idx_content;
using test::pattern;
using ::testing::AllOf;
using ::testing::HasSubstr;

class IdxFile : public ::testing::Test {
 protected:
  IdxArray read(const std::string& content, int dimension_count) {
    test::write_file(file(), content);
    return read_idx(file(), dimension_count);
  }
  /// The words of the error that reading `content` throws; checks its exit code and that it names the file.
  std::string complaint(const std::string& content, int dimension_count = 3) {
    try {
      read(content, dimension_count);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kCorrupt);
      EXPECT_THAT(error.what(), HasSubstr(file().string()));
      return error.what();
    }
    return "no error";
  }
  std::filesystem::path file() const { return folder_.path() / "some-idx3-ubyte.gz"; }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(IdxFile, PlainAndGzipGiveTheSameArray) {
  const std::string values = pattern(4 * 5 * 3);
  const std::string content = idx_content({4, 5, 3}, values);
  for (const std::string& variant : {content, gzip(content)}) {
    const IdxArray array = read(variant, 3);
    EXPECT_EQ(array.dimensions, (std::vector<int64_t>{4, 5, 3}));
    EXPECT_EQ(std::string(array.values.begin(), array.values.end()), values);
  }
}

TEST_F(IdxFile, LargerThanItsReadBufferIsReadWhole) {
  const std::string values = pattern(17'000'003);  // past one part, and no multiple of the buffer
  const IdxArray array = read(gzip(idx_content({17'000'003}, values)), 1);
  EXPECT_TRUE(std::equal(array.values.begin(), array.values.end(), values.begin(), values.end(),
                         [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); }));
}

TEST_F(IdxFile, WrongMagicSaysExpectedAndFound) {
  EXPECT_THAT(complaint(idx_content({4}, "abcd")),
              AllOf(HasSubstr("magic"), HasSubstr("0x00000803"), HasSubstr("0x00000801")));
  std::string floats = idx_content({1, 1, 1}, "a");
  floats[2] = 0x0d;
  EXPECT_THAT(complaint(floats), HasSubstr("found 0x00000d03"));
}

TEST_F(IdxFile, EveryTruncationIsSeen) {
  const std::string content = idx_content({4, 5, 3}, pattern(60));
  for (size_t length = 0; length < content.size(); ++length) {
    EXPECT_NE(complaint(content.substr(0, length)), "no error") << length << " plain bytes";
  }
  const std::string packed = gzip(content);
  for (size_t length = 0; length < packed.size(); ++length) {
    EXPECT_NE(complaint(packed.substr(0, length)), "no error") << length << " gzip bytes";
  }
}

TEST_F(IdxFile, ShortContentSaysExpectedAndFound) {
  EXPECT_THAT(complaint(idx_content({4, 5, 3}, pattern(59))), AllOf(HasSubstr("expected 60"), HasSubstr("found 59")));
  EXPECT_THAT(complaint(gzip(idx_content({4, 5, 3}, pattern(59)))),
              AllOf(HasSubstr("expected 60"), HasSubstr("found 59")));
}

TEST_F(IdxFile, TrailingBytesAreRefusedInsideAndBehindTheGzipStream) {
  const std::string content = idx_content({4, 5, 3}, pattern(60));
  EXPECT_THAT(complaint(content + "x"), HasSubstr("more behind"));
  EXPECT_THAT(complaint(gzip(content + "x")), HasSubstr("more behind"));
  EXPECT_THAT(complaint(gzip(content) + "x"), HasSubstr("more behind"));
  EXPECT_THAT(complaint(gzip(content) + gzip("x")), HasSubstr("more behind"));
}

TEST_F(IdxFile, NoFlippedBitOfAGzipFileChangesTheContent) {
  const std::string values = pattern(60);
  const std::string packed = gzip(idx_content({4, 5, 3}, values));
  int seen = 0;
  for (size_t bit = 0; bit < packed.size() * 8; ++bit) {
    std::string damaged = packed;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    try {  // a few bits carry nothing: the time in the header, the padding behind the last code
      const IdxArray array = read(damaged, 3);
      EXPECT_EQ(std::string(array.values.begin(), array.values.end()), values) << "bit " << bit;
    } catch (const Error&) {
      ++seen;
    }
  }
  EXPECT_GT(seen, static_cast<int>(packed.size() - 12) * 8 * 9 / 10);
}

TEST_F(IdxFile, AHugeHeaderCostsNoMemory) {
  EXPECT_THAT(complaint(idx_content({0xffffffff, 0xffffffff, 0xffffffff}, "")), HasSubstr("at most 2 GiB"));
  EXPECT_THAT(complaint(idx_content({60'000, 28, 0}, "")), HasSubstr("found 0"));
  EXPECT_THAT(complaint(idx_content({2'000'000, 28, 28}, "few")), HasSubstr("found 3"));
}

TEST(Idx, AMissingFileIsAPreflightError) {
  try {
    read_idx("/nonexistent/train", 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kPreflight);
    EXPECT_THAT(error.what(), HasSubstr("/nonexistent/train"));
  }
}

}  // namespace
}  // namespace rondo::trainer
