#include "comm/watch/job_page.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

std::shared_ptr<JobPage> make_page(int ranks) {
  auto region = Region::allocate(JobPage::byte_count(ranks), "a test's job page");
  EXPECT_TRUE(region.ok()) << region.status().text();
  auto page = JobPage::format(*std::move(region), ranks);
  EXPECT_TRUE(page.ok()) << page.status().text();
  return *std::move(page);
}

/// A process that runs `body` and is killed and reaped with this object.
class Child {
 public:
  explicit Child(const std::function<void()>& body) : pid_(::fork()) {
    if (pid_ != 0) return;
    body();
    ::_exit(0);
  }
  ~Child() { kill(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  int pid() const { return pid_; }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void kill_without_reaping() const { ::kill(pid_, SIGKILL); }

 private:
  int pid_;
};

[[noreturn]] void sleep_until_killed() {
  while (true) ::pause();
}

bool eventually(const std::function<bool()>& condition, Duration limit = std::chrono::seconds(5)) {
  const Deadline deadline = after(limit);
  while (!condition()) {
    if (deadline.passed(Clock::now())) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(JobPage, StartsWithEveryoneAbsentAndNoAbort) {
  const auto page = make_page(3);
  EXPECT_EQ(page->rank_count(), 3);
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(page->membership(rank), Membership::kAbsent);
    EXPECT_EQ(page->watch(rank, std::chrono::seconds(5)), Membership::kAbsent) << "returns at once";
  }
  EXPECT_EQ(page->abort_version(), 0u);
  EXPECT_FALSE(page->abort_of(kWholeJob).has_value());
}

TEST(JobPage, AttachesWhereItWasFormattedOnly) {
  const auto page = make_page(3);
  const size_t bytes = JobPage::byte_count(3);
  auto again = Region::adopt(::dup(page->region().descriptor()), bytes);
  RONDO_ASSERT_OK(again);
  const auto attached = JobPage::attach(*std::move(again));
  RONDO_ASSERT_OK(attached);
  EXPECT_EQ((*attached)->rank_count(), 3);
  page->post_abort({.group = 5, .culprit = 2, .reporter = 1, .text = "seen through both mappings"});
  EXPECT_EQ((*attached)->abort_of(5)->text, "seen through both mappings");

  for (const size_t wrong : {size_t{1}, size_t{64}, bytes - 1, bytes, bytes + 128}) {
    auto blank = Region::allocate(wrong, "no page");
    RONDO_ASSERT_OK(blank);
    EXPECT_EQ(JobPage::attach(*std::move(blank)).status().code(), Code::kCorrupt) << wrong << " blank bytes";
  }
  EXPECT_EQ(JobPage::attach(Region()).status().code(), Code::kCorrupt);
  EXPECT_EQ(JobPage::format(Region(), 1).status().code(), Code::kInvalidArgument);
}

TEST(JobPage, TellsAnOrderlyLeaveFromADeath) {
  const auto page = make_page(2);
  std::atomic<int> step{0};
  std::thread member([&] {
    ASSERT_TRUE(page->enter(1, 4242).ok());
    step = 1;
    while (step != 2) std::this_thread::yield();
    page->leave(1);
  });
  while (step != 1) std::this_thread::yield();
  EXPECT_EQ(page->pid(1), 4242);
  const TimePoint before = Clock::now();
  EXPECT_EQ(page->watch(1, std::chrono::milliseconds(20)), Membership::kPresent);
  EXPECT_GE(Clock::now() - before, std::chrono::milliseconds(20)) << "waits for the slice";
  step = 2;
  while (page->watch(1, std::chrono::milliseconds(20)) == Membership::kPresent) continue;
  EXPECT_EQ(page->membership(1), Membership::kLeft);
  member.join();
}

TEST(JobPage, SeesTheDeathOfAThread) {
  const auto page = make_page(2);
  std::thread([&] { ASSERT_TRUE(page->enter(1, 7).ok()); }).join();
  EXPECT_EQ(page->watch(1, std::chrono::seconds(1)), Membership::kDead);
  EXPECT_EQ(page->membership(1), Membership::kDead) << "marked for everyone";
  EXPECT_EQ(page->enter(1, 8).code(), Code::kClosed) << "the dead do not come back in this generation";
}

TEST(JobPage, SeesTheDeathOfAProcessWithinASecond) {
  const auto page = make_page(2);
  Child child([&] {
    if (page->enter(1, ::getpid()).ok()) sleep_until_killed();
  });
  ASSERT_TRUE(eventually([&] { return page->membership(1) == Membership::kPresent; }));
  EXPECT_EQ(page->watch(1, std::chrono::milliseconds(20)), Membership::kPresent);
  EXPECT_EQ(page->pid(1), child.pid());
  const TimePoint killed = Clock::now();
  child.kill_without_reaping();  // a zombie is dead, too
  ASSERT_TRUE(eventually([&] { return page->watch(1, std::chrono::milliseconds(20)) == Membership::kDead; }));
  EXPECT_LT(Clock::now() - killed, std::chrono::seconds(1));
}

TEST(JobPage, RefusesARankThatIsTakenOrDoesNotExist) {
  const auto page = make_page(2);
  std::atomic<bool> done{false}, in{false};
  std::thread member([&] {
    ASSERT_TRUE(page->enter(0, 4242).ok());
    in = true;
    while (!done) std::this_thread::yield();
    page->leave(0);
  });
  while (!in) std::this_thread::yield();
  const Status taken = page->enter(0, 4243);
  EXPECT_EQ(taken.code(), Code::kInvalidArgument);
  EXPECT_NE(taken.message().find("4242"), std::string::npos) << taken.text();
  done = true;
  member.join();
  EXPECT_EQ(page->enter(2, 1).code(), Code::kInvalidArgument);
  EXPECT_EQ(page->enter(-1, 1).code(), Code::kInvalidArgument);
}

TEST(JobPage, KeepsTheFirstAbortOfEachGroup) {
  const auto page = make_page(2);
  EXPECT_TRUE(page->post_abort(
      {.group = 7, .generation = 3, .code = Code::kTimeout, .culprit = 1, .reporter = 0, .text = "first"}));
  EXPECT_FALSE(page->post_abort({.group = 7, .text = "second"}));
  EXPECT_EQ(page->abort_version(), 1u);
  const auto reason = page->abort_of(7);
  ASSERT_TRUE(reason.has_value());
  EXPECT_EQ(reason->text, "first");
  EXPECT_EQ(reason->generation, 3u);
  EXPECT_EQ(reason->code, Code::kTimeout);
  EXPECT_EQ(reason->culprit, 1);
  EXPECT_EQ(reason->reporter, 0);
  EXPECT_FALSE(page->abort_of(8).has_value()) << "other groups go on";
  EXPECT_TRUE(page->post_abort({.group = kWholeJob, .text = "everyone"}));
  EXPECT_EQ(page->abort_of(8)->text, "everyone");
  EXPECT_EQ(page->abort_of(7)->text, "first") << "a group's own reason comes before the job's";
}

TEST(JobPage, KeepsWhoHasLeftWhichAbortedGroup) {
  const auto page = make_page(2);
  // A bit for each of the groups that have a reason of their own, and one for the job.
  for (uint64_t group = 1; group <= 63; ++group) page->post_abort({.group = group, .text = "one of many"});
  page->post_abort({.group = 64, .text = "one too many: it takes the whole job"});
  for (uint64_t group = 1; group <= 63; group += 2) page->post_left(0, group);
  for (uint64_t group = 1; group <= 64; ++group) {
    EXPECT_EQ(page->left(0, group), group % 2 == 1) << "group " << group;
    EXPECT_FALSE(page->left(1, group)) << "group " << group;
  }
  page->post_left(1, kWholeJob);
  for (uint64_t group = 1; group <= 64; ++group) EXPECT_TRUE(page->left(1, group)) << "group " << group;
}

TEST(JobPage, LetsExactlyOneOfManyPostersWin) {
  const auto page = make_page(2);
  for (uint64_t group = 1; group <= 20; ++group) {
    std::atomic<int> winners{0};
    std::atomic<int> winner{-1};
    std::vector<std::thread> posters;
    for (int i = 0; i < 4; ++i)
      posters.emplace_back([&, i] {
        if (page->post_abort({.group = group, .reporter = i, .text = "poster " + std::to_string(i)})) {
          ++winners;
          winner = i;
        }
      });
    for (auto& poster : posters) poster.join();
    EXPECT_EQ(winners, 1);
    EXPECT_EQ(page->abort_of(group)->text, "poster " + std::to_string(winner));
    EXPECT_EQ(page->abort_version(), group);
  }
}

TEST(JobPage, CutsLongReasonsAtAWholeCharacter) {
  const auto page = make_page(1);
  std::string text(899, 'x');
  page->post_abort({.group = 1, .text = text + "\u00e4" + "tail"});  // two bytes, of which one would fit
  EXPECT_EQ(page->abort_of(1)->text, text);
  page->post_abort({.group = 2, .text = text + "yz"});
  EXPECT_EQ(page->abort_of(2)->text, text + "y");
}

TEST(JobPage, EndsTheWholeJobWhenMoreGroupsAbortThanItHoldsReasons) {
  const auto page = make_page(1);
  for (uint64_t group = 1; group <= 63; ++group) EXPECT_TRUE(page->post_abort({.group = group, .text = "one"}));
  EXPECT_FALSE(page->abort_of(1000).has_value());
  EXPECT_TRUE(page->post_abort({.group = 64, .text = "last"}));
  EXPECT_EQ(page->abort_of(1000)->text, "last");
  EXPECT_FALSE(page->post_abort({.group = 65, .text = "none left"}));
  EXPECT_EQ(page->abort_of(65)->text, "last");
}

TEST(JobPage, WakesSleepersAtAnAbort) {
  const auto page = make_page(1);
  page->sleep_until_abort(99, std::chrono::hours(1));  // the version is another already: returns at once
  std::thread poster([&] { page->post_abort({.group = 1, .text = "wake up"}); });
  const TimePoint before = Clock::now();
  while (page->abort_version() == 0) page->sleep_until_abort(0, std::chrono::minutes(1));
  EXPECT_LT(Clock::now() - before, std::chrono::seconds(30));
  poster.join();
}

TEST(JobPage, SurvivesAPosterThatDiedWhilePosting) {
  // Killed at random moments while it posts, a process must leave the page usable by others.
  const auto page = make_page(1);
  for (int round = 0; round < 20; ++round) {
    Child child([&] {
      for (uint64_t group = 1;; ++group) page->post_abort({.group = group % 50 + 1, .text = std::string(900, 'c')});
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    child.kill();
    page->post_abort({.group = 100, .text = "still works"});
    ASSERT_TRUE(page->abort_of(100).has_value());
    ASSERT_EQ(page->abort_of(100)->text, "still works");
  }
}

}  // namespace
}  // namespace rondo::comm
