#include "rondo/comm/secret.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <vector>

#include "comm/base/hex.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

/// An Env that draws a known, never repeating pattern; it offers nothing else.
class PatternEnv final : public Env {
 public:
  TimePoint now() override { return Clock::now(); }
  void random(std::span<std::byte> into) override {
    for (auto& b : into) b = static_cast<std::byte>(++next_);
  }
  Result<std::unique_ptr<Listener>> listen(const Address&) override { return Status(Code::kUnsupported, "no network"); }
  Result<std::unique_ptr<Stream>> dial(const Address&) override { return Status(Code::kUnsupported, "no network"); }
  void idle(std::span<const WaitHandle>, Duration) override {}

 private:
  int next_ = 0;
};

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

Secret secret_of(std::string_view hex) {
  Digest bytes{};
  EXPECT_TRUE(from_hex(hex, bytes));
  return Secret(bytes);
}

std::string hmac_hex(const Secret& key, std::vector<std::span<const std::byte>> parts) {
  return to_hex(hmac_sha256(key, parts));
}

TEST(Hmac, GivesThePublishedValues) {
  // RFC 4231, cases 1 and 2. Keys shorter than a block are padded with zeros, so a key may be written with them.
  const auto case1 = secret_of("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b000000000000000000000000");
  EXPECT_EQ(hmac_hex(case1, {bytes_of("Hi There")}),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  const auto case2 = secret_of("4a65666500000000000000000000000000000000000000000000000000000000");
  EXPECT_EQ(hmac_hex(case2, {bytes_of("what do ya want for nothing?")}),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Hmac, RunsOverTheConcatenationOfItsParts) {
  PatternEnv env;
  const Secret key = Secret::draw(env);
  const auto whole = hmac_hex(key, {bytes_of("one two three")});
  EXPECT_EQ(hmac_hex(key, {bytes_of("one "), {}, bytes_of("two"), bytes_of(" three")}), whole);
  EXPECT_NE(hmac_hex(key, {bytes_of("one two thref")}), whole);
  EXPECT_NE(hmac_hex(Secret::draw(env), {bytes_of("one two three")}), whole);
}

TEST(Digests, CompareEveryByte) {
  Digest a{};
  for (size_t i = 0; i < a.size(); ++i) {
    Digest b = a;
    EXPECT_TRUE(equal_digests(a, b));
    b[i] ^= std::byte{0x80};
    EXPECT_FALSE(equal_digests(a, b)) << "byte " << i;
  }
}

TEST(Secret, IsEmptyOnlyWhenAllZero) {
  EXPECT_TRUE(Secret().empty());
  Digest last{};
  last.back() = std::byte{1};
  EXPECT_FALSE(Secret(last).empty());
}

TEST(Secret, LeavesNothingBehindWhenDestroyed) {
  alignas(Secret) std::byte room[sizeof(Secret)];
  Digest bytes;
  bytes.fill(std::byte{0xA5});
  auto* secret = new (room) Secret(bytes);
  secret->~Secret();
  for (const volatile std::byte& b : room) EXPECT_NE(std::byte{b}, std::byte{0xA5});
}

struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() { EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0); }
};

TEST(SecretDescriptor, ReadsThirtyTwoBytesThenCloses) {
  Pipe pipe;
  PatternEnv env;
  const Secret drawn = Secret::draw(env);
  ASSERT_EQ(::write(pipe.ends[1], drawn.bytes().data(), 32), 32);
  ::close(pipe.ends[1]);
  const auto read = Secret::read_descriptor(pipe.ends[0]);
  RONDO_ASSERT_OK(read);
  EXPECT_TRUE(std::equal(read->bytes().begin(), read->bytes().end(), drawn.bytes().begin()));
  EXPECT_EQ(::fcntl(pipe.ends[0], F_GETFD), -1) << "still open";
}

