/// Memory that peers may still store into is handed out again only after the last of them can reach it no more.
#include "comm/group/quarantine.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/group/group_state.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::RankOptions;

constexpr size_t kBytes = 64 * 1024;
constexpr uint64_t kGroup = 7;

std::shared_ptr<JobPage> make_page(int ranks) {
  auto memory = Region::allocate(JobPage::byte_count(ranks), "a test's job page");
  EXPECT_TRUE(memory.ok()) << memory.status().text();
  auto page = JobPage::format(*std::move(memory), ranks);
  EXPECT_TRUE(page.ok()) << page.status().text();
  return *std::move(page);
}

Region make_region(std::byte content) {
  auto region = Region::allocate(kBytes, "a test's bucket");
  EXPECT_TRUE(region.ok()) << region.status().text();
  std::ranges::fill(region->bytes(), content);
  return *std::move(region);
}

bool is_filled_with(std::span<const std::byte> bytes, std::byte content) {
  return std::ranges::all_of(bytes, [&](std::byte each) { return each == content; });
}

TEST(Quarantine, GivesMemoryOnlyAfterTheLastMemberHasLeftTheGroupAndZeroed) {
  const auto page = make_page(4);
  page->post_abort({.group = kGroup, .text = "a test"});
  Quarantine quarantine;
  Region region = make_region(std::byte{0x77});
  const std::byte* memory = region.bytes().data();
  quarantine.keep({.region = std::move(region), .group = kGroup, .others = {1, 2, 3}});
  for (const int rank : {2, 1, 3}) {
    EXPECT_TRUE(quarantine.take(kBytes, *page).empty()) << "before rank " << rank << " has left";
    page->post_left(rank, kGroup);
  }
  EXPECT_TRUE(quarantine.take(kBytes / 2, *page).empty()) << "of another size";
  const Region again = quarantine.take(kBytes, *page);
  ASSERT_EQ(again.bytes().data(), memory);
  EXPECT_TRUE(is_filled_with(again.bytes(), std::byte{0}));
  EXPECT_TRUE(quarantine.take(kBytes, *page).empty()) << "given once";
}

TEST(Quarantine, LeavingAnotherGroupFreesNothingAndLeavingTheJobFreesAll) {
  const auto page = make_page(2);
  Quarantine quarantine;
  quarantine.keep({.region = make_region(std::byte{1}), .group = kGroup, .others = {1}});
  page->post_left(1, kGroup);  // before any abort: says nothing about a later one
  page->post_abort({.group = kGroup + 1, .text = "another group"});
  page->post_left(1, kGroup + 1);
  page->post_abort({.group = kGroup, .text = "this group"});
  EXPECT_TRUE(quarantine.take(kBytes, *page).empty());
  page->post_left(1, kWholeJob);
  EXPECT_TRUE(quarantine.take(kBytes, *page).empty()) << "the job was not aborted";
  page->post_abort({.group = kWholeJob, .text = "the job"});
  page->post_left(1, kWholeJob);
  EXPECT_FALSE(quarantine.take(kBytes, *page).empty());
}

TEST(Quarantine, AStoppedMemberIsWaitedForAndADeadOneOnlyUntilItsProcessHasEnded) {
  const auto page = make_page(2);
  page->post_abort({.group = kGroup, .text = "a test"});
  const pid_t child = ::fork();
  if (child == 0) {
    if (page->enter(1, ::getpid()).ok()) ::raise(SIGSTOP);
    ::_exit(0);
  }
  int state = 0;
  ASSERT_EQ(::waitpid(child, &state, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(state));
  Quarantine quarantine;
  quarantine.keep({.region = make_region(std::byte{2}), .group = kGroup, .others = {1}});
  EXPECT_EQ(page->watch(1, Duration::zero()), Membership::kPresent);
  EXPECT_TRUE(quarantine.take(kBytes, *page).empty()) << "it may be continued, in the middle of a store";
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, &state, 0), child);
  EXPECT_EQ(page->watch(1, std::chrono::seconds(5)), Membership::kDead);
  EXPECT_FALSE(quarantine.take(kBytes, *page).empty());
}

