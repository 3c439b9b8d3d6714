#include "rondo/spawn.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string_view>
#include <vector>

#include "rondo/comm/bootstrap.h"
#include "rondo/error.h"
#include "rondo/requests.h"

namespace rondo {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kOwnErrorsFor{5};
constexpr int kMostRanks = 4096;
/// Holds the parent's process id; of a rank that spawn() started.
constexpr const char* kParentVariable = "RONDO_SPAWNED_BY";

[[noreturn]] void fail(const std::string& what, int error) {
  throw Error("spawn: " + what + ": " + std::strerror(error), ExitCode::kPreflight);
}

bool is_set(const char* name) { return std::getenv(name) != nullptr && *std::getenv(name) != '\0'; }

/// The death signal follows the thread that started this process, and exec keeps it.
void die_with(pid_t parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && ::getppid() == parent) return;
  ::_exit(128 + SIGKILL);  // the parent died before that line
}

/// Whether somebody else started this process as a rank. A launcher of one task started a program, not ranks.
bool is_a_rank() {
  if (is_set("WORLD_SIZE") || is_set("RONDO_STORE")) return true;
  const auto bootstrap = comm::read_bootstrap({}, comm::process_environment());
  return !bootstrap.ok() || bootstrap->at.world_size > 1;  // init() says what is wrong with the variables
}

int processors() {
  cpu_set_t cpus;
  return ::sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
}

/// What ranks hear by rondo::Requests, read by the parent instead of ending it: else they would die with it.
class HeldSignals {
 public:
  HeldSignals() {
    sigset_t held;
    sigemptyset(&held);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&held, signal);
    descriptor_ = ::signalfd(-1, &held, SFD_NONBLOCK | SFD_CLOEXEC);
    if (descriptor_ < 0) fail("cannot wait for signals", errno);
    ::pthread_sigmask(SIG_BLOCK, &held, &before_);
  }
  ~HeldSignals() {
    while (next()) {
    }  // meant for ranks that have ended
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    ::close(descriptor_);
  }
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  int descriptor() const { return descriptor_; }
  const sigset_t& mask_before() const { return before_; }
  std::optional<signalfd_siginfo> next() const {
    signalfd_siginfo signal{};
    if (::read(descriptor_, &signal, sizeof signal) != sizeof signal) return std::nullopt;
    return signal;
  }

 private:
  int descriptor_ = -1;
  sigset_t before_{};
};

/// A place that no other job of this machine meets at. Loopback has 2^24 addresses, and ranks on one host only make a
/// name of address and port.
struct Place {
  std::string address, port;
};
Place private_place() {
  std::array<uint8_t, 5> random{};
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
    fail("no random bytes", errno);
  const auto octet = [&](size_t i) { return std::to_string(1 + random[i] % 254); };
  return {.address = "127." + octet(0) + "." + octet(1) + "." + octet(2),
          .port = std::to_string(20'000 + (random[3] * 256 + random[4]) % 40'000)};
}

std::vector<std::string> environment_of(int rank, const SpawnOptions& options, const Place& place) {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    variables.emplace(text.substr(0, text.find('=')), text.substr(std::min(text.find('='), text.size() - 1) + 1));
  }
  const std::string number = std::to_string(rank), count = std::to_string(options.ranks);
  for (const char* name : {"RANK", "LOCAL_RANK", "ROLE_RANK"}) variables[name] = number;
  for (const char* name : {"WORLD_SIZE", "LOCAL_WORLD_SIZE", "ROLE_WORLD_SIZE"}) variables[name] = count;
  variables["GROUP_RANK"] = "0";
  variables["GROUP_WORLD_SIZE"] = "1";
  variables["MASTER_ADDR"] = place.address;
  variables["MASTER_PORT"] = place.port;
  variables[kParentVariable] = std::to_string(::getpid());
  const int threads = options.threads > 0 ? options.threads : std::max(1, processors() / options.ranks);
  variables.emplace("OMP_NUM_THREADS", std::to_string(threads));
  std::vector<std::string> entries;
  for (const auto& [name, value] : variables) entries.push_back(name + "=" + value);
  return entries;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

/// A name that people know in lists of processes; the link itself when the file is no longer there.
std::string own_program() {
  std::array<char, 4096> path{};
  const ssize_t count = ::readlink("/proc/self/exe", path.data(), path.size());
  const std::string program(path.data(), static_cast<size_t>(std::max<ssize_t>(count, 0)));
  return !program.empty() && ::access(program.c_str(), X_OK) == 0 ? program : "/proc/self/exe";
}

struct Rank {
  pid_t pid = -1;
  int pidfd = -1;  // readable when it has ended
  bool killed = false;
};

/// Kills and reaps what still runs.
class Ranks {
 public:
  explicit Ranks(const HeldSignals& signals) : signals_(signals) {}
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;
  ~Ranks() {
    kill_all();
    for (Rank& rank : all_) {
      if (rank.pid > 0) ::waitpid(rank.pid, nullptr, 0);
      if (rank.pidfd >= 0) ::close(rank.pidfd);
    }
  }

