#include "comm/store/client.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "comm/store/frame_reader.h"
#include "comm/store/messages.h"
#include "comm/transport/framed_stream.h"
#include "rondo/comm/thread_annotations.h"

namespace rondo::comm {
namespace {

constexpr Duration kTryAgain = std::chrono::milliseconds(10);
constexpr Duration kNap = std::chrono::milliseconds(10);
constexpr size_t kBytesPerTurn = 1 << 20;

/// "the store of rank 0 at unix:@rondo-0-...".
std::string store_name(const StoreClientOptions& options) {
  return "the store" + (options.server_rank >= 0 ? " of rank " + std::to_string(options.server_rank) : std::string()) +
         " at " + options.server.text;
}

/// The connection, shared by the store and its calls.
class Connection {
 public:
  Connection(std::unique_ptr<Stream> stream, const StoreClientOptions& options)
      : name_(store_name(options)),
        where_{.rank = options.rank, .peer = options.server_rank, .operation = "store request"},
        frames_(std::move(stream), {.peer_name = name_, .where = where_, .max_payload_bytes = kMaxStoreFrameBytes}) {}
  ~Connection() {
    frames_.send_goodbye();
    (void)frames_.advance(kBytesPerTurn);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Sends the request; its sequence number.
  Result<uint64_t> send(StoreRequest request) RONDO_EXCLUDES(mutex_) {
    RONDO_TRY(check_request(request));
    const MutexLock lock(mutex_);
    const uint64_t sequence = ++last_sequence_;
    waiting_[sequence];  // before anything is read: the reply may be quick
    const Status sent = send_locked(sequence, {.request = std::move(request)});
    if (!sent.ok()) waiting_.erase(sequence);
    RONDO_TRY(sent);
    return sequence;
  }

  void forget(uint64_t sequence) RONDO_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    const auto at = waiting_.find(sequence);
    const bool answered = at == waiting_.end() || at->second.has_value();
    waiting_.erase(sequence);
    if (!answered) (void)send_locked(sequence, {.forget = true});  // a broken connection has forgotten already
  }

  /// The reply, as soon as it is there; an error when the connection ended first.
  Result<std::optional<StoreReply>> poll(uint64_t sequence) RONDO_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    pump();
    const auto at = waiting_.find(sequence);
    if (at->second) {
      auto reply = std::exchange(at->second, StoreReply{});
      return reply;
    }
    RONDO_TRY(status_);
    return std::optional<StoreReply>();
  }

  WaitHandle wait_handle() const RONDO_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return frames_.wait_handle();
  }

 private:
  Status send_locked(uint64_t sequence, const StoreMessage& message) RONDO_REQUIRES(mutex_) {
    FrameHeader header;
    header.type = FrameType::kStoreRequest;
    header.sequence = sequence;
    RONDO_TRY(frames_.send_owned(header, encode(message)));
    pump();
    return {};
  }

  void pump() RONDO_REQUIRES(mutex_) {
    while (status_.ok()) {
      const Progress progress = frames_.advance(kBytesPerTurn);
      while (const auto frame = reader_.next(frames_)) take(*frame);
      if (progress == Progress::kFailed && status_.ok()) status_ = frames_.status();
      if ((progress == Progress::kDone || frames_.peer_left()) && status_.ok())
        status_ = Status(Code::kClosed, name_ + " was closed by the process that serves it", where_);
      if (progress != Progress::kProgressed) return;
    }
  }

  void take(const FrameReader::Frame& frame) RONDO_REQUIRES(mutex_) {
    const auto at = waiting_.find(frame.header.sequence);
    if (at == waiting_.end()) return;  // forgotten
    auto reply = decode_store_reply(frame.payload);
    if (frame.header.type != FrameType::kStoreReply || !reply.ok())
      at->second = StoreReply{{Code::kCorrupt, "the store answered with something else than a reply"}, {}};
    else
      at->second = *std::move(reply);
  }

  const std::string name_;
  const Where where_;
  mutable Mutex mutex_;
  FramedStream frames_ RONDO_GUARDED_BY(mutex_);
  FrameReader reader_ RONDO_GUARDED_BY(mutex_);
  Status status_ RONDO_GUARDED_BY(mutex_);  // why the connection ended
  uint64_t last_sequence_ RONDO_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, std::optional<StoreReply>> waiting_ RONDO_GUARDED_BY(mutex_);  // requests and their replies
};

class RemoteCall final : public StoreCall {
 public:
  RemoteCall(std::shared_ptr<Connection> connection, StoreRequest request) : connection_(std::move(connection)) {
    auto sequence = connection_->send(std::move(request));
    if (sequence.ok())
      sequence_ = *sequence;
    else
      status_ = sequence.status();
  }
  ~RemoteCall() override {
    if (sequence_ != 0) connection_->forget(sequence_);
  }

