#include "comm/watch/page_share.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/clock_env.h"
#include "tests/support/descriptors.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

/// A job whose ranks share their page, all advanced by this one thread.
struct Job {
  std::shared_ptr<Env> env = std::make_shared<test::ClockEnv>();
  std::shared_ptr<Store> store = in_process_store();
  std::vector<std::unique_ptr<PageShare>> shares;

  void add(PageShareOptions options) { shares.push_back(std::make_unique<PageShare>(env, store, std::move(options))); }
  /// True when all are done; false at the deadline or when one failed.
  bool run(Duration limit = std::chrono::seconds(5)) {
    const Deadline deadline = after(limit);
    std::vector<bool> done(shares.size(), false);
    while (std::find(done.begin(), done.end(), false) != done.end()) {
      for (size_t i = 0; i < shares.size(); ++i) {
        if (done[i]) continue;
        const Progress progress = shares[i]->advance(env->now());
        if (progress == Progress::kFailed) return false;
        done[i] = progress == Progress::kDone;
      }
      if (deadline.passed(env->now())) return false;
    }
    return true;
  }
};

std::string page_socket_of(Job& job, const std::string& key) {
  const auto name = store_get(*job.store, *job.env, {key}, in_seconds(1));
  return name.ok() ? name->front() : "";
}

bool socket_exists(const std::string& name) {
  std::ifstream table("/proc/net/unix");
  for (std::string line; std::getline(table, line);)
    if (line.find(name) != std::string::npos) return true;
  return false;
}

TEST(PageShare, GivesEveryRankTheSamePage) {
  for (const int n : {1, 2, 3, 8, 64}) {
    Job job;
    for (int rank = 0; rank < n; ++rank) job.add({.rank = rank, .world_size = n});
    ASSERT_TRUE(job.run()) << n << " ranks";
    std::vector<std::shared_ptr<JobPage>> pages;
    for (auto& share : job.shares) pages.push_back(share->take());
    for (int rank = 0; rank < n; ++rank) ASSERT_EQ(pages[static_cast<size_t>(rank)]->rank_count(), n);
    pages.back()->post_abort({.group = 11, .text = "from the last"});
    for (const auto& page : pages) EXPECT_EQ(page->abort_of(11)->text, "from the last");
  }
}

TEST(PageShare, SharesPerHostAmongItsOwnRanksOnly) {
  Job job;
  for (const int rank : {0, 1}) job.add({.rank = rank, .world_size = 4, .local_ranks = {0, 1}});
  for (const int rank : {2, 3}) job.add({.rank = rank, .world_size = 4, .local_ranks = {2, 3}});
  ASSERT_TRUE(job.run());
  std::vector<std::shared_ptr<JobPage>> pages;
  for (auto& share : job.shares) pages.push_back(share->take());
  pages[0]->post_abort({.group = 11, .text = "first host"});
  EXPECT_TRUE(pages[1]->abort_of(11).has_value());
  EXPECT_FALSE(pages[2]->abort_of(11).has_value());
  EXPECT_FALSE(pages[3]->abort_of(11).has_value());
}

TEST(PageShare, WorksBetweenProcesses) {
  // The child reaches the store's content by the fork; it writes nothing there.
  Job job;
  job.add({.rank = 0, .world_size = 2});
  while (job.shares[0]->advance(job.env->now()) == Progress::kProgressed) continue;
  const int child = ::fork();
  if (child == 0) {
    Job other;
    other.store = job.store;
    other.add({.rank = 1, .world_size = 2});
    const bool done = other.run();
    if (done) other.shares[0]->take()->post_abort({.group = 3, .text = "from the other process"});
    ::_exit(done ? 0 : 1);
  }
  EXPECT_TRUE(job.run());
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(job.shares[0]->take()->abort_of(3)->text, "from the other process");
}

