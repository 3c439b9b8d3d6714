#include "launcher/remote/uplink.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>

#include "launcher/control/control_channel.h"
#include "launcher/control/grpc_limits.h"
#include "launcher/remote/mailbox.h"
#include "launcher/remote/outbox.h"
#include "launcher/remote/words.h"
#include "proto/control.grpc.pb.h"

namespace rondo::launcher {
namespace {

using comm::Clock;
using comm::TimePoint;

constexpr size_t kBatchBytes = kMostMessageBytes / 8;  // of lines in one message
constexpr std::chrono::milliseconds kBatchFor{50};

using Heard = std::optional<control::CoordinatorSays>;

class Stream final : public grpc::ClientBidiReactor<control::AgentSays, control::CoordinatorSays> {
 public:
  explicit Stream(Mailbox<Heard>& mailbox)
      : mailbox_(mailbox),
        outbox_([this](const control::AgentSays& says) { StartWrite(&says); }, [this] { StartWritesDone(); }) {}

  void start(control::Coordination::Stub& stub) {
    stub.async()->Attend(&context_, this);
    StartRead(&incoming_);
    AddHold();  // for writes from the main thread
    StartCall();
  }
  void send(control::AgentSays says) { outbox_.send(std::move(says)); }
  size_t waiting_bytes() const { return outbox_.bytes(); }

  /// Sends what waits; whatever has not ended by the deadline is cut.
  void end(comm::Deadline deadline) {
    outbox_.finish();
    release();
    std::unique_lock lock(mutex_);
    if (done_.wait_until(lock, deadline.at, [this] { return ended_; })) return;
    lock.unlock();
    context_.TryCancel();
    lock.lock();
    done_.wait(lock, [this] { return ended_; });  // gRPC promises it
  }

  void OnReadDone(bool well) override {
    if (!well) {
      outbox_.finish();  // before the hold goes: nobody may begin a write from here on
      return release();
    }
    mailbox_.put(std::move(incoming_));
    StartRead(&incoming_);
  }
  void OnWriteDone(bool well) override { outbox_.written(well); }
  void OnDone(const grpc::Status& /*status*/) override {
    outbox_.written(false);
    mailbox_.put(std::nullopt);
    const std::lock_guard lock(mutex_);
    ended_ = true;
    done_.notify_all();
  }

 private:
  void release() {
    if (!released_.test_and_set()) RemoveHold();
  }

  Mailbox<Heard>& mailbox_;
  grpc::ClientContext context_;
  control::CoordinatorSays incoming_;
  Outbox<control::AgentSays> outbox_;
  std::atomic_flag released_;
  std::mutex mutex_;
  std::condition_variable done_;
  bool ended_ = false;  // guarded by mutex_
};

class Connected final : public Uplink {
 public:
  ~Connected() override { close(0, {Clock::now()}); }

  comm::Status open(const Authority& authority, Options options) {
    RONDO_TRY(mailbox_.open());
    auto channel = ControlChannel::open(
        authority, {.doors = std::move(options.doors), .holder = {"agent", options.host}, .open_by = options.open_by});
    RONDO_TRY(channel);
    channel_ = std::move(*channel);
    stub_ = control::Coordination::NewStub(channel_->channel());
    stream_ = std::make_unique<Stream>(mailbox_);
    stream_->start(*stub_);
    return {};
  }

  int handle() const override { return mailbox_.handle(); }
  std::vector<Heard> take() override { return mailbox_.take(); }
  comm::Status end_status() const override { return channel_->status(); }
  void send(control::AgentSays says) override {
    flush_lines();
    if (stream_) stream_->send(std::move(says));
  }
  void close(int exit_code, comm::Deadline deadline) override {
    if (!stream_) return;
    control::AgentSays says;
    says.mutable_goodbye()->set_exit_code(exit_code);
    send(std::move(says));
    stream_->end(deadline);
    stream_.reset();
    stub_.reset();
    channel_->close({std::max(deadline.at, Clock::now() + std::chrono::milliseconds(200))});
  }

  void on_time(TimePoint now) override {
    if (lines_since_ && *lines_since_ + kBatchFor <= now) flush_lines();
    send_records();
    if (!beat_at_ || now < *beat_at_) return;
    beat_at_ = now + kBeatEvery;
    control::AgentSays says;
    says.mutable_beat()->set_number(++beats_);
    send(std::move(says));
  }
  std::optional<TimePoint> next_moment() const override {
    if (stream_ && !records_.empty() && !congested()) return TimePoint();
    if (!lines_since_) return beat_at_;
    const TimePoint lines_at = *lines_since_ + kBatchFor;
    return beat_at_ ? std::min(*beat_at_, lines_at) : lines_at;
  }
  void stop_beating() override { beat_at_.reset(); }
  void beat_again() override { beat_at_ = TimePoint(); }