  void start(const std::string& program, std::vector<std::string> words, std::vector<std::string> entries) {
    Rank rank;
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    ::posix_spawnattr_setsigmask(&attributes, &signals_.mask_before());
    const int error = ::posix_spawn(&rank.pid, program.c_str(), nullptr, &attributes, pointers(words).data(),
                                    pointers(entries).data());
    ::posix_spawnattr_destroy(&attributes);
    const std::string name = "rank " + std::to_string(all_.size());
    if (error != 0) fail("cannot start " + name + " as " + program, error);
    all_.push_back(rank);
    all_.back().pidfd = static_cast<int>(::syscall(SYS_pidfd_open, rank.pid, 0));
    if (all_.back().pidfd < 0) fail("cannot watch " + name, errno);
  }

  SpawnOutcome wait() {
    SpawnOutcome outcome;
    std::string preempted;
    steady_clock::time_point kill_at{};
    while (running() > 0) {
      for (const size_t rank : ended_before(kill_at)) {
        const Ending ending = reap(all_[rank], rank);
        // Rank 0 may still be writing the checkpoint.
        if (ending.code == static_cast<int>(kPreempted) && preempted.empty()) preempted = ending.text;
        if (ending.code == 0 || ending.code == static_cast<int>(kPreempted) || outcome.exit_code != 0) continue;
        outcome = {.exit_code = ending.code, .failed_rank = static_cast<int>(rank), .text = ending.text};
        kill_at = steady_clock::now() + kOwnErrorsFor;
      }
      pass_signals_on(outcome);
      if (outcome.failed_rank >= 0 && steady_clock::now() >= kill_at) kill_all();
    }
    if (outcome.exit_code == 0 && !preempted.empty()) {
      outcome.exit_code = static_cast<int>(kPreempted);
      outcome.text = preempted;
    }
    return outcome;
  }

 private:
  struct Ending {
    int code = 0;  // 128 + signal where one ended it
    std::string text;
  };

  size_t running() const {
    return static_cast<size_t>(std::ranges::count_if(all_, [](const Rank& rank) { return rank.pid > 0; }));
  }

  void kill_all() {
    for (Rank& rank : all_) {
      if (rank.pid <= 0) continue;
      rank.killed = true;
      ::kill(rank.pid, SIGKILL);
    }
  }

  /// What the terminal sends it sends to the ranks, too: they are in the parent's process group.
  void pass_signals_on(SpawnOutcome& outcome) {
    while (const auto signal = signals_.next()) {
      const auto number = static_cast<int>(signal->ssi_signo);
      if (number != SIGUSR1 && ++stops_ > 1) {
        if (outcome.exit_code == 0) {
          outcome.exit_code = 128 + number;
          outcome.text = "the ranks were killed: signal " + std::to_string(number) + " was the second that stops them";
        }
        kill_all();
        continue;
      }
      if (signal->ssi_code == SI_KERNEL) continue;
      for (const Rank& rank : all_) {
        if (rank.pid > 0) ::kill(rank.pid, number);
      }
    }
  }

  /// Sleeps until a rank has ended, a signal came, or `kill_at` if that is set.
  std::vector<size_t> ended_before(steady_clock::time_point kill_at) const {
    std::vector<pollfd> handles;
    std::vector<size_t> ranks, ended;  // `ranks` belong to the first handles
    for (size_t i = 0; i < all_.size(); ++i) {
      if (all_[i].pid <= 0) continue;
      handles.push_back({.fd = all_[i].pidfd, .events = POLLIN, .revents = 0});
      ranks.push_back(i);
    }
    handles.push_back({.fd = signals_.descriptor(), .events = POLLIN, .revents = 0});
    int patience = -1;  // a training takes as long as it takes
    if (kill_at != steady_clock::time_point{}) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(kill_at - steady_clock::now()).count();
      patience = static_cast<int>(std::max<int64_t>(left, 0));
    }
    if (::poll(handles.data(), handles.size(), patience) <= 0) return {};
    for (size_t i = 0; i < ranks.size(); ++i) {
      if (handles[i].revents != 0) ended.push_back(ranks[i]);
    }
    return ended;
  }

  static Ending reap(Rank& rank, size_t number) {
    int status = 0;
    ::waitpid(rank.pid, &status, 0);
    rank.pid = -1;
    const bool by_signal = WIFSIGNALED(status);
    const int code = by_signal ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return {.code = code,
            .text = "rank " + std::to_string(number) +
                    (by_signal ? " was killed by signal " + std::to_string(WTERMSIG(status))
                               : " ended with exit code " + std::to_string(code))};
  }

  const HeldSignals& signals_;
  int stops_ = 0;  // INT or TERM so far
  std::vector<Rank> all_;
};

}  // namespace

std::optional<SpawnOutcome> spawn(int argc, char** argv, const SpawnOptions& options) {
  if (is_set(kParentVariable)) {
    die_with(static_cast<pid_t>(std::strtol(std::getenv(kParentVariable), nullptr, 10)));
    return std::nullopt;
  }
  if (is_a_rank()) return std::nullopt;
  if (options.ranks < 1 || options.ranks > kMostRanks || options.threads < 0) {
    throw Error("spawn: " + std::to_string(options.ranks) + " ranks of " + std::to_string(options.threads) +
                    " threads; expected 1 to " + std::to_string(kMostRanks) + " ranks and no negative threads",
                ExitCode::kUsage);
  }
  const Place place = private_place();
  const std::string program = own_program();
  const HeldSignals signals;
  Ranks ranks(signals);
  for (int rank = 0; rank < options.ranks; ++rank) {
    ranks.start(program, {argv, argv + argc}, environment_of(rank, options, place));
  }
  return ranks.wait();
}

}  // namespace rondo