TEST(SecretDescriptor, RefusesEveryOtherLength) {
  for (const size_t length : {0, 1, 31, 33, 64}) {
    Pipe pipe;
    const std::vector<std::byte> data(length, std::byte{7});
    ASSERT_EQ(::write(pipe.ends[1], data.data(), length), static_cast<ssize_t>(length));
    ::close(pipe.ends[1]);
    const auto read = Secret::read_descriptor(pipe.ends[0]);
    ASSERT_FALSE(read.ok()) << length;
    EXPECT_EQ(read.status().code(), Code::kInvalidArgument);
    EXPECT_NE(read.status().message().find("RONDO_SECRET_FD"), std::string::npos);
    EXPECT_EQ(::fcntl(pipe.ends[0], F_GETFD), -1) << "still open";
  }
  EXPECT_EQ(Secret::read_descriptor(-1).status().code(), Code::kInvalidArgument);
}

class SecretFile : public testing::Test {
 protected:
  void SetUp() override {
    const int file = ::mkstemp(path_.data());
    ASSERT_GE(file, 0);
    ::close(file);
  }
  void TearDown() override { ::unlink(path_.c_str()); }
  Result<Secret> read(const std::string& content, mode_t mode) {
    const int file = ::open(path_.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    EXPECT_EQ(::write(file, content.data(), content.size()), static_cast<ssize_t>(content.size()));
    EXPECT_EQ(::fchmod(file, mode), 0);
    ::close(file);
    return Secret::read_file(path_);
  }
  std::string path_ = testing::TempDir() + "rondo-secret-XXXXXX";
  const std::string digits_ = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
};

TEST_F(SecretFile, IsReadWhenOnlyItsOwnerMay) {
  for (const mode_t mode : {0600, 0400})
    for (const char* end : {"", "\n", "\r\n"}) {
      const auto secret = read(digits_ + end, mode);
      RONDO_ASSERT_OK(secret);
      EXPECT_EQ(to_hex(secret->bytes()), "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
      ::chmod(path_.c_str(), 0600);
    }
}

TEST_F(SecretFile, IsRefusedWhenOthersMayReadIt) {
  for (const mode_t mode : {0640, 0604, 0644}) {
    const auto secret = read(digits_, mode);
    ASSERT_FALSE(secret.ok());
    EXPECT_EQ(secret.status().code(), Code::kInvalidArgument);
    EXPECT_NE(secret.status().message().find("chmod 600"), std::string::npos);
  }
}

TEST_F(SecretFile, IsRefusedWhenItHoldsAnythingElse) {
  for (const std::string& content : {std::string(), digits_.substr(1), digits_ + "0", digits_ + "\n\n\n",
                                     "g" + digits_.substr(1), std::string(64, '0')}) {
    const auto secret = read(content, 0600);
    ASSERT_FALSE(secret.ok()) << content;
    EXPECT_EQ(secret.status().code(), Code::kInvalidArgument);
    EXPECT_EQ(secret.status().message().find(content.empty() ? "?" : content), std::string::npos)
        << "the secret is shown";
  }
  ::unlink(path_.c_str());
  EXPECT_EQ(Secret::read_file(path_).status().code(), Code::kInvalidArgument);
}

TEST(JobIdText, SurvivesTheRoundTrip) {
  PatternEnv env;
  const JobId first = JobId::draw(env);
  const JobId second = JobId::draw(env);
  EXPECT_NE(first, second);
  EXPECT_EQ(first.hex(), "0102030405060708090a0b0c0d0e0f10");
  const auto parsed = JobId::parse(first.hex());
  RONDO_ASSERT_OK(parsed);
  EXPECT_EQ(*parsed, first);
  for (const char* wrong : {"", "01", "0102030405060708090a0b0c0d0e0f1", "0102030405060708090a0b0c0d0e0fxx"})
    EXPECT_EQ(JobId::parse(wrong).status().code(), Code::kInvalidArgument) << wrong;
}

}  // namespace
}  // namespace rondo::comm
