#include "comm/watch/keeper.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "rondo/comm/control.h"
#include "tests/support/descriptors.h"
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

std::unique_ptr<Keeper> start(const std::shared_ptr<JobPage>& page, int rank, int control = -1) {
  auto keeper = Keeper::start(page, {.rank = rank, .world_size = page->rank_count(), .control_descriptor = control});
  EXPECT_TRUE(keeper.ok()) << keeper.status().text();
  return keeper.ok() ? *std::move(keeper) : nullptr;
}

bool eventually(const std::function<bool()>& condition, Duration limit = std::chrono::seconds(5)) {
  const Deadline deadline = after(limit);
  while (!condition()) {
    if (deadline.passed(Clock::now())) return false;
    std::this_thread::yield();
  }
  return true;
}

/// A process that is one rank: its keeper runs until it is killed. It enters when `earlier` is present.
int fork_rank(const std::shared_ptr<JobPage>& page, int rank, int earlier = -1) {
  const int pid = ::fork();
  if (pid != 0) return pid;
  while (earlier >= 0 && page->membership(earlier) != Membership::kPresent) std::this_thread::yield();
  const auto keeper = Keeper::start(page, {.rank = rank, .world_size = page->rank_count()});
  if (!keeper.ok()) ::_exit(1);
  while (true) ::pause();
}