TEST(Quarantine, AMutexThatAThreadLeftBehindProvesNoDeathOfItsProcess) {
  const auto page = make_page(2);
  page->post_abort({.group = kGroup, .text = "a test"});
  std::thread([&] { ASSERT_TRUE(page->enter(1, ::getpid()).ok()); }).join();
  ASSERT_EQ(page->watch(1, std::chrono::seconds(5)), Membership::kDead);
  EXPECT_FALSE(page->gone(1));
  Quarantine quarantine;
  quarantine.keep({.region = make_region(std::byte{3}), .group = kGroup, .others = {1}});
  EXPECT_TRUE(quarantine.take(kBytes, *page).empty());
}

TEST(Quarantine, MemoryWithAnotherHandleInThisProcessIsNotGiven) {
  const auto page = make_page(1);
  Quarantine quarantine;
  const Region mine = make_region(std::byte{4});
  quarantine.keep({.region = mine.share(), .group = kGroup, .others = {}});
  EXPECT_TRUE(quarantine.take(kBytes, *page).empty());
  EXPECT_TRUE(is_filled_with(mine.bytes(), std::byte{4}));
}

class Recovery : public testing::TestWithParam<RankOptions::Mappings> {};
INSTANTIATE_TEST_SUITE_P(Mappings, Recovery,
                         testing::Values(RankOptions::Mappings::kShared, RankOptions::Mappings::kOwn),
                         [](const auto& of) { return of.param == RankOptions::Mappings::kOwn ? "Own" : "Shared"; });

TEST_P(Recovery, TakesFreshMemoryWhileAPeerMayStoreAndTheOldOnceAllHaveLeft) {
  constexpr int kRanks = 3;
  std::barrier<> together(kRanks);
  test::run_endpoints(
      kRanks,
      [&](Endpoint& endpoint) {
        const Deadline deadline = in_seconds(30);
        const int rank = endpoint.at().rank;
        auto first = Group::create(endpoint, {.name = "first"}, deadline);
        RONDO_ASSERT_OK(first);
        auto bucket = first->allocate(kBytes, "bucket");
        RONDO_ASSERT_OK(bucket);
        const std::byte* old = bucket->bytes().data();
        std::ranges::fill(bucket->bytes(), std::byte{0});
        RONDO_ASSERT_OK(
            all_reduce(*first, {bucket->bytes().data(), kBytes / 4, DType::kFloat32}, ReduceOp::kSum).wait(deadline));
        const auto registered = first->state()->find_registered(bucket->bytes());
        ASSERT_TRUE(registered.has_value());
        const std::span<std::byte> late = first->state()->peer_region(0, registered->id);
        auto second = Group::create(endpoint, {.name = "second"}, deadline);
        RONDO_ASSERT_OK(second);
        together.arrive_and_wait();
        if (rank == 0) first->abort("a test");
        *bucket = Region();  // rank 0's is in quarantine by now
        together.arrive_and_wait();

        // Rank 2 hears of the abort; rank 1 does not look, and could still store.
        if (rank == 2) {
          EXPECT_EQ(barrier(*first).wait(deadline).code(), Code::kAborted);
        }
        together.arrive_and_wait();
        Region fresh;
        if (rank == 0) {
          auto allocated = second->allocate(kBytes, "bucket");
          RONDO_ASSERT_OK(allocated);
          fresh = std::move(*allocated);
          ASSERT_NE(fresh.bytes().data(), old);
          std::ranges::fill(fresh.bytes(), std::byte{0x5a});
        }
        together.arrive_and_wait();
        if (rank == 1 && !late.empty()) std::ranges::fill(late, std::byte{0xff});  // as a store that was on its way
        together.arrive_and_wait();
        if (rank == 0) {
          EXPECT_TRUE(is_filled_with(fresh.bytes(), std::byte{0x5a}));
        }
        together.arrive_and_wait();

        if (rank == 1) {
          EXPECT_EQ(barrier(*first).wait(deadline).code(), Code::kAborted);
        }
        together.arrive_and_wait();
        auto again = second->allocate(kBytes, "bucket");
        RONDO_ASSERT_OK(again);
        if (rank == 0) {
          EXPECT_EQ(again->bytes().data(), old) << "every other member has left the group";
          EXPECT_TRUE(is_filled_with(again->bytes(), std::byte{0}));
        }
        RONDO_ASSERT_OK(barrier(*second).wait(deadline));
      },
      {.transport = TransportKind::kShm, .mappings = GetParam()});
}

}  // namespace
}  // namespace rondo::comm