  void started(int rank, pid_t pid) override {
    control::AgentSays says;
    says.mutable_started()->set_rank(rank);
    says.mutable_started()->set_pid(pid);
    send(std::move(says));
  }
  void start_failed(const comm::Status& why) override {
    control::AgentSays says;
    says.mutable_start_failed()->set_text(why.message());
    send(std::move(says));
  }
  void line(int rank, Channel channel, std::string_view text, TimePoint now) override {
    if (lines_.rank() != rank || lines_.stream() != stream_of(channel)) flush_lines();
    lines_.set_rank(rank);
    lines_.set_stream(stream_of(channel));
    lines_.add_lines(text.data(), text.size());
    lines_bytes_ += text.size() + 8;
    if (!lines_since_) lines_since_ = now;
    if (lines_bytes_ >= kBatchBytes) flush_lines();
  }
  void speaks_rondo(int rank) override {
    control::AgentSays says;
    says.mutable_speaks_rondo()->set_rank(rank);
    send(std::move(says));
  }
  void message(int rank, const proto::WorkerMessage& message) override {
    control::AgentSays says;
    says.mutable_message()->set_rank(rank);
    message.SerializeToString(says.mutable_message()->mutable_message());
    send_what_fits(rank, "a message of it", std::move(says));
  }
  void ended(int rank, const RankEvidence& evidence) override {
    send_what_fits(rank, "what is known of its end", ended_message(rank, evidence, Clock::now()));
  }
  void output_ended(int rank, const Traces& traces) override {
    control::AgentSays says;
    says.mutable_output_ended()->set_rank(rank);
    for (const std::string& line : traces.last_lines)
      says.mutable_output_ended()->add_last_lines(line.substr(0, kLongestLastLine));
    says.mutable_output_ended()->set_log_path(traces.log_path);
    says.mutable_output_ended()->set_stream(stream_of(traces.stream));
    send(std::move(says));
  }
  void asked(int signal, const Asked& who) override {
    control::AgentSays says;
    says.mutable_asked()->set_signal(signal);
    for (const int rank : who.ranks) says.mutable_asked()->add_ranks(rank);
    for (const int rank : who.deaf) says.mutable_asked()->add_deaf(rank);
    send(std::move(says));
  }
  void stacks(int rank, const std::vector<std::string>& lines) override {
    control::AgentSays says;
    says.mutable_stacks()->set_rank(rank);
    for (const std::string& line : lines) says.mutable_stacks()->add_lines(line);
    send_what_fits(rank, "its stacks", std::move(says));
  }
  /// Records wait for their turn: the stream takes them while little else waits in it. At most one a rank.
  void flight(int rank, std::span<const std::byte> record) override {
    std::erase_if(records_, [rank](const control::AgentSays& earlier) {
      return earlier.has_flight() && earlier.flight().rank() == rank;
    });
    control::AgentSays says;
    says.mutable_flight()->set_rank(rank);
    says.mutable_flight()->set_record(record.data(), record.size());
    records_.push_back(std::move(says));
    send_records();
  }
  void flights_taken(const FlightsTaken& taken) override {
    control::AgentSays says;
    says.mutable_flights_taken()->set_number(taken.number);
    for (const int rank : taken.recorded) says.mutable_flights_taken()->add_recorded(rank);
    for (const int rank : taken.silent) says.mutable_flights_taken()->add_silent(rank);
    records_.push_back(std::move(says));
    send_records();
  }
  void shortened(const Shortened& cut) override {
    control::AgentSays says;
    says.mutable_shortened()->set_rank(cut.rank);
    says.mutable_shortened()->set_what(cut.what);
    says.mutable_shortened()->set_bytes(cut.bytes);
    says.mutable_shortened()->set_limit(cut.limit);
    send(std::move(says));
  }
  void usage(const std::vector<RankUsage>& of_ranks) override { send(usages_message(of_ranks)); }
  void event(const char* kind, const nlohmann::json& fields) override {
    control::AgentSays says;
    says.mutable_event()->set_kind(kind);
    says.mutable_event()->set_fields(fields.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    const int rank = fields.is_object() && fields.contains("rank") && fields["rank"].is_number_integer()
                         ? fields["rank"].get<int>()
                         : -1;
    send_what_fits(rank, std::string("its event \"") + kind + "\"", std::move(says));
  }
  bool congested() const override { return stream_ && stream_->waiting_bytes() > kCongestedBytes; }

 private:
  static constexpr size_t kLongestLastLine = 4096;

  /// No message is larger than gRPC takes: the stream would end, and the host be lost.
  void send_what_fits(int rank, const std::string& what, control::AgentSays says) {
    const size_t bytes = says.ByteSizeLong();
    const bool whole = bytes <= kMostMessageBytes;
    if (whole || cut_to(kMostMessageBytes, says)) send(std::move(says));
    if (!whole)
      shortened({.rank = rank, .what = what, .bytes = static_cast<int64_t>(bytes), .limit = kMostMessageBytes});
  }
  void send_records() {
    while (!records_.empty() && stream_ && !congested()) {
      send(std::move(records_.front()));
      records_.pop_front();
    }
  }
  void flush_lines() {
    if (!lines_since_) return;
    control::AgentSays says;
    *says.mutable_said() = std::exchange(lines_, {});
    lines_bytes_ = 0;
    lines_since_.reset();
    if (stream_) stream_->send(std::move(says));
  }

  Mailbox<Heard> mailbox_;
  std::unique_ptr<ControlChannel> channel_;
  std::unique_ptr<control::Coordination::Stub> stub_;
  std::unique_ptr<Stream> stream_;
  control::RankSaid lines_;  // of one rank and stream, not sent yet
  size_t lines_bytes_ = 0;
  std::optional<TimePoint> lines_since_;
  std::deque<control::AgentSays> records_;  // flight records, and what is said after them; not sent yet
  std::optional<TimePoint> beat_at_ = TimePoint();
  uint64_t beats_ = 0;
};

}  // namespace

comm::Result<std::unique_ptr<Uplink>> Uplink::open(const Authority& authority, Options options) {
  auto connected = std::make_unique<Connected>();
  RONDO_TRY(connected->open(authority, std::move(options)));
  return std::unique_ptr<Uplink>(std::move(connected));
}

}  // namespace rondo::launcher
