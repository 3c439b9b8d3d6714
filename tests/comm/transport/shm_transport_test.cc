#include "comm/transport/shm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "comm/transport/inproc.h"

namespace rondo::comm {
namespace {

/// Nobody is at home.
class DeadPost final : public RegionPost {
 public:
  std::string mailbox() const override { return "rondo-0"; }
  Status post(const std::string&, int to, const RegionLabel&, const Region&) override {
    return {Code::kPeerLost, "the mailbox of rank " + std::to_string(to) + " is gone", {.peer = to}};
  }
  Result<std::optional<Region>> take(const RegionLabel&) override { return std::optional<Region>(); }
  void forget(uint64_t) override {}
};

// A rank may be done with the job before another one has made its part of the last group.
TEST(ShmTransport, AMailboxThatIsGoneIsAnErrorUnlessItsRankLeftInOrder) {
  const auto fabric = *InprocFabric::create(2);
  const auto page = fabric->page();
  const auto make = [&] {
    return make_shm_transport(
        {.page = page, .post = std::make_shared<DeadPost>(), .group = 7, .job_ranks = {0, 1}, .mailboxes = {"", ""}});
  };
  ASSERT_TRUE(page->enter(1, ::getpid()).ok());
  const auto refused = make();
  EXPECT_EQ(refused.status().code(), Code::kPeerLost);
  EXPECT_THAT(refused.status().text(), testing::HasSubstr("mailbox of rank 1"));
  page->leave(1);
  EXPECT_TRUE(make().ok());
}

}  // namespace
}  // namespace rondo::comm
