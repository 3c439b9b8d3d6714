/// The same drawn calls with threads as ranks, in real time, with late messages, calls that find nothing, stalls, and a
/// storm of signals. A round plays the story of its number.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "comm/group/endpoint_state.h"
#include "comm/group/group_state.h"
#include "comm/sim/faulty_transport.h"
#include "tests/comm/sim/story.h"
#include "tests/support/run_ranks.h"
#include "tests/support/soak.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kRoundsInCi = 20;

/// A story with noise that lasts microseconds, and no trouble but an abort.
Story draw_threads(uint64_t seed) {
  Story story = draw_story(seed);
  Draws draws(seed);
  story.ranks = draws.between(2, 4);
  story.trouble = draws.chance(20) ? Trouble::kAbort : Trouble::kNone;
  story.victim = draws.between(0, story.ranks - 1);
  for (Story::Split& split : story.splits) split.colors.resize(static_cast<size_t>(story.ranks));
  if (story.trouble == Trouble::kAbort) {  // a rank that cannot split any more would be missed elsewhere
    std::erase_if(story.lines, [](const Line& line) { return line.split > 0; });
    for (Line& line : story.lines) line.call.group = 0;
    story.splits.clear();
  }
  FaultPlan plan{.seed = seed, .delay_most = 300us, .storm_most = 5};
  plan.rate(FaultKind::kDelay) = draws.one_of<int>({0, 1000});
  plan.rate(FaultKind::kAgain) = draws.one_of<int>({0, 2000});
  plan.rate(FaultKind::kStall) = draws.one_of<int>({0, 100});
  story.faults = plan;
  return story;
}

/// One rank of a story, with calls that block.
void live(const Story& story, Endpoint& endpoint) {
  const Deadline deadline = in_seconds(50);
  const int rank = endpoint.at().rank;
  const auto expect_abort = [&](const Status& status) {
    const bool told = status.code() == Code::kAborted && status.where().peer == story.victim;
    EXPECT_TRUE(story.trouble == Trouble::kAbort && told) << status.text();
  };
  auto world = Group::create(endpoint, {.segment_bytes = story.segment_bytes}, deadline);
  RONDO_ASSERT_OK(world);
  std::vector<Group> groups{*world};
  groups.resize(story.splits.size() + 1);
  std::vector<std::unique_ptr<Called>> called;
  const auto lines = lines_of(story, rank);
  for (size_t at = 0; at < lines.size(); ++at) {
    const Line& line = lines[at];
    if (story.trouble == Trouble::kAbort && rank == story.victim && at == lines.size() / 2) world->abort("halfway");
    if (line.split > 0) {
      const int color = story.splits[static_cast<size_t>(line.split) - 1].colors[static_cast<size_t>(rank)];
      auto made = world->split(
          {.color = color,
           .key = -rank,
           .options = {.name = "split " + std::to_string(line.split), .segment_bytes = story.segment_bytes}},
          deadline);
      if (!made.ok()) return expect_abort(made.status());
      groups[static_cast<size_t>(line.split)] = *made;
      continue;
    }
    Group& group = groups[static_cast<size_t>(line.call.group)];
    if (group.joined()) called.push_back(issue(line.call, group, story.segment_bytes));
  }
  for (auto& each : called) {
    const Status status = each->work().wait(deadline);
    if (!status.ok()) {
      expect_abort(status);
    } else {
      EXPECT_EQ(each->wrong(), "");
    }
  }
  called.clear();
  for (size_t at = groups.size(); at-- > 0;) {
    if (groups[at].joined()) RONDO_ASSERT_OK(groups[at].close(deadline));
  }
}

class Threads : public testing::TestWithParam<TransportKind> {};
INSTANTIATE_TEST_SUITE_P(AsRanks, Threads,
                         testing::Values(TransportKind::kInproc, TransportKind::kTcp, TransportKind::kShm),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(Threads, EndInRightResultsWithLateMessagesAndStalls) {
  const test::SoakRounds rounds = test::soak_rounds(kRoundsInCi);
  uint64_t faults = 0;
  for (uint64_t seed = rounds.first; seed < rounds.first + rounds.count && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Story story = draw_threads(seed);
    const auto injector = std::make_shared<Injector>(story.faults);
    test::run_endpoints(
        story.ranks,
        [&](Endpoint& endpoint) {
          endpoint.state()->wrap_transports([&](std::unique_ptr<Transport> below, const GroupIdentity& group) {
            return make_faulty_transport(
                std::move(below),
                {.injector = injector, .group = group.id, .job_ranks = group.job_ranks, .rank = group.at.rank});
          });
          live(story, endpoint);
        },
        {.transport = GetParam()});
    faults += injector->strikes_so_far().size();
  }
  if (GetParam() != TransportKind::kShm) {
    EXPECT_GT(faults, 0u);
  }
}

/// Sends signals that interrupt system calls to every thread on its list, until it is gone.
class SignalStorm {
 public:
  SignalStorm() {
    struct sigaction action {};
    action.sa_handler = [](int) {};  // and no SA_RESTART: calls return EINTR
    sigaction(SIGUSR1, &action, &before_);
    thread_ = std::thread([this] {
      while (!stop_.load()) {
        {
          const std::lock_guard lock(mutex_);
          for (const pthread_t thread : targets_) sent_ += pthread_kill(thread, SIGUSR1) == 0 ? 1 : 0;
        }
        sched_yield();
      }
    });
  }
  ~SignalStorm() {
    stop_.store(true);
    thread_.join();
    sigaction(SIGUSR1, &before_, nullptr);
  }
  void join() {
    const std::lock_guard lock(mutex_);
    targets_.push_back(pthread_self());
  }
  void leave() {
    const std::lock_guard lock(mutex_);
    std::erase(targets_, pthread_self());
  }
  uint64_t sent() {
    const std::lock_guard lock(mutex_);
    return sent_;
  }

 private:
  struct sigaction before_ {};
  std::mutex mutex_;
  std::vector<pthread_t> targets_;
  uint64_t sent_ = 0;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST_P(Threads, AStormOfSignalsInterruptsNothing) {
  SignalStorm storm;
  constexpr uint64_t kSignals = 500;
  for (uint64_t seed = 1; storm.sent() < kSignals && seed <= 500 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Story story = draw_threads(seed);
    story.trouble = Trouble::kNone;
    test::run_endpoints(story.ranks,
                        [&](Endpoint& endpoint) {
                          storm.join();
                          live(story, endpoint);
                          storm.leave();
                        },
                        {.transport = GetParam()});
  }
  EXPECT_GE(storm.sent(), kSignals);
}

}  // namespace
}  // namespace rondo::comm
