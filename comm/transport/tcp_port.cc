#include <algorithm>
#include <list>
#include <map>
#include <string>
#include <utility>

#include "comm/transport/handshake.h"
#include "comm/transport/route.h"
#include "comm/transport/tcp.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::comm {
namespace {

constexpr size_t kMostInHandshake = 64;
constexpr size_t kMostParked = 4096;

class Port final : public TcpPort {
 public:
  Port(std::shared_ptr<Env> env, std::vector<std::unique_ptr<Listener>> listeners, TcpPortOptions options)
      : TcpPort(std::move(options)), env_(std::move(env)), listeners_(std::move(listeners)) {
    for (const auto& listener : listeners_) addresses_.push_back(listener->address());
  }

  std::vector<Address> addresses() const override { return addresses_; }

  Progress pump(TimePoint now) override {
    const MutexLock lock(mutex_);
    bool moved = accept_callers();
    for (auto at = in_handshake_.begin(); at != in_handshake_.end();) {
      const Progress progress = at->advance(now);
      moved |= progress != Progress::kBlocked;
      if (progress == Progress::kDone) park(*at);
      // One that says nothing and goes only wanted to know whether somebody is here.
      const bool knocked = at->status().code() == Code::kPeerLost && at->peer().from_rank < 0;
      if (progress == Progress::kFailed && !knocked) refused(at->status());
      const bool ended = progress == Progress::kDone || progress == Progress::kFailed;
      at = ended ? in_handshake_.erase(at) : std::next(at);
    }
    return moved ? Progress::kProgressed : Progress::kBlocked;
  }

  std::unique_ptr<Stream> claim(uint64_t group, int from_rank) override {
    const MutexLock lock(mutex_);
    const auto at = parked_.find({group, from_rank});
    if (at == parked_.end()) return nullptr;
    auto stream = std::move(at->second);
    parked_.erase(at);
    return stream;
  }

  std::vector<WaitHandle> wait_handles() const override {
    const MutexLock lock(mutex_);
    std::vector<WaitHandle> handles;
    if (in_handshake_.size() < kMostInHandshake) {
      for (const auto& listener : listeners_) handles.push_back({listener->handle()});
    }
    for (const Handshake& handshake : in_handshake_) handles.push_back(handshake.wait_handle());
    std::erase_if(handles, [](const WaitHandle& handle) { return handle.handle < 0; });
    return handles;
  }

 private:
  using Key = std::pair<uint64_t, int>;  // group, rank in the job

  bool accept_callers() RONDO_REQUIRES(mutex_) {
    bool moved = false;
    for (size_t i = 0; i < listeners_.size() && in_handshake_.size() < kMostInHandshake;) {
      std::unique_ptr<Stream> stream = listeners_[i]->accept();
      if (!stream) {
        ++i;
        continue;
      }
      HandshakeOptions how;
      how.side = HandshakeOptions::Side::kAcceptor;
      how.mine.role = Role::kData;
      how.mine.generation = options().generation;
      how.mine.from_rank = options().rank;
      how.mine.job = options().job;
      how.secret = options().secret;
      how.accept = [](const Hello& hello) {
        if (hello.from_rank >= 0 && hello.to_rank >= 0) return Status();
        return Status(Code::kMismatch, "a data link must name the ranks at both ends");
      };
      in_handshake_.emplace_back(*env_, std::move(stream), std::move(how));
      moved = true;
    }
    return moved;
  }

  void park(Handshake& handshake) RONDO_REQUIRES(mutex_) {
    const Key key{handshake.peer().group, handshake.peer().from_rank};
    if (parked_.size() >= kMostParked && parked_.count(key) == 0) {
      refused({Code::kResource, "more than " + std::to_string(kMostParked) + " links wait for their groups"});
      return;
    }
    parked_[key] = handshake.take_stream();  // a later dial of the same rank replaces one that it gave up
  }

  void refused(const Status& status) RONDO_REQUIRES(mutex_) {
    if (options().log)
      options().log(LogLevel::kWarning, "refused a connection at " + text_of(addresses_) + ": " + status.text());
  }

  // Constant after construction.
  const std::shared_ptr<Env> env_;
  const std::vector<std::unique_ptr<Listener>> listeners_;  // used under mutex_
  std::vector<Address> addresses_;

  mutable Mutex mutex_;
  std::list<Handshake> in_handshake_ RONDO_GUARDED_BY(mutex_);
  std::map<Key, std::unique_ptr<Stream>> parked_ RONDO_GUARDED_BY(mutex_);
};

}  // namespace

Result<std::shared_ptr<TcpPort>> TcpPort::open(std::shared_ptr<Env> env, TcpPortOptions options) {
  if (options.secret.empty()) {
    return Status(Code::kUnauthenticated,
                  "no data links without a secret: start every rank with `rondo run`, or give all of them the same "
                  "--secret-file (RONDO_SECRET_FILE)",
                  {.rank = options.rank});
  }
  std::vector<std::unique_ptr<Listener>> listeners;
  for (const Address& place : options.listen) {
    Result<std::unique_ptr<Listener>> listener = env->listen(place);
    if (!listener.ok()) return listener.status().at({.rank = options.rank, .operation = "opening the data port"});
    listeners.push_back(*std::move(listener));
  }
  return std::shared_ptr<TcpPort>(std::make_shared<Port>(std::move(env), std::move(listeners), std::move(options)));
}

}  // namespace rondo::comm