TEST(PageShare, NamesTheAbsent) {
  Job job;
  job.add({.rank = 0, .world_size = 4});
  job.add({.rank = 2, .world_size = 4});
  EXPECT_FALSE(job.run(std::chrono::milliseconds(100)));
  EXPECT_EQ(job.shares[0]->absent(), (std::vector<int>{1, 3}));
  EXPECT_EQ(job.shares[1]->absent(), std::vector<int>{}) << "has the page";

  Job headless;
  headless.add({.rank = 1, .world_size = 2});
  EXPECT_FALSE(headless.run(std::chrono::milliseconds(20)));
  EXPECT_EQ(headless.shares[0]->absent(), std::vector<int>{0});
}

TEST(PageShare, KeepsTwoJobsApartThatRunSideBySide) {
  Job one, two;
  for (int rank = 0; rank < 2; ++rank) {
    one.add({.rank = rank, .world_size = 2});
    two.add({.rank = rank, .world_size = 2});
  }
  ASSERT_TRUE(one.run());
  ASSERT_TRUE(two.run());
  one.shares[0]->take()->post_abort({.group = 1, .text = "one"});
  EXPECT_FALSE(two.shares[1]->take()->abort_of(1).has_value());
}

TEST(PageShare, LeavesNoSocketAndNoDescriptorBehind) {
  const size_t before = test::open_descriptors();
  for (int round = 0; round < 50; ++round) {
    std::string name;
    {
      Job job;
      for (int rank = 0; rank < 3; ++rank) job.add({.rank = rank, .world_size = 3});
      ASSERT_TRUE(job.run());
      name = page_socket_of(job, "page/0/0");
      ASSERT_FALSE(name.empty());
      EXPECT_FALSE(socket_exists(name)) << "closed as soon as all have the page";
    }
    Job unfinished;
    unfinished.add({.rank = 0, .world_size = 2});
    EXPECT_FALSE(unfinished.run(Duration::zero()));
    name = page_socket_of(unfinished, "page/0/0");
    EXPECT_TRUE(socket_exists(name));
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST(PageShare, IsNotDisturbedByStrangersOnItsSocket) {
  Job job;
  job.add({.rank = 0, .world_size = 2});
  EXPECT_FALSE(job.run(std::chrono::milliseconds(10)));
  const std::string name = page_socket_of(job, "page/0/0");
  std::vector<int> strangers;
  for (int i = 0; i < 5; ++i) {
    const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(name.begin(), name.end(), address.sun_path + 1);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    ASSERT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&address), length), 0);
    const std::string words(i == 0 ? 0 : 64, 'x');
    ASSERT_EQ(::send(socket, words.data(), words.size(), MSG_NOSIGNAL), static_cast<ssize_t>(words.size()));
    if (i == 1) ::shutdown(socket, SHUT_RDWR);
    strangers.push_back(socket);
    job.shares[0]->advance(job.env->now());
  }
  job.add({.rank = 1, .world_size = 2});
  // The silent stranger holds one of the places until its connection ends.
  ::close(strangers[0]);
  EXPECT_TRUE(job.run());
  for (size_t i = 1; i < strangers.size(); ++i) ::close(strangers[i]);
}

TEST(PageShare, RefusesAnotherWorldSize) {
  Job job;
  job.add({.rank = 0, .world_size = 2});
  job.add({.rank = 1, .world_size = 3});
  EXPECT_FALSE(job.run());
  EXPECT_EQ(job.shares[1]->status().code(), Code::kPeerLost);
  EXPECT_NE(job.shares[1]->status().message().find("another world size"), std::string::npos);
  EXPECT_EQ(job.shares[1]->status().where().rank, 1);
}

TEST(PageShare, SaysThatTheHolderOfThePageIsGone) {
  Job job;
  RONDO_ASSERT_OK(store_set(*job.store, *job.env, "page/0/0", "rondo-page-nobody-listens-here", in_seconds(1)));
  job.add({.rank = 1, .world_size = 2});
  EXPECT_FALSE(job.run());
  EXPECT_EQ(job.shares[0]->status().code(), Code::kPeerLost);
  EXPECT_NE(job.shares[0]->status().message().find("rank 0"), std::string::npos) << job.shares[0]->status().text();
}

TEST(PageShare, RefusesARankThatIsNotOfItsHost) {
  Job job;
  job.add({.rank = 5, .world_size = 2});
  EXPECT_FALSE(job.run());
  EXPECT_EQ(job.shares[0]->status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace rondo::comm
