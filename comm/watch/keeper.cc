#include "comm/watch/keeper.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <numeric>
#include <string>
#include <utility>

#include "comm/base/thread.h"
#include "comm/watch/control_channel.h"

namespace rondo::comm {
namespace {

constexpr Duration kAgentBeat = std::chrono::milliseconds(100);
// How long a death waits for the agent's word on how it came. Of a large process the agent learns much later.
constexpr Duration kVerdictPatience = std::chrono::milliseconds(5);

uint64_t nanoseconds(TimePoint at) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count());
}

/// "killed by signal 9 (SIGKILL)", "exited with code 3".
std::string ending(const ControlFrame& verdict) {
  if (verdict.signal_number == 0) return "exited with code " + std::to_string(verdict.exit_code);
  const char* short_name = ::sigabbrev_np(verdict.signal_number);
  return "killed by signal " + std::to_string(verdict.signal_number) +
         (short_name != nullptr ? " (SIG" + std::string(short_name) + ")" : "");
}

}  // namespace

std::string person(int rank, int pid) {
  std::string text = "rank " + std::to_string(rank);
  if (pid > 0) text += " (pid " + std::to_string(pid) + ")";
  return text;
}

/// Between the thread and whoever asks it.
struct Keeper::Shared {
  explicit Shared(int ranks) : silence(static_cast<size_t>(ranks)) {}
  std::atomic<bool> stop{false};
  std::vector<std::atomic<Duration::rep>> silence;  // by rank of the job
};

/// What the thread does.
class Keeper::Watch {
 public:
  Watch(std::shared_ptr<JobPage> page, KeeperOptions options, std::shared_ptr<Shared> shared)
      : page_(std::move(page)),
        options_(std::move(options)),
        shared_(std::move(shared)),
        beats_(shared_->silence.size()),
        control_(std::exchange(options_.control_descriptor, -1)) {
    auto& local = options_.local_ranks;
    if (local.empty()) {
      local.resize(static_cast<size_t>(options_.world_size));
      std::iota(local.begin(), local.end(), 0);
    }
    std::sort(local.begin(), local.end());
    reported_.resize(local.size(), false);
  }

  Status enter() { return page_->enter(options_.rank, ::getpid()); }

  void run() {
    while (!shared_->stop.load(std::memory_order_acquire)) {
      const TimePoint now = Clock::now();
      beat(now);
      look_for_silence(now);
      listen();
      report_deaths();
      if (options_.on_beat) options_.on_beat(now);
      tell_sleepers();
      watch_successor(now + kBeatPeriod);
    }
    if (options_.on_leave) options_.on_leave();
    page_->leave(options_.rank);
  }

 private:
  void beat(TimePoint now) {
    page_->beat(options_.rank, nanoseconds(now));
    if (options_.flight) options_.flight->beat(now);
    if (now < next_agent_beat_) return;
    next_agent_beat_ = now + kAgentBeat;
    send(ControlKind::kBeat, options_.rank, ::getpid());
  }

  void send(ControlKind kind, int rank, int pid) {
    control_.send({.kind = kind,
                   .generation = options_.generation,
                   .rank = rank,
                   .pid = pid,
                   .time_ns = nanoseconds(Clock::now())});
  }

  void look_for_silence(TimePoint now) {
    const Duration watched = now - last_look_;
    const bool late = watched > 2 * kBeatPeriod;  // held up for more than a beat: the others may have been, too
    last_look_ = now;
    for (const int rank : options_.local_ranks) {
      const auto at = static_cast<size_t>(rank);
      auto& silence = shared_->silence[at];
      const uint64_t beat = page_->last_beat_ns(rank);
      if (beat != beats_[at] || page_->membership(rank) != Membership::kPresent) {
        silence.store(0, std::memory_order_relaxed);
      } else if (!late) {
        silence.fetch_add(watched.count(), std::memory_order_relaxed);
      }
      beats_[at] = beat;
    }
  }

  /// The nearest rank after this one that is present. One that is not there yet cannot die; one that left or died needs
  /// no watching.
  int successor() const {
    const auto& local = options_.local_ranks;
    const auto mine = std::upper_bound(local.begin(), local.end(), options_.rank);
    const auto present = [&](int rank) {
      return rank != options_.rank && page_->membership(rank) == Membership::kPresent;
    };
    if (const auto after_me = std::find_if(mine, local.end(), present); after_me != local.end()) return *after_me;
    const auto before_me = std::find_if(local.begin(), mine, present);
    return before_me != mine ? *before_me : -1;
  }

  /// One beat: waits on the successor, or on the agent where there is nobody to watch.
  void watch_successor(TimePoint until) {
    if (const int rank = successor(); rank >= 0) {
      const Membership seen = page_->watch(rank, until - Clock::now());
      if (seen != Membership::kPresent) return;
    }
    wait_for_agent(until);
  }