void kill_and_reap(int pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

/// SIGSTOP takes effect when the process is next scheduled: returns when it has.
void stop_and_wait(int pid) {
  ::kill(pid, SIGSTOP);
  ::waitpid(pid, nullptr, WUNTRACED);
}

void wait_beats(int beats) { std::this_thread::sleep_for(beats * kBeatPeriod); }

/// The agent's end of a control connection.
struct Agent {
  int mine = -1, workers = -1;
  Agent() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    mine = ends[0];
    workers = ends[1];
  }
  ~Agent() { leave(); }
  void leave() {
    if (mine >= 0) ::close(mine);
    mine = -1;
  }
  void send(const ControlFrame& frame) const {
    const auto bytes = encode(frame);
    EXPECT_EQ(::write(mine, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  ControlFrame receive() const {
    std::array<std::byte, kControlFrameBytes> bytes{};
    EXPECT_EQ(::recv(mine, bytes.data(), bytes.size(), MSG_WAITALL), static_cast<ssize_t>(bytes.size()));
    const auto frame = decode_control(bytes);
    EXPECT_TRUE(frame.ok()) << frame.status().text();
    return frame.ok() ? *frame : ControlFrame{};
  }
};

TEST(Keeper, NamesTheRankAndProcessThatDiedWithinASecond) {
  const auto page = make_page(3);
  const int victim = fork_rank(page, 1);
  ASSERT_GT(victim, 0);
  ASSERT_TRUE(eventually([&] { return page->membership(1) == Membership::kPresent; }));
  const auto first = start(page, 0), last = start(page, 2);
  wait_beats(3);
  EXPECT_EQ(page->abort_version(), 0u);
  const TimePoint killed = Clock::now();
  kill_and_reap(victim);
  ASSERT_TRUE(eventually([&] { return page->abort_version() != 0; }));
  EXPECT_LT(Clock::now() - killed, std::chrono::seconds(1));
  const auto reason = page->abort_of(kWholeJob);
  ASSERT_TRUE(reason.has_value());
  EXPECT_EQ(reason->code, Code::kPeerLost);
  EXPECT_EQ(reason->culprit, 1);
  EXPECT_EQ(reason->text, "rank 1 (pid " + std::to_string(victim) + ") died: the kernel released its robust mutex");
}

TEST(Keeper, MovesOnToTheNextAfterADeathAndAfterALeave) {
  const auto page = make_page(4);
  std::vector<int> victims{fork_rank(page, 1), fork_rank(page, 3)};
  auto third = start(page, 2);
  ASSERT_TRUE(eventually(
      [&] { return page->membership(1) == Membership::kPresent && page->membership(3) == Membership::kPresent; }));
  const auto first = start(page, 0);
  kill_and_reap(victims[0]);  // rank 0's successor
  ASSERT_TRUE(eventually([&] { return page->membership(1) == Membership::kDead; }));
  third.reset();  // now rank 3 has nobody but rank 0 before it
  kill_and_reap(victims[1]);
  EXPECT_TRUE(eventually([&] { return page->membership(3) == Membership::kDead; }));
  EXPECT_EQ(page->membership(2), Membership::kLeft);
  EXPECT_EQ(page->abort_of(kWholeJob)->culprit, 1) << "the first death is the cause";
}

TEST(Keeper, TakesAnOrderlyLeaveInAnyOrderForNoDeath) {
  for (const auto& order : {std::vector<int>{0, 1, 2}, {2, 1, 0}, {1, 0, 2}}) {
    const auto page = make_page(3);
    std::vector<std::unique_ptr<Keeper>> keepers;
    for (int rank = 0; rank < 3; ++rank) keepers.push_back(start(page, rank));
    for (const int rank : order) {
      RONDO_ASSERT_OK(keepers[static_cast<size_t>(rank)]->close(in_seconds(1)));
      EXPECT_EQ(page->membership(rank), Membership::kLeft);
      wait_beats(2);
    }
    EXPECT_EQ(page->abort_version(), 0u);
  }
}

TEST(Keeper, WaitsForRanksThatStartLater) {
  const auto page = make_page(3);
  const int victim = fork_rank(page, 0, 2);  // the last to come is watched, too
  const auto middle = start(page, 1);
  wait_beats(3);
  const auto last = start(page, 2);
  wait_beats(3);
  EXPECT_EQ(page->abort_version(), 0u);
  ASSERT_TRUE(eventually([&] { return page->membership(0) == Membership::kPresent; }));
  kill_and_reap(victim);
  ASSERT_TRUE(eventually([&] { return page->abort_version() != 0; }));
  EXPECT_EQ(page->abort_of(kWholeJob)->culprit, 0);
}

TEST(Keeper, LeavesInOrderAndJoinsWithinABeatWhenDestroyed) {
  const auto page = make_page(2);
  auto keeper = start(page, 0);
  const auto other = start(page, 1);
  const TimePoint before = Clock::now();
  keeper.reset();
  EXPECT_LT(Clock::now() - before, std::chrono::milliseconds(500));  // 20 ms, and a slow machine
  EXPECT_EQ(page->membership(0), Membership::kLeft);
  EXPECT_EQ(page->abort_version(), 0u);
}

TEST(Keeper, BeatsOnThePageAndToTheAgent) {
  const auto page = make_page(2);
  Agent agent;
  const auto keeper = start(page, 1, agent.workers);
  uint64_t last_sequence = 0;
  for (int i = 0; i < 3; ++i) {
    const ControlFrame frame = agent.receive();
    EXPECT_EQ(frame.kind, ControlKind::kBeat);
    EXPECT_EQ(frame.rank, 1);
    EXPECT_EQ(frame.pid, ::getpid());
    EXPECT_EQ(frame.sequence, ++last_sequence);
  }
  const uint64_t beat = page->last_beat_ns(1);
  EXPECT_GT(beat, 0u);
  EXPECT_TRUE(eventually([&] { return page->last_beat_ns(1) > beat; }));
}

TEST(Keeper, PassesTheAgentsVerdictOn) {
  struct Case {
    ControlFrame frame;
    const char* text;
    Code code;
  };
  const std::vector<Case> cases{
      {{.kind = ControlKind::kVerdict, .rank = 1, .pid = 1234, .signal_number = SIGKILL},
       "rank 1 (pid 1234) killed by signal 9 (SIGKILL): the agent reaped it",
       Code::kPeerLost},
      {{.kind = ControlKind::kVerdict, .rank = 1, .pid = 1234, .exit_code = 3},
       "rank 1 (pid 1234) exited with code 3: the agent reaped it",
       Code::kPeerLost},
      {{.kind = ControlKind::kAbort, .rank = 1, .pid = 1234},
       "rank 1 (pid 1234) asked the job to stop",
       Code::kAborted},
      {{.kind = ControlKind::kAbort}, "the agent of this host asked the job to stop", Code::kAborted},
  };
  for (const auto& [frame, text, code] : cases) {
    const auto page = make_page(2);
    Agent agent;
    const auto keeper = start(page, 0, agent.workers);
    agent.send({.kind = ControlKind::kVerdict, .rank = 1, .pid = 1, .exit_code = 0});  // ended well: no abort
    agent.send({.kind = ControlKind::kAbort, .generation = 1});                        // of another generation
    agent.send(frame);
    ASSERT_TRUE(eventually([&] { return page->abort_version() != 0; })) << text;
    const auto reason = page->abort_of(kWholeJob);
    EXPECT_EQ(reason->text, text);
    EXPECT_EQ(reason->code, code);
    EXPECT_EQ(reason->culprit, frame.rank);
  }
}

TEST(Keeper, AbortsWhenTheAgentIsGone) {
  const auto page = make_page(2);
  Agent agent;
  const auto keeper = start(page, 0, agent.workers);
  agent.leave();
  ASSERT_TRUE(eventually([&] { return page->abort_version() != 0; }));
  EXPECT_NE(page->abort_of(kWholeJob)->text.find("the agent of this host is gone"), std::string::npos);
  EXPECT_EQ(page->abort_of(kWholeJob)->code, Code::kPeerLost);
}

TEST(Keeper, AbortsWhenTheControlConnectionCarriesGarbage) {
  const auto page = make_page(2);
  Agent agent;
  const auto keeper = start(page, 0, agent.workers);
  const std::array<char, kControlFrameBytes> garbage{};
  ASSERT_EQ(::write(agent.mine, garbage.data(), garbage.size()), static_cast<ssize_t>(garbage.size()));
  ASSERT_TRUE(eventually([&] { return page->abort_version() != 0; }));
  EXPECT_EQ(page->abort_of(kWholeJob)->code, Code::kCorrupt);
}

TEST(Keeper, SeesThatAStoppedRankDoesNotBeatAndEvictsNobody) {
  const auto page = make_page(2);
  const int stopped = fork_rank(page, 1);
  const auto keeper = start(page, 0);
  ASSERT_TRUE(eventually([&] { return page->membership(1) == Membership::kPresent; }));
  ::kill(stopped, SIGSTOP);
  EXPECT_TRUE(eventually([&] { return keeper->silence(1) >= kStoppedAfter; }));
  EXPECT_EQ(keeper->silence(0), Duration::zero());
  EXPECT_EQ(page->membership(1), Membership::kPresent);
  EXPECT_EQ(page->abort_version(), 0u);
  ::kill(stopped, SIGCONT);
  EXPECT_TRUE(eventually([&] { return keeper->silence(1) == Duration::zero(); }));
  EXPECT_EQ(page->abort_version(), 0u);
  kill_and_reap(stopped);
  EXPECT_TRUE(eventually([&] { return page->abort_version() != 0; }));
  EXPECT_EQ(keeper->silence(1), Duration::zero()) << "the dead are not silent, they are dead";
  EXPECT_EQ(keeper->silence(-1), Duration::zero());
  EXPECT_EQ(keeper->silence(7), Duration::zero());
}

TEST(Keeper, DiscardsWhatItSeesAfterItWasHeldUpItself) {
  const auto page = make_page(2);
  auto longest = Region::allocate(sizeof(std::atomic<Duration::rep>), "the longest silence that was seen");
  RONDO_ASSERT_OK(longest);
  auto& seen = *new (longest->bytes().data()) std::atomic<Duration::rep>(0);
  const int watched = fork_rank(page, 1);
  ASSERT_TRUE(eventually([&] { return page->membership(1) == Membership::kPresent; }));
  const int watcher = ::fork();
  if (watcher == 0) {
    const auto keeper = Keeper::start(page, {.rank = 0, .world_size = 2});
    if (!keeper.ok()) ::_exit(1);
    for (;; std::this_thread::yield())
      if (const auto silence = (*keeper)->silence(1).count(); silence > seen.load()) seen.store(silence);
  }
  ASSERT_TRUE(eventually([&] { return page->membership(0) == Membership::kPresent; }));
  wait_beats(3);
  for (const int pid : {watcher, watched}) ::kill(pid, SIGSTOP);  // as when a machine is suspended
  wait_beats(40);
  const uint64_t beat = page->last_beat_ns(1);
  for (const int pid : {watcher, watched}) ::kill(pid, SIGCONT);
  EXPECT_TRUE(eventually([&] { return page->last_beat_ns(1) > beat; }));
  wait_beats(3);
  EXPECT_LT(Duration(seen.load()), 20 * kBeatPeriod) << "800 ms of silence, of which it watched next to nothing";
  for (const int pid : {watcher, watched}) kill_and_reap(pid);
}

TEST(Keeper, NamesTwoRanksThatDiedTogether) {
  const auto page = make_page(4);
  const std::vector<int> victims{fork_rank(page, 1), fork_rank(page, 3)};
  const auto third = start(page, 2);
  ASSERT_TRUE(eventually(
      [&] { return page->membership(1) == Membership::kPresent && page->membership(3) == Membership::kPresent; }));
  wait_beats(3);                                     // now rank 2 waits on rank 3
  for (const int pid : victims) stop_and_wait(pid);  // so that neither sees the other's death
  for (const int pid : victims) kill_and_reap(pid);
  ASSERT_TRUE(eventually([&] { return page->abort_version() != 0; }));
  const std::string text = page->abort_of(kWholeJob)->text;
  EXPECT_NE(text.find("rank 1 (pid " + std::to_string(victims[0]) + ")"), std::string::npos) << text;
  EXPECT_NE(text.find("rank 3 (pid " + std::to_string(victims[1]) + ")"), std::string::npos) << text;
}

TEST(Keeper, KeepsTwoJobsApart) {
  const auto one = make_page(2), two = make_page(2);
  const int victim = fork_rank(one, 1);
  const auto keeper_one = start(one, 0), keeper_two = start(two, 0), other_two = start(two, 1);
  ASSERT_TRUE(eventually([&] { return one->membership(1) == Membership::kPresent; }));
  kill_and_reap(victim);
  ASSERT_TRUE(eventually([&] { return one->abort_version() != 0; }));
  wait_beats(3);
  EXPECT_EQ(two->abort_version(), 0u);
}

TEST(Keeper, TellsItsSleepersOfEveryAbort) {
  const auto page = make_page(2);
  std::atomic<int> told{0};
  auto keeper = Keeper::start(page, {.rank = 0, .world_size = 2, .on_abort = [&] { ++told; }});
  RONDO_ASSERT_OK(keeper);
  page->post_abort({.group = 9, .text = "by somebody else"});
  EXPECT_TRUE(eventually([&] { return told == 1; }));
  wait_beats(3);
  EXPECT_EQ(told, 1) << "once";
}

TEST(Keeper, RefusesARankThatIsTaken) {
  const auto page = make_page(2);
  const auto keeper = start(page, 0);
  EXPECT_EQ(Keeper::start(page, {.rank = 0, .world_size = 2}).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(page->membership(0), Membership::kPresent);
}

TEST(Keeper, LeaksNothingInFiftyRounds) {
  const auto page = make_page(2);
  const size_t before = test::open_descriptors();
  for (int i = 0; i < 50; ++i) {
    Agent agent;
    const auto keeper = start(page, 0, agent.workers);
    ASSERT_NE(keeper, nullptr);
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

}  // namespace
}  // namespace rondo::comm
