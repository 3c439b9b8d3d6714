#include "launcher/control/door.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "launcher/base/thread.h"
#include "launcher/control/door_policy.h"
#include "launcher/control/local_socket.h"
#include "launcher/control/tunnel.h"

namespace rondo::launcher {
namespace {

constexpr std::chrono::hours kFreshCertificate{6};             // its life is a day
constexpr std::chrono::milliseconds kShortOfDescriptors{200};  // then accept is tried again

struct Connection {
  Tunnel tunnel;
  std::string address;
};

}  // namespace

/// What the door's thread owns.
class Door::Keeper {
 public:
  Keeper(Door& door, Options options) : door_(door), options_(std::move(options)) {}

  comm::Status listen() {
    for (const comm::Address& address : options_.addresses) {
      const bool local = is_local(address);
      if (!local && !options_.authority) {
        return {comm::Code::kInvalidArgument,
                "nobody could prove himself at " + address.text + ": a TCP address needs the job's secret"};
      }
      auto listener = env_->listen(address);
      RONDO_TRY(listener);
      door_.addresses_.push_back((*listener)->address());
      listeners_.push_back({std::move(*listener), local});
    }
    return options_.authority ? refresh_context() : comm::Status();
  }

  void run() {
    for (;;) {
      const comm::TimePoint now = comm::Clock::now();
      const std::optional<comm::Deadline> closing = door_.closing();
      if (closing) {
        listeners_.clear();
        unproved_.clear();
        if (tunnels_.empty() || closing->passed(now)) return;
      }
      for (Listening& at : listeners_) welcome(at, now);
      const bool more_to_prove = advance_unproved(now);
      const bool more_to_carry = advance_tunnels(now);
      wait(more_to_prove || more_to_carry ? now : next_due(closing), now);
    }
  }

 private:
  struct Listening {
    std::unique_ptr<comm::Listener> listener;
    bool local;
    bool ready = false;             // by poll()
    comm::TimePoint muted_until{};  // it cannot accept: the process has no descriptor left
  };

  comm::Status refresh_context() {
    auto context = TlsContext::make(*options_.authority, options_.holder, Side::kAnswers);
    RONDO_TRY(context);
    context_.emplace(std::move(*context));
    context_made_ = comm::Clock::now();
    return {};
  }

  void refuse(const std::string& address, const comm::Status& why) {
    const uint64_t number = door_.refused_ + 1;  // counted below, so that who sees the count finds it told
    if (options_.on_refused && worth_telling(number)) {
      const std::string count = number <= 10 ? "" : " (refusal number " + std::to_string(number) + ")";
      options_.on_refused({why.code(),
                           "refused a connection from " + address + ": " + why.message() + count,
                           {.operation = "control plane"}});
    }
    door_.refused_ = number;
  }

  void welcome(Listening& at, comm::TimePoint now) {
    for (size_t taken = 0; taken < kMostUnproved; ++taken) {
      std::unique_ptr<comm::Stream> stream = at.listener->accept();
      if (!stream) {
        if (taken == 0 && at.ready) at.muted_until = now + kShortOfDescriptors;
        return;
      }
      if (at.local) {
        let_in_local(*stream);
      } else {
        take_unproved(std::move(stream), now);
      }
    }
  }

  void let_in_local(const comm::Stream& stream) {
    if (comm::Status proof = may_enter(stream); !proof.ok()) return refuse("this host", proof);
    auto end = own_descriptor(stream);
    if (!end.ok()) return refuse("this host", end.status());
    admit({std::move(*end), "user " + std::to_string(stream.peer_uid()) + " of this host", "this host"});
  }

  void take_unproved(std::unique_ptr<comm::Stream> stream, comm::TimePoint now) {
    const std::string address = peer_address(*stream);
    if (tunnels_.size() >= kMostGuests) {
      return refuse(address, {comm::Code::kResource, "there are " + std::to_string(kMostGuests) + " guests already"});
    }
    if (now - context_made_ > kFreshCertificate) {
      if (const comm::Status made = refresh_context(); !made.ok()) return refuse(address, made);
    }
    auto session = TlsSession::make(*context_);
    if (!session.ok()) return refuse(address, session.status());
    if (unproved_.size() >= kMostUnproved) make_room();
    notice_silence(*stream);
    unproved_.push_back({Tunnel(std::move(*session), std::move(stream), {now + kProveWithin}), address});
  }

  void make_room() {
    std::vector<std::string> addresses;
    for (const Connection& connection : unproved_) addresses.push_back(connection.address);
    const auto chosen = unproved_.begin() + static_cast<std::ptrdiff_t>(who_makes_room(addresses));
    refuse(chosen->address, {comm::Code::kResource, "too many connections at once that have not proved themselves"});
    unproved_.erase(chosen);
  }

