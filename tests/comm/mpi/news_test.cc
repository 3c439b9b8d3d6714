// What rank 0 tells the others by MPI comes as it was said, or is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/bootstrap/mpi_meeting.h"

namespace rondo::comm {
namespace {

using ::testing::HasSubstr;

MpiNews some_news() {
  MpiNews news;
  Digest bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(7 * i + 1);
  news.secret = Secret(bytes);
  for (size_t i = 0; i < news.job.bytes.size(); ++i) news.job.bytes[i] = static_cast<std::byte>(11 * i + 3);
  news.store = {{"tcp:10.0.0.1:4711"}, {"tcp:[fd00::1]:4712"}};
  return news;
}

TEST(MpiNews, ComesAsItWasSaid) {
  const MpiNews said = some_news();
  const auto heard = decode_mpi_news(encode(said));
  ASSERT_TRUE(heard.ok()) << heard.status().text();
  EXPECT_EQ(heard->job, said.job);
  EXPECT_TRUE(std::ranges::equal(heard->secret.bytes(), said.secret.bytes()));
  EXPECT_EQ(heard->store, said.store);
  EXPECT_EQ(heard->refusal, "");
}

TEST(MpiNews, ARefusalIsARefusal) {
  MpiNews said = some_news();
  said.refusal = "no interface leads to other hosts";
  const std::string text = encode(said);
  EXPECT_THAT(text, Not(HasSubstr("0108"))) << "no secret goes with it";
  const auto heard = decode_mpi_news(text);
  ASSERT_TRUE(heard.ok());
  EXPECT_EQ(heard->refusal, said.refusal);
}

TEST(MpiNews, OfAnotherKindIsRefused) {
  const std::string whole = encode(some_news());
  for (const std::string& text : {std::string(), std::string("rondo-news-2") + whole.substr(12), whole.substr(0, 50),
                                  whole.substr(0, whole.find(" tcp:"))}) {
    const auto heard = decode_mpi_news(text);
    ASSERT_FALSE(heard.ok()) << text;
    EXPECT_EQ(heard.status().code(), Code::kCorrupt);
    EXPECT_THAT(heard.status().message(), HasSubstr("the same build"));
  }
}

}  // namespace
}  // namespace rondo::comm