  void wait_for_agent(TimePoint until) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return;
    pollfd wanted{.fd = control_.descriptor(), .events = POLLIN, .revents = 0};
    ::poll(&wanted, 1, static_cast<int>(left));  // a negative descriptor only sleeps
  }

  void listen() {
    while (control_.open()) {
      const auto frame = control_.receive();
      if (!frame.ok()) {
        post(frame.status().code() == Code::kClosed ? Code::kPeerLost : frame.status().code(), -1,
             frame.status().message());
        return;
      }
      if (!frame->has_value()) return;
      obey(**frame);
    }
  }

  void obey(const ControlFrame& frame) {
    if (frame.generation != options_.generation) return;
    if (frame.kind == ControlKind::kAbort) {
      post(Code::kAborted, frame.rank,
           (frame.rank >= 0 ? person(frame.rank, frame.pid) : "the agent of this host") + " asked the job to stop");
    } else if (frame.kind == ControlKind::kVerdict && (frame.exit_code != 0 || frame.signal_number != 0)) {
      post(Code::kPeerLost, frame.rank, person(frame.rank, frame.pid) + " " + ending(frame) + ": the agent reaped it");
    }
  }

  /// A death was marked on the page by the first to see it, who may itself be gone by now: so every keeper reports.
  void report_deaths() {
    for (size_t i = 0; i < reported_.size(); ++i) {
      const int rank = options_.local_ranks[i];
      if (reported_[i] || page_->membership(rank) != Membership::kDead) continue;
      reported_[i] = true;
      send(ControlKind::kSuspicion, rank, page_->pid(rank));
      // The agent knows how it died, and says so within moments.
      if (control_.open() && !page_->abort_of(kWholeJob)) {
        wait_for_agent(Clock::now() + kVerdictPatience);
        listen();
      }
      std::string text = person(rank, page_->pid(rank)) + " died: the kernel released its robust mutex";
      if (const std::string others = others_dead(rank); !others.empty()) text += "; so did " + others;
      post(Code::kPeerLost, rank, text);
    }
  }

  /// Who died together with `rank`, as far as it shows already: two causes at once are both named.
  std::string others_dead(int rank) const {
    std::string text;
    for (const int other : options_.local_ranks) {
      if (other == rank || other == options_.rank) continue;
      if (page_->watch(other, Duration::zero()) != Membership::kDead) continue;
      text += (text.empty() ? "" : ", ") + person(other, page_->pid(other));
    }
    return text;
  }

  void post(Code code, int culprit, const std::string& text) {
    const bool fresh = page_->post_abort({.group = kWholeJob,
                                          .generation = options_.generation,
                                          .code = code,
                                          .culprit = culprit,
                                          .reporter = options_.rank,
                                          .text = text});
    if (fresh && options_.log) options_.log(LogLevel::kWarning, text + "; every wait of this job ends");
  }

  void tell_sleepers() {
    const uint64_t version = page_->abort_version();
    if (version == told_) return;
    told_ = version;
    if (options_.flight) record_alarm();
    if (options_.on_abort) options_.on_abort();
  }

  void record_alarm() {
    const TimePoint now = Clock::now();
    options_.flight->alarmed(now);
    if (const auto why = page_->abort_of(kWholeJob))
      options_.flight->ended({.code = why->code,
                              .culprit = why->culprit,
                              .reporter = why->reporter,
                              .at_ns = nanoseconds(now),
                              .text = why->text});
  }

  const std::shared_ptr<JobPage> page_;
  KeeperOptions options_;
  const std::shared_ptr<Shared> shared_;
  std::vector<uint64_t> beats_;  // by rank of the job: the last that was seen
  TimePoint last_look_ = Clock::now();
  ControlChannel control_;
  std::vector<bool> reported_;  // per local rank: its death was
  TimePoint next_agent_beat_{};
  uint64_t told_ = 0;
};

Result<std::unique_ptr<Keeper>> Keeper::start(std::shared_ptr<JobPage> page, KeeperOptions options) {
  auto shared = std::make_shared<Shared>(page->rank_count());
  auto watch = std::make_shared<Watch>(std::move(page), std::move(options), shared);
  auto entered = std::make_shared<std::promise<Status>>();
  auto outcome = entered->get_future();
  auto thread = start_thread("rondo-keeper", [watch = std::move(watch), entered] {
    const Status status = watch->enter();  // the mutex belongs to this thread
    entered->set_value(status);
    if (status.ok()) watch->run();
  });
  RONDO_TRY(thread);
  std::unique_ptr<Keeper> keeper(new Keeper(std::move(shared)));
  keeper->thread_ = *std::move(thread);
  RONDO_TRY(outcome.get());  // JobPage::enter has its own deadline
  return keeper;
}

Duration Keeper::silence(int rank) const {
  const bool known = rank >= 0 && static_cast<size_t>(rank) < shared_->silence.size();
  return Duration(known ? shared_->silence[static_cast<size_t>(rank)].load(std::memory_order_relaxed) : 0);
}

Keeper::~Keeper() {
  shared_->stop.store(true, std::memory_order_release);
  if (thread_.joinable()) thread_.join();
}

Status Keeper::close(Deadline) {
  shared_->stop.store(true, std::memory_order_release);
  if (thread_.joinable()) thread_.join();
  return {};
}

}  // namespace rondo::comm