  /// True: there is more to do at once.
  bool advance_unproved(comm::TimePoint now) {
    bool hurry = false;
    for (auto at = unproved_.begin(); at != unproved_.end();) {
      const comm::Progress progress = at->tunnel.advance(now);
      hurry = hurry || progress == comm::Progress::kProgressed;
      if (progress == comm::Progress::kFailed) {
        refuse(at->address, at->tunnel.status());
      } else if (at->tunnel.proved()) {
        open_tunnel(std::move(*at));
        hurry = true;
      } else {
        ++at;
        continue;
      }
      at = unproved_.erase(at);
    }
    return hurry;
  }

  void open_tunnel(Connection connection) {
    auto pair = make_socket_pair();
    comm::Status good = pair.ok() ? set_non_blocking(pair->theirs) : pair.status();
    if (!good.ok()) return refuse(connection.address, good);
    connection.tunnel.attach(std::move(pair->ours));
    Guest guest{std::move(pair->theirs), connection.tunnel.peer(), connection.address};
    tunnels_.push_back(std::move(connection));
    admit(std::move(guest));
  }

  void admit(Guest guest) {
    ++door_.guests_;
    options_.on_guest(std::move(guest));
  }

  bool advance_tunnels(comm::TimePoint now) {
    bool hurry = false;
    std::erase_if(tunnels_, [&](Connection& connection) {
      const comm::Progress progress = connection.tunnel.advance(now);
      hurry = hurry || progress == comm::Progress::kProgressed;
      return progress == comm::Progress::kDone || progress == comm::Progress::kFailed;
    });
    return hurry;
  }

  comm::TimePoint next_due(const std::optional<comm::Deadline>& closing) const {
    comm::TimePoint due = closing ? closing->at : comm::TimePoint::max();
    for (const Listening& at : listeners_) {
      if (at.muted_until != comm::TimePoint{}) due = std::min(due, at.muted_until);
    }
    for (const auto* list : {&unproved_, &tunnels_}) {
      for (const Connection& connection : *list) due = std::min(due, connection.tunnel.due().value_or(due));
    }
    return due;
  }

  void wait(comm::TimePoint until, comm::TimePoint now) {
    std::vector<pollfd> waited{{door_.wake_.get(), POLLIN, 0}};
    for (Listening& at : listeners_) {
      if (at.muted_until <= now) at.muted_until = {};
      waited.push_back({at.muted_until == comm::TimePoint{} ? at.listener->handle() : -1, POLLIN, 0});
    }
    for (const auto* list : {&unproved_, &tunnels_}) {
      for (const Connection& connection : *list) {
        for (const Tunnel::Interest interest : {connection.tunnel.wire_interest(), connection.tunnel.plain_interest()})
          if (interest.descriptor >= 0) waited.push_back({interest.descriptor, interest.events, 0});
      }
    }
    int timeout_ms = -1;  // woken by descriptors or by close(), which has a deadline
    if (until != comm::TimePoint::max()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(comm::Deadline{until}.left(now));
      timeout_ms = static_cast<int>(std::min<int64_t>(left.count(), 3'600'000));
    }
    ::poll(waited.data(), waited.size(), timeout_ms);
    for (size_t at = 0; at < listeners_.size(); ++at) listeners_[at].ready = (waited[at + 1].revents & POLLIN) != 0;
    uint64_t count = 0;
    if ((waited[0].revents & POLLIN) != 0 && ::read(door_.wake_.get(), &count, sizeof count) < 0) return;
  }

  Door& door_;
  Options options_;
  const std::shared_ptr<comm::Env> env_ = comm::real_env();
  std::optional<TlsContext> context_;
  comm::TimePoint context_made_{};
  std::vector<Listening> listeners_;
  std::vector<Connection> unproved_;  // the oldest first
  std::vector<Connection> tunnels_;
};

comm::Result<std::unique_ptr<Door>> Door::open(Options options) {
  std::unique_ptr<Door> door(new Door);
  door->wake_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!door->wake_.open()) return system_error("eventfd");
  door->keeper_ = std::make_unique<Keeper>(*door, std::move(options));
  RONDO_TRY(door->keeper_->listen());
  auto thread = start_thread("rondo-door", [keeper = door->keeper_.get()] { keeper->run(); });
  RONDO_TRY(thread);
  door->thread_ = std::move(*thread);
  return door;
}

Door::~Door() { close({comm::Clock::now()}); }

std::optional<comm::Deadline> Door::closing() const {
  const comm::MutexLock lock(mutex_);
  return closing_;
}

void Door::close(comm::Deadline deadline) {
  {
    const comm::MutexLock lock(mutex_);
    closing_ = deadline;
  }
  const uint64_t one = 1;
  if (thread_.joinable()) {
    [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);  // full means awake
    thread_.join();
  }
  keeper_.reset();
}

}  // namespace rondo::launcher
