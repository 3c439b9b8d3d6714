#include "launcher/control/line.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "launcher/base/thread.h"
#include "launcher/control/tunnel.h"

namespace rondo::launcher {
namespace {

constexpr std::chrono::milliseconds kBetweenTries{100};  // the coordinator may start later than its agents

/// What trying again cannot mend.
bool is_final(comm::Code code) {
  return code == comm::Code::kUnauthenticated || code == comm::Code::kCorrupt || code == comm::Code::kInvalidArgument ||
         code == comm::Code::kResource;
}

}  // namespace

class Line::Keeper {
 public:
  Keeper(Line& line, TlsContext context, Options options, Descriptor plain)
      : line_(line), context_(std::move(context)), options_(std::move(options)), plain_(std::move(plain)) {}

  void run() {
    line_.set(carry());
    plain_.reset();
    tunnel_.reset();
  }

 private:
  /// Why there is no line any more.
  comm::Status carry() {
    std::vector<std::string> troubles(options_.doors.size(), "not tried");
    for (size_t turn = 0;; ++turn) {
      const size_t door = turn % options_.doors.size();
      const comm::Address& address = options_.doors[door];
      const comm::Status tried = prove_at(address);
      if (tried.ok()) break;
      if (tried.code() == comm::Code::kClosed) return tried;
      if (is_final(tried.code())) {
        const char* hint = tried.code() == comm::Code::kCorrupt
                               ? "; is it the coordinator of a Rondo job that listens there, of this version?"
                               : "";
        return {tried.code(), "cannot join at " + address.text + ": " + tried.message() + hint};
      }
      troubles[door] = address.text + ": " + tried.message();
      if (options_.open_by.passed(comm::Clock::now())) return nobody(troubles);
      if (door + 1 == options_.doors.size() && !pause()) return cut();
    }
    line_.set({});
    for (;;) {
      const comm::TimePoint now = comm::Clock::now();
      const std::optional<comm::Deadline> closing = line_.closing();
      if (closing && closing->passed(now)) return cut();
      switch (tunnel_->advance(now)) {
        case comm::Progress::kDone:
          return {comm::Code::kClosed, "the connection ended in order"};
        case comm::Progress::kFailed:
          return tunnel_->status();
        case comm::Progress::kProgressed:
          continue;
        case comm::Progress::kBlocked:
          break;
      }
      wait(std::min(tunnel_->due().value_or(comm::TimePoint::max()), closing ? closing->at : comm::TimePoint::max()));
    }
  }

  comm::Status prove_at(const comm::Address& address) {
    auto session = TlsSession::make(context_);
    RONDO_TRY(session);
    auto stream = env_->dial(address);
    RONDO_TRY(stream);
    notice_silence(**stream);
    const comm::TimePoint start = comm::Clock::now();
    tunnel_.emplace(std::move(*session), std::move(*stream),
                    comm::Deadline{std::min(start + kTryFor, std::max(options_.open_by.at, start))});
    for (;;) {
      if (line_.closing()) return cut();
      const comm::Progress progress = tunnel_->advance(comm::Clock::now());
      if (progress == comm::Progress::kFailed) return tunnel_->status();
      if (tunnel_->proved()) {
        tunnel_->attach(std::move(plain_));
        return {};
      }
      if (progress == comm::Progress::kBlocked) wait(*tunnel_->due());
    }
  }

  /// False when the line is to close.
  bool pause() {
    tunnel_.reset();
    const comm::TimePoint until = std::min(comm::Clock::now() + kBetweenTries, options_.open_by.at);
    while (!line_.closing() && comm::Clock::now() < until) wait(until);
    return !line_.closing();
  }

  comm::Status nobody(const std::vector<std::string>& troubles) const {
    std::string text = "the coordinator did not answer in time";
    for (const std::string& trouble : troubles) text += "; " + trouble;
    return {comm::Code::kTimeout, text + ". Does it run there, and does a firewall let its port through?"};
  }

  static comm::Status cut() { return {comm::Code::kClosed, "the line was closed on this side"}; }

  void wait(comm::TimePoint until) {
    std::array<pollfd, 3> waited{{{line_.wake_.get(), POLLIN, 0}, {-1, 0, 0}, {-1, 0, 0}}};
    if (tunnel_) {
      const Tunnel::Interest wire = tunnel_->wire_interest(), plain = tunnel_->plain_interest();
      waited[1] = {wire.descriptor, wire.events, 0};
      waited[2] = {plain.descriptor, plain.events, 0};
    }
    int timeout_ms = -1;  // woken by descriptors or by close(), which has a deadline
    if (until != comm::TimePoint::max()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(comm::Deadline{until}.left(comm::Clock::now()));
      timeout_ms = static_cast<int>(std::min<int64_t>(left.count(), 3'600'000));
    }
    ::poll(waited.data(), waited.size(), timeout_ms);
    uint64_t count = 0;
    if ((waited[0].revents & POLLIN) != 0 && ::read(line_.wake_.get(), &count, sizeof count) < 0) return;
  }

  Line& line_;
  TlsContext context_;
  const Options options_;
  Descriptor plain_;
  const std::shared_ptr<comm::Env> env_ = comm::real_env();
  std::optional<Tunnel> tunnel_;
};

comm::Result<std::unique_ptr<Line>> Line::open(const Authority& authority, Options options) {
  if (options.doors.empty())
    return comm::Status(comm::Code::kInvalidArgument, "no address of the coordinator is known");
  auto context = TlsContext::make(authority, options.holder, Side::kCalls);
  RONDO_TRY(context);
  auto pair = make_socket_pair();
  RONDO_TRY(pair);
  RONDO_TRY(set_non_blocking(pair->theirs));
  std::unique_ptr<Line> line(new Line);
  line->wake_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!line->wake_.open()) return system_error("eventfd");
  line->end_ = std::move(pair->theirs);
  line->keeper_ = std::make_unique<Keeper>(*line, std::move(*context), std::move(options), std::move(pair->ours));
  auto thread = start_thread("rondo-line", [keeper = line->keeper_.get()] { keeper->run(); });
  RONDO_TRY(thread);
  line->thread_ = std::move(*thread);
  return line;
}

Line::~Line() { close({comm::Clock::now()}); }

void Line::set(comm::Status status) {
  {
    const std::lock_guard lock(mutex_);
    status_ = std::move(status);
  }
  changed_.notify_all();
}

comm::Status Line::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

comm::Status Line::wait_open(comm::Deadline deadline) const {
  std::unique_lock lock(mutex_);
  // On the system's clock, because gcc 12's thread sanitizer does not know waits on the other one.
  const auto until = std::chrono::system_clock::now() +
                     std::chrono::ceil<std::chrono::system_clock::duration>(deadline.left(comm::Clock::now()));
  changed_.wait_until(lock, until, [this] { return !status_.is_pending(); });
  return status_;
}

std::optional<comm::Deadline> Line::closing() const {
  const std::lock_guard lock(mutex_);
  return closing_;
}

void Line::close(comm::Deadline deadline) {
  {
    const std::lock_guard lock(mutex_);
    closing_ = deadline;
  }
  end_.reset();
  if (thread_.joinable()) {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);  // full means awake
    thread_.join();
  }
}

}  // namespace rondo::launcher
