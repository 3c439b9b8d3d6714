#include "launcher/remote/operations.h"

#include <grpcpp/support/server_callback.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "launcher/control/control_server.h"
#include "launcher/control/door_policy.h"
#include "launcher/control/local_socket.h"
#include "launcher/remote/line_queue.h"
#include "launcher/remote/mailbox.h"
#include "launcher/remote/words.h"
#include "proto/control.grpc.pb.h"

namespace rondo::launcher {
namespace {

using comm::TimePoint;

constexpr std::chrono::milliseconds kFirstPicture{400};  // by then the agents have told what the ranks use

/// Whether the other side has closed its connection.
bool has_gone(const Descriptor& end) {
  pollfd state{.fd = end.get(), .events = POLLRDHUP, .revents = 0};
  return ::poll(&state, 1, 0) == 1;
}

/// One stream to a guest; owned by the list of guests and by gRPC until it is done with it.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Nothing more will come: ends it in order, when all is written.
  virtual void finish() = 0;
  virtual void cancel() = 0;
  virtual bool gone() const = 0;
};

/// Writes one message after the other, as fast as the guest reads.
template <typename Message>
class StreamOf : public Stream, public grpc::ServerWriteReactor<Message> {
 public:
  StreamOf(grpc::CallbackServerContext* context, std::function<void()> on_done)
      : context_(context), on_done_(std::move(on_done)) {}

  void finish() override {
    const comm::MutexLock lock(mutex_);
    finishing_ = true;
    go_on();
  }
  void cancel() override {
    const comm::MutexLock lock(mutex_);
    if (!done_) context_->TryCancel();
    gone_ = true;
    go_on();
  }
  bool gone() const override {
    const comm::MutexLock lock(mutex_);
    return gone_;
  }

  void OnWriteDone(bool well) override {
    const comm::MutexLock lock(mutex_);
    writing_ = false;
    if (!well) gone_ = true;
    go_on();
  }
  void OnCancel() override {
    const comm::MutexLock lock(mutex_);
    gone_ = true;
    go_on();
  }
  void OnDone() override {
    {
      const comm::MutexLock lock(mutex_);
      done_ = true;  // gRPC's context goes now
    }
    on_done_();  // may be the end of this object
  }

 protected:
  /// What is to be written now, if anything.
  virtual std::optional<Message> next() RONDO_REQUIRES(mutex_) = 0;

  void go_on() RONDO_REQUIRES(mutex_) {
    if (writing_ || ended_) return;
    std::optional<Message> message = gone_ ? std::nullopt : next();
    if (message) {
      current_ = *std::move(message);
      writing_ = true;
      this->StartWrite(&current_);
    } else if (gone_ || finishing_) {
      ended_ = true;
      this->Finish(gone_ ? grpc::Status::CANCELLED : grpc::Status::OK);
    }
  }

  mutable comm::Mutex mutex_;

 private:
  grpc::CallbackServerContext* const context_;
  const std::function<void()> on_done_;
  Message current_ RONDO_GUARDED_BY(mutex_);
  bool writing_ RONDO_GUARDED_BY(mutex_) = false;
  bool finishing_ RONDO_GUARDED_BY(mutex_) = false;
  bool gone_ RONDO_GUARDED_BY(mutex_) = false;
  bool ended_ RONDO_GUARDED_BY(mutex_) = false;  // gRPC takes no more writes
  bool done_ RONDO_GUARDED_BY(mutex_) = false;   // and has forgotten the call
};

class LogsStream final : public StreamOf<control::LogsSays> {
 public:
  LogsStream(grpc::CallbackServerContext* context, const control::LogsRequest& request, std::function<void()> on_done)
      : StreamOf(context, std::move(on_done)),
        request_(request),
        ranks_(request.ranks().begin(), request.ranks().end()) {}

  const control::LogsRequest& request() const { return request_; }
  bool wants(const Overview::Line& line) const { return ranks_.empty() || ranks_.contains(line.rank); }

  void begin(control::LogsHeader header) {
    const comm::MutexLock lock(mutex_);
    header_ = std::move(header);
    go_on();
  }
  void put(const Overview::Line& line) {
    control::LogLine said;
    said.set_rank(line.rank);
    said.set_stream(stream_of(line.channel));
    said.set_text(line.text);
    said.set_time_ms(std::chrono::floor<std::chrono::milliseconds>(line.at.time_since_epoch()).count());
    said.set_said(line.kind == Overview::Line::Kind::kSaid);
    const comm::MutexLock lock(mutex_);
    queue_.put(std::move(said));
    go_on();
  }

 private:
  std::optional<control::LogsSays> next() override RONDO_REQUIRES(mutex_) {
    control::LogsSays says;
    if (header_) {
      *says.mutable_header() = *std::exchange(header_, std::nullopt);
    } else if (!queue_.empty()) {
      *says.mutable_lines() = queue_.take();
    } else {
      return std::nullopt;
    }
    return says;
  }