  Progress advance(TimePoint) override {
    if (done_) return Progress::kDone;
    if (!status_.ok()) return Progress::kFailed;
    auto reply = connection_->poll(sequence_);
    if (!reply.ok()) status_ = reply.status();
    if (!status_.ok()) return Progress::kFailed;
    if (!reply->has_value()) return Progress::kBlocked;
    status_ = (*reply)->status;
    if (!status_.ok()) return Progress::kFailed;
    values_ = std::move((*reply)->values);
    done_ = true;
    return Progress::kDone;
  }
  const std::vector<std::string>& values() const override { return values_; }
  Status status() const override { return status_; }
  std::vector<WaitHandle> wait_handles() const override {
    const WaitHandle handle = connection_->wait_handle();
    return handle.handle < 0 ? std::vector<WaitHandle>() : std::vector{handle};
  }

 private:
  const std::shared_ptr<Connection> connection_;  // shared with the store and its other calls
  uint64_t sequence_ = 0;                         // 0: never sent
  bool done_ = false;
  std::vector<std::string> values_;
  Status status_;
};

class RemoteStore final : public Store {
 public:
  explicit RemoteStore(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  std::unique_ptr<StoreCall> start(StoreRequest request) override {
    return std::make_unique<RemoteCall>(connection_, std::move(request));
  }

 private:
  const std::shared_ptr<Connection> connection_;  // shared with the calls in flight
};

}  // namespace

Progress StoreDial::fail(const Status& why) {
  const std::string server =
      options_.server_rank >= 0 ? " (rank " + std::to_string(options_.server_rank) + " serves the store)" : "";
  status_ = Status(why.code(), why.message() + server, why.where())
                .at({.rank = options_.rank, .peer = options_.server_rank, .operation = "connecting to the store"});
  return Progress::kFailed;
}

Progress StoreDial::try_later(TimePoint now, const Status& why) {
  handshake_.reset();
  last_try_ = why;
  next_try_ = now + kTryAgain;
  return Progress::kBlocked;
}

Progress StoreDial::dial(TimePoint now) {
  auto stream = env_->dial(options_.server);
  if (!stream.ok()) return fail(stream.status());
  if (options_.same_user_only) {
    const IoResult state = (*stream)->read({});  // reads nothing, but tells a refused dial
    if (state.state == IoResult::State::kFailed)
      return try_later(now, {Code::kPeerLost, std::generic_category().message(state.error)});
    if ((*stream)->peer_uid() != static_cast<int64_t>(::geteuid()))
      return fail({Code::kUnauthenticated, "the store at " + options_.server.text + " is served by user " +
                                               std::to_string((*stream)->peer_uid()) +
                                               ", not by this one; choose another MASTER_PORT"});
  }
  HandshakeOptions how;
  how.side = HandshakeOptions::Side::kDialer;
  how.mine.role = Role::kStore;
  how.mine.from_rank = options_.rank;
  how.mine.job = options_.job;
  how.secret = options_.secret;
  how.peer_address = options_.server;
  handshake_ = std::make_unique<Handshake>(*env_, *std::move(stream), std::move(how));
  return Progress::kProgressed;
}

Progress StoreDial::advance(TimePoint now) {
  if (!status_.ok()) return Progress::kFailed;
  if (store_) return Progress::kDone;
  if (!handshake_) return now < next_try_ ? Progress::kBlocked : dial(now);
  const Progress progress = handshake_->advance(now);
  if (progress == Progress::kFailed) {
    const Status& why = handshake_->status();
    const bool later = why.code() == Code::kPeerLost || why.code() == Code::kTimeout;
    return later ? try_later(now, Status(why)) : fail(why);
  }
  if (progress != Progress::kDone) return progress;
  store_ = std::make_shared<RemoteStore>(std::make_shared<Connection>(handshake_->take_stream(), options_));
  return Progress::kDone;
}

std::vector<WaitHandle> StoreDial::wait_handles() const {
  if (!handshake_) return {};
  const WaitHandle handle = handshake_->wait_handle();
  return handle.handle < 0 ? std::vector<WaitHandle>() : std::vector{handle};
}

Result<std::shared_ptr<Store>> connect_store(const std::shared_ptr<Env>& env, const StoreClientOptions& options,
                                             Deadline deadline) {
  const TimePoint start = env->now();
  StoreDial dial(env, options);
  while (true) {
    const TimePoint now = env->now();
    const Progress progress = dial.advance(now);
    if (progress == Progress::kDone) return dial.take();
    if (progress == Progress::kFailed) return dial.status();
    if (deadline.passed(now)) break;
    if (progress == Progress::kBlocked) env->idle(dial.wait_handles(), std::min(deadline.left(now), kNap));
  }
  const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(env->now() - start).count();
  return Status(Code::kTimeout,
                "no answer from " + store_name(options) + " within " + std::to_string(waited) + " ms" +
                    (dial.last_try().ok() ? std::string() : ": " + dial.last_try().message()) +
                    ". The process that serves it (the agent, or rank 0) has not started, or ended",
                {.rank = options.rank, .peer = options.server_rank, .operation = "connecting to the store"});
}

}  // namespace rondo::comm
