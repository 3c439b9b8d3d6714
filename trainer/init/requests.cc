#include "rondo/requests.h"

#include <algorithm>
#include <atomic>

#include "rondo/comm/collectives.h"
#include "trainer/init/job_state.h"
#include "trainer/torch_bridge/errors.h"

namespace rondo {
namespace {

// What the handlers write; signals belong to the process.
std::atomic<int> stop_signal{0};
std::atomic<int64_t> checkpoints_asked{0};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);

void on_stop(int signal) { stop_signal.store(signal); }
void on_checkpoint(int /*signal*/) { checkpoints_asked.fetch_add(1); }

struct Heard {
  int signal;
  void (*handler)(int);
  int flags;
};
// The second INT or TERM has its default meaning again.
constexpr Heard kHeard[] = {{SIGINT, on_stop, static_cast<int>(SA_RESTART | SA_RESETHAND)},
                            {SIGTERM, on_stop, static_cast<int>(SA_RESTART | SA_RESETHAND)},
                            {SIGUSR1, on_checkpoint, SA_RESTART}};

}  // namespace

// Seen begins at 0, whatever an object before this one has counted: that differs from rank to rank. What it heard is
// told once more.
Requests::Requests(const Job& job) : job_(job), checkpoints_seen_(0) {
  for (const Heard& heard : kHeard) {
    struct sigaction now {};
    if (::sigaction(heard.signal, nullptr, &now) != 0 || (now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL)
      continue;
    struct sigaction ours {};
    ours.sa_handler = heard.handler;
    ours.sa_flags = heard.flags;
    sigemptyset(&ours.sa_mask);
    if (::sigaction(heard.signal, &ours, nullptr) == 0) before_.push_back({.signal = heard.signal, .action = now});
  }
}

Requests::~Requests() {
  for (const Before& before : before_) ::sigaction(before.signal, &before.action, nullptr);
}

// Ranks hear a signal at different moments, and one that is sent twice may come once. So they agree on the most that
// any of them has counted: one that hears later does not ask again.
Requests::Asked Requests::agree() {
  std::vector<int64_t> most{stop_signal.load(), std::max(checkpoints_asked.load(), checkpoints_seen_)};
  trainer::throw_if_error(
      comm::all_reduce(job_.state()->user_group(), comm::view(most), comm::ReduceOp::kMax, {.tag = "requests"}).wait());
  Asked asked;
  asked.signal = static_cast<int>(most[0]);
  asked.stop = asked.signal != 0;
  asked.checkpoint = asked.stop || most[1] > checkpoints_seen_;
  checkpoints_seen_ = most[1];
  return asked;
}

}  // namespace rondo