  const control::LogsRequest request_;
  const std::set<int> ranks_;
  std::optional<control::LogsHeader> header_ RONDO_GUARDED_BY(mutex_);
  LineQueue queue_ RONDO_GUARDED_BY(mutex_);
};

/// Who reads slower than pictures come gets the latest.
class WatchStream final : public StreamOf<control::RunDescription> {
 public:
  using StreamOf::StreamOf;
  void show(control::RunDescription picture) {
    const comm::MutexLock lock(mutex_);
    latest_ = std::move(picture);
    go_on();
  }

 private:
  std::optional<control::RunDescription> next() override RONDO_REQUIRES(mutex_) {
    return std::exchange(latest_, std::nullopt);
  }
  std::optional<control::RunDescription> latest_ RONDO_GUARDED_BY(mutex_);
};

class Served final : public Operations, public control::Operations::CallbackService {
 public:
  Served(Overview& overview, Run run) : overview_(overview), run_(std::move(run)) {}
  ~Served() override { close(); }

  comm::Status prepare() { return questions_.open(); }
  grpc::Service& service() override { return *this; }

  comm::Status open(const comm::Address& door, EventLoop& loop, Admit admit) override {
    auto listener = comm::real_env()->listen(door);
    RONDO_TRY(listener);
    if (!admit) {
      ControlServer::Options options;
      options.services = {this};
      auto server = ControlServer::open(std::move(options));
      RONDO_TRY(server);
      server_ = std::move(*server);
      admit = [this](Descriptor end, const std::string& who) { server_->admit(std::move(end), who); };
    }
    admit_ = std::move(admit);
    RONDO_TRY(loop.watch((*listener)->handle(), [this] { let_in(); }));
    listener_ = std::move(*listener);
    loop_ = &loop;
    return loop.watch(questions_.handle(), [this] {
      for (const auto& question : questions_.take()) question();
    });
  }

  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context, const control::DescribeRequest* /*request*/,
                                     control::RunDescription* answer) override {
    return ask(context, [this, answer] { *answer = run_.describe(); });
  }
  grpc::ServerUnaryReactor* Stop(grpc::CallbackServerContext* context, const control::StopRequest* request,
                                 control::StopAnswer* answer) override {
    return ask(context, [this, request, answer] { *answer = run_.stop(request->signal()); });
  }
  grpc::ServerWriteReactor<control::LogsSays>* Logs(grpc::CallbackServerContext* context,
                                                    const control::LogsRequest* request) override {
    return begin<LogsStream>([&](std::function<void()> on_done) {
      return std::make_shared<LogsStream>(context, *request, std::move(on_done));
    });
  }
  grpc::ServerWriteReactor<control::RunDescription>* Watch(grpc::CallbackServerContext* context,
                                                           const control::WatchRequest* /*request*/) override {
    return begin<WatchStream>(
        [&](std::function<void()> on_done) { return std::make_shared<WatchStream>(context, std::move(on_done)); });
  }

  void on_time(TimePoint now) override {
    if (overview_.phase() != Overview::Phase::kGathering)
      for (const auto& stream : std::exchange(waiting_, {})) take_up(stream);
    if (watchers_.empty() || now < picture_at_) return;
    std::erase_if(watchers_, [](const auto& stream) { return stream->gone(); });
    if (watchers_.empty()) return;
    const control::RunDescription picture = run_.describe();
    for (const auto& stream : watchers_) stream->show(picture);
    run_.ask_usage();
    picture_at_ = now + kPictureEvery;
  }
  std::optional<TimePoint> next_moment() const override {
    return watchers_.empty() ? std::nullopt : std::optional(picture_at_);
  }

