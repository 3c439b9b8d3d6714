#include "comm/transport/region_post.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "comm/base/descriptor_passing.h"
#include "rondo/comm/env.h"
#include "tests/support/descriptors.h"

namespace rondo::comm {
namespace {

class Mail : public testing::Test {
 protected:
  std::shared_ptr<RegionPost> open(int rank, uint32_t generation = 0) {
    auto post = open_region_post({.rank = rank, .job = job_, .generation = generation});
    EXPECT_TRUE(post.ok()) << post.status().text();
    return *post;
  }
  static Region region(const std::string& text) {
    auto made = Region::allocate(4096, "mail test");
    EXPECT_TRUE(made.ok()) << made.status().text();
    std::memcpy(made->bytes().data(), text.data(), text.size());
    return std::move(*made);
  }
  static std::string text_of(const Region& region, size_t length) {
    return {reinterpret_cast<const char*>(region.bytes().data()), length};
  }

  const std::shared_ptr<Env> env_ = real_env();
  const JobId job_ = JobId::draw(*env_);
};

TEST_F(Mail, ARegionArrivesOnceUnderItsLabelAndIsTheSameMemory) {
  const auto here = open(0);
  const auto there = open(1);
  const RegionLabel label{.group = 7, .from = 0, .id = 3};
  const Region mine = region("first");
  EXPECT_FALSE((*there->take(label)).has_value());
  ASSERT_TRUE(here->post(there->mailbox(), 1, label, mine).ok());
  auto taken = there->take(label);
  ASSERT_TRUE(taken.ok()) << taken.status().text();
  ASSERT_TRUE(taken->has_value());
  EXPECT_NE((*taken)->bytes().data(), mine.bytes().data());
  std::memcpy(mine.bytes().data(), "again", 5);
  EXPECT_EQ(text_of(**taken, 5), "again");
  EXPECT_FALSE((*there->take(label)).has_value());
}

TEST_F(Mail, ManyLettersWaitUntilTheyAreWanted) {
  const auto here = open(0);
  const auto there = open(1);
  for (uint64_t id = 0; id < 100; ++id) {
    ASSERT_TRUE(
        here->post(there->mailbox(), 1, {.group = 7, .from = 0, .id = id}, region("id " + std::to_string(id))).ok());
  }
  for (uint64_t id = 100; id-- > 0;) {
    auto taken = there->take({.group = 7, .from = 0, .id = id});
    ASSERT_TRUE(taken.ok() && taken->has_value()) << id;
    EXPECT_EQ(text_of(**taken, 5), ("id " + std::to_string(id) + std::string(2, '\0')).substr(0, 5));
  }
}

TEST_F(Mail, AMailboxThatIsGoneIsAPeerLostByName) {
  const auto here = open(0);
  std::string gone;
  {
    const auto there = open(5);
    gone = there->mailbox();
  }
  const Status status = here->post(gone, 5, {.group = 7, .from = 0, .id = 1}, region("lost"));
  EXPECT_EQ(status.code(), Code::kPeerLost) << status.text();
  EXPECT_EQ(status.where().peer, 5);
  EXPECT_NE(status.text().find("mailbox of rank 5"), std::string::npos) << status.text();
}

TEST_F(Mail, LettersOfAnotherJobGenerationOrReceiverAreDropped) {
  const auto there = open(1, 2);
  const RegionLabel label{.group = 7, .from = 0, .id = 3};
  const auto stranger = *open_region_post({.rank = 0, .job = JobId::draw(*env_), .generation = 2});
  ASSERT_TRUE(stranger->post(there->mailbox(), 1, label, region("stranger")).ok());
  ASSERT_TRUE(open(0, 1)->post(there->mailbox(), 1, label, region("older")).ok());
  ASSERT_TRUE(open(0, 2)->post(there->mailbox(), 4, label, region("not for you")).ok());
  EXPECT_FALSE((*there->take(label)).has_value());
  ASSERT_TRUE(open(0, 2)->post(there->mailbox(), 1, label, region("right")).ok());
  EXPECT_TRUE((*there->take(label)).has_value());
}

TEST_F(Mail, GarbageInTheMailboxIsDropped) {
  const auto there = open(1);
  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const auto at = abstract_address(there->mailbox());
  ASSERT_EQ(::connect(socket, at.get(), at.length), 0);
  ASSERT_EQ(::send(socket, "hello", 5, 0), 5);
  ::close(socket);
  const RegionLabel label{.group = 7, .from = 0, .id = 3};
  EXPECT_FALSE((*there->take(label)).has_value());
  ASSERT_TRUE(open(0)->post(there->mailbox(), 1, label, region("right")).ok());
  EXPECT_TRUE((*there->take(label)).has_value());
}

TEST_F(Mail, WhatIsForgottenOrNeverTakenLeavesNoDescriptor) {
  const size_t before = test::open_descriptors();
  {
    const auto here = open(0);
    const auto there = open(1);
    for (uint64_t id = 0; id < 10; ++id) {
      ASSERT_TRUE(here->post(there->mailbox(), 1, {.group = id % 2, .from = 0, .id = id}, region("x")).ok());
    }
    EXPECT_FALSE((*there->take({.group = 9, .from = 0, .id = 0})).has_value());  // empties the mailbox
    there->forget(0);
    EXPECT_FALSE((*there->take({.group = 0, .from = 0, .id = 2})).has_value());
    EXPECT_TRUE((*there->take({.group = 1, .from = 0, .id = 3})).has_value());
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

}  // namespace
}  // namespace rondo::comm