  void close() override {
    if (loop_ == nullptr) return;
    loop_->unwatch(listener_->handle());
    loop_->unwatch(questions_.handle());
    loop_ = nullptr;
    listener_.reset();
    overview_.listen({});
    std::vector<std::function<void()>> asked;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;  // who asks from here on is sent away at once
      asked = questions_.take();
    }
    for (const auto& question : asked) question();
    followers_.clear();
    watchers_.clear();
    part_from_guests();
    cut_connections();
    if (server_) server_->close({comm::Clock::now()});
    server_.reset();
  }

 private:
  void let_in() {
    while (const auto stream = listener_->accept()) {
      const comm::Status entered = welcome(*stream);
      if (!entered.ok() && worth_telling(++refused_)) run_.on_refused(entered);
    }
  }

  comm::Status welcome(const comm::Stream& stream) {
    RONDO_TRY(may_enter(stream));
    std::erase_if(ends_, [](const Descriptor& one) { return has_gone(one); });
    if (ends_.size() >= kMostGuests)
      return {comm::Code::kResource, "there are " + std::to_string(kMostGuests) + " terminals already"};
    auto end = own_descriptor(stream), kept = own_descriptor(stream);
    RONDO_TRY(end);
    RONDO_TRY(kept);
    ends_.push_back(*std::move(kept));
    admit_(*std::move(end), "a terminal");
    return {};
  }

  /// On gRPC's thread: `answer` is called on the main thread, and the reply sent.
  grpc::ServerUnaryReactor* ask(grpc::CallbackServerContext* context, std::function<void()> answer) {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    const std::lock_guard lock(mutex_);
    if (closed_) {
      reactor->Finish({grpc::StatusCode::UNAVAILABLE, kJustEnded});
    } else {
      questions_.put([answer = std::move(answer), reactor] {
        answer();
        reactor->Finish(grpc::Status::OK);
      });
    }
    return reactor;
  }

  /// On gRPC's thread: the stream is taken up on the main thread.
  template <typename S, typename Make>
  S* begin(const Make& make) {
    const std::lock_guard lock(mutex_);
    const int id = ++last_id_;
    const std::shared_ptr<S> stream = make([this, id] { forget(id); });
    guests_[id] = stream;
    if (closed_) {
      stream->finish();
    } else {
      questions_.put([this, stream] { take_up(stream); });
    }
    return stream.get();
  }
  void forget(int id) {
    std::shared_ptr<Stream> held;  // goes when the lock has gone
    const std::lock_guard lock(mutex_);
    const auto found = guests_.find(id);
    held = std::move(found->second);
    guests_.erase(found);
    left_.notify_all();
  }

  void take_up(const std::shared_ptr<LogsStream>& stream) {
    const control::LogsRequest& request = stream->request();
    // How lines are shown is known when the hosts have come.
    if (request.follow() && overview_.phase() == Overview::Phase::kGathering) return waiting_.push_back(stream);
    stream->begin(run_.logs_header());
    const auto& lines = overview_.lines();
    auto from = lines.begin();
    if (request.has_tail()) {
      int left = request.tail();
      for (from = lines.end(); from != lines.begin() && left > 0;)
        if (stream->wants(*--from)) --left;
    }
    for (; from != lines.end(); ++from)
      if (stream->wants(*from)) stream->put(*from);
    if (!request.follow()) return stream->finish();
    followers_.push_back(stream);
    overview_.listen([this](const Overview::Line& line) { pass_on(line); });
  }
  void take_up(const std::shared_ptr<WatchStream>& stream) {
    if (watchers_.empty()) picture_at_ = comm::Clock::now() + kFirstPicture;
    watchers_.push_back(stream);
    run_.ask_usage();
  }

  void pass_on(const Overview::Line& line) {
    bool any_gone = false;
    for (const auto& stream : followers_) {
      any_gone = any_gone || stream->gone();
      if (stream->wants(line)) stream->put(line);
    }
    if (any_gone) std::erase_if(followers_, [](const auto& stream) { return stream->gone(); });
  }

  /// gRPC ends no call while a write to a guest who does not read is under way. What is written already he still gets.
  void cut_connections() {
    for (const Descriptor& end : ends_) ::shutdown(end.get(), SHUT_RDWR);
    ends_.clear();
  }

  void part_from_guests() {
    const auto each = [this](const auto& use) {
      std::vector<std::shared_ptr<Stream>> guests;
      {
        const std::lock_guard lock(mutex_);
        for (const auto& [id, stream] : guests_) guests.push_back(stream);
      }
      for (const auto& stream : guests) use(*stream);
    };
    each([](Stream& stream) { stream.finish(); });
    const auto all_left = [this] { return guests_.empty(); };
    {
      std::unique_lock lock(mutex_);
      if (left_.wait_for(lock, kGoodbye, all_left)) return;
    }
    each([](Stream& stream) { stream.cancel(); });
    cut_connections();
    std::unique_lock lock(mutex_);
    left_.wait(lock, all_left);  // gRPC promises it
  }

  Overview& overview_;
  const Run run_;
  EventLoop* loop_ = nullptr;  // while open
  std::unique_ptr<comm::Listener> listener_;
  Admit admit_;
  std::vector<Descriptor> ends_;  // of guests' connections, beside gRPC's own; those that have gone are forgotten
  std::unique_ptr<ControlServer> server_;
  std::vector<std::shared_ptr<LogsStream>> followers_;  // shared with guests_ and gRPC, see Stream
  std::vector<std::shared_ptr<LogsStream>> waiting_;    // followers, until the hosts have come
  std::vector<std::shared_ptr<WatchStream>> watchers_;
  TimePoint picture_at_{};
  uint64_t refused_ = 0;

  // For gRPC's threads and the main one.
  Mailbox<std::function<void()>> questions_;
  // Guarded by mutex_, which is not comm::Mutex because a condition waits with it.
  std::mutex mutex_;
  std::condition_variable left_;
  bool closed_ = false;
  int last_id_ = 0;
  std::map<int, std::shared_ptr<Stream>> guests_;
};

}  // namespace

comm::Result<std::unique_ptr<Operations>> Operations::make(Overview& overview, Run run) {
  auto served = std::make_unique<Served>(overview, std::move(run));
  RONDO_TRY(served->prepare());
  return std::unique_ptr<Operations>(std::move(served));
}

}  // namespace rondo::launcher
