#include "launcher/remote/attendance.h"

#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "launcher/control/control_server.h"
#include "launcher/remote/mailbox.h"
#include "launcher/remote/outbox.h"
#include "launcher/remote/words.h"
#include "proto/control.grpc.pb.h"

namespace rondo::launcher {
namespace {

using comm::TimePoint;

constexpr std::chrono::seconds kSecondLook{2};

/// What came from an agent: a message, or nothing any more.
struct Heard {
  int id = 0;
  std::optional<control::AgentSays> says;
};

/// One agent's stream; owned by the map of streams and by gRPC until it is done with it.
class Stream final : public grpc::ServerBidiReactor<control::AgentSays, control::CoordinatorSays> {
 public:
  Stream(int id, Mailbox<Heard>& mailbox, std::function<void(int)> on_done)
      : id_(id),
        mailbox_(mailbox),
        on_done_(std::move(on_done)),
        outbox_([this](const control::CoordinatorSays& says) { StartWrite(&says); },
                [this] { end(grpc::Status::OK); }) {
    read_on();
  }

  /// After a message was handled.
  void read_on() {
    const comm::MutexLock lock(mutex_);
    if (!ended_) StartRead(&incoming_);
  }
  void send(control::CoordinatorSays says) { outbox_.send(std::move(says)); }
  void finish() { outbox_.finish(); }

  void OnReadDone(bool well) override {
    if (well) return mailbox_.put({.id = id_, .says = std::move(incoming_)});
    mailbox_.put({.id = id_, .says = std::nullopt});
    outbox_.finish();
  }
  void OnWriteDone(bool well) override {
    outbox_.written(well);
    if (!well) end(grpc::Status::CANCELLED);
  }
  void OnCancel() override { outbox_.finish(); }  // a write in flight ends it by OnWriteDone
  void OnDone() override {
    mailbox_.put({.id = id_, .says = std::nullopt});  // however it ended; twice does no harm
    on_done_(id_);
  }

 private:
  void end(const grpc::Status& status) {
    const comm::MutexLock lock(mutex_);
    if (!std::exchange(ended_, true)) Finish(status);
  }

  const int id_;
  Mailbox<Heard>& mailbox_;
  const std::function<void(int)> on_done_;
  control::AgentSays incoming_;
  comm::Mutex mutex_;
  bool ended_ RONDO_GUARDED_BY(mutex_) = false;  // gRPC takes no more reads then
  Outbox<control::CoordinatorSays> outbox_;
};

class Served final : public Attendance, public control::Coordination::CallbackService {
 public:
  ~Served() override { close({comm::Clock::now()}); }

  comm::Status open(Options options) {
    RONDO_TRY(mailbox_.open());
    ControlServer::Options serve;
    serve.addresses = {options.door};
    serve.authority = std::move(options.authority);
    serve.holder = {"coordinator", options.host};
    serve.services = {this};
    if (options.further != nullptr) serve.services.push_back(options.further);
    serve.on_refused = std::move(options.on_refused);
    auto server = ControlServer::open(std::move(serve));
    RONDO_TRY(server);
    server_ = std::move(*server);
    return {};
  }

  comm::Address address() const override { return server_->addresses().front(); }
  int handle() const override { return mailbox_.handle(); }
  void admit(Descriptor end, const std::string& who) override { server_->admit(std::move(end), who); }

  grpc::ServerBidiReactor<control::AgentSays, control::CoordinatorSays>* Attend(
      grpc::CallbackServerContext* /*context*/) override {
    const comm::MutexLock lock(mutex_);
    const int id = ++last_id_;
    auto stream = std::make_shared<Stream>(id, mailbox_, [this](int done) {
      // Gone when the last holder lets go of it, which may be this call.
      const auto gone = [&] {
        const comm::MutexLock inner(mutex_);
        auto found = streams_.find(done);
        auto held = std::move(found->second);
        streams_.erase(found);
        return held;
      }();
    });
    streams_[id] = stream;
    return stream.get();
  }

  void handle_messages(const Handlers& handlers, TimePoint now) override {
    for (Heard& heard : mailbox_.take()) held_.push_back(std::move(heard));
    std::vector<Heard> later;
    for (Heard& heard : std::exchange(held_, {})) {
      Agent& agent = agents_[heard.id];
      agent.heard_at = now;
      agent.missed_at.reset();
      if (agent.lost) continue;
      if (!heard.says) {
        lose(heard.id, "its connection ended", handlers);
        continue;
      }
      if (heard.says->has_said() && handlers.hold && handlers.hold()) {
        later.push_back(std::move(heard));
        continue;
      }
      take(heard.id, *heard.says, handlers);
      with(heard.id, [](Stream& stream) { stream.read_on(); });
    }
    held_.insert(held_.begin(), std::make_move_iterator(later.begin()), std::make_move_iterator(later.end()));
    for (auto& [id, agent] : agents_) {
      if (agent.lost || agent.left || agent.heard_at + kSilentFor > now || is_held(id)) continue;
      if (!agent.missed_at) agent.missed_at = now;  // who stood still himself has heard nobody: a second look
      if (*agent.missed_at + kSecondLook <= now)
        lose(id, "it has said nothing for " + std::to_string(kSilentFor.count()) + " s", handlers);
    }
  }
  std::optional<TimePoint> next_moment() const override {
    std::optional<TimePoint> next;
    for (const auto& [id, agent] : agents_) {
      if (agent.lost || agent.left || is_held(id)) continue;
      const TimePoint at = agent.missed_at ? *agent.missed_at + kSecondLook : agent.heard_at + kSilentFor;
      next = next ? std::min(*next, at) : at;
    }
    return next;
  }

  void excuse_silence(TimePoint now) override {
    for (auto& [id, agent] : agents_) {
      agent.heard_at = now;
      agent.missed_at.reset();
    }
  }

  void send(int id, control::CoordinatorSays says) override {
    with(id, [&](Stream& stream) { stream.send(std::move(says)); });
  }
  void dismiss(int id) override {
    agents_[id].left = true;
    with(id, [](Stream& stream) { stream.finish(); });
  }
  void close(comm::Deadline deadline) override {
    if (!server_) return;
    for (auto& [id, agent] : agents_) agent.left = true;
    std::vector<std::shared_ptr<Stream>> all;
    {
      const comm::MutexLock lock(mutex_);
      for (auto& [id, stream] : streams_) all.push_back(stream);
    }
    for (auto& stream : all) stream->finish();
    all.clear();
    server_->close(deadline);
    server_.reset();
  }

 private:
  struct Agent {
    TimePoint heard_at{};
    std::optional<TimePoint> missed_at;  // when it was first found silent
    bool lost = false, left = false;
  };

  void take(int id, const control::AgentSays& says, const Handlers& handlers) {
    if (says.has_beat()) return;
    if (says.has_goodbye()) {  // nobody sent it away, else `left` is set
      lose(id, "its agent ended with code " + std::to_string(says.goodbye().exit_code()), handlers);
    } else if (says.has_hello()) {
      handlers.on_hello(id, says.hello());
    } else {
      handlers.on_said(id, says);
    }
  }
  void lose(int id, const std::string& why, const Handlers& handlers) {
    Agent& agent = agents_[id];
    agent.lost = true;
    if (!agent.left) handlers.on_lost(id, why);
  }
  bool is_held(int id) const {
    return std::any_of(held_.begin(), held_.end(), [id](const Heard& heard) { return heard.id == id; });
  }
  void with(int id, const std::function<void(Stream&)>& use) {
    std::shared_ptr<Stream> stream;
    {
      const comm::MutexLock lock(mutex_);
      const auto found = streams_.find(id);
      if (found == streams_.end()) return;
      stream = found->second;
    }
    use(*stream);
  }

  Mailbox<Heard> mailbox_;
  comm::Mutex mutex_;
  int last_id_ RONDO_GUARDED_BY(mutex_) = 0;
  std::map<int, std::shared_ptr<Stream>> streams_ RONDO_GUARDED_BY(mutex_);
  // The main thread's.
  std::map<int, Agent> agents_;
  std::vector<Heard> held_;
  std::unique_ptr<ControlServer> server_;
};

}  // namespace

comm::Result<std::unique_ptr<Attendance>> Attendance::open(Options options) {
  auto served = std::make_unique<Served>();
  RONDO_TRY(served->open(std::move(options)));
  return std::unique_ptr<Attendance>(std::move(served));
}

void RemoteAgent::start(int generation) {
  control::CoordinatorSays says;
  says.mutable_start()->set_generation(generation);
  attendance_.send(id_, std::move(says));
}

void RemoteAgent::tell(const Verdict& verdict) { attendance_.send(id_, verdict_message(verdict)); }

void RemoteAgent::stop(int signal) {
  control::CoordinatorSays says;
  says.mutable_stop()->set_signal(signal);
  attendance_.send(id_, std::move(says));
}

void RemoteAgent::ask(int signal) {
  control::CoordinatorSays says;
  says.mutable_ask()->set_signal(signal);
  attendance_.send(id_, std::move(says));
}

void RemoteAgent::suspend() {
  control::CoordinatorSays says;
  says.mutable_suspend();
  attendance_.send(id_, std::move(says));
}

void RemoteAgent::resume() {
  control::CoordinatorSays says;
  says.mutable_resume();
  attendance_.send(id_, std::move(says));
}

void RemoteAgent::report_usage() {
  control::CoordinatorSays says;
  says.mutable_report_usage();
  attendance_.send(id_, std::move(says));
}

void RemoteAgent::write_flights(uint64_t number) {
  control::CoordinatorSays says;
  says.mutable_write_flights()->set_number(number);
  attendance_.send(id_, std::move(says));
}

void RemoteAgent::end_output() {
  control::CoordinatorSays says;
  says.mutable_end_output();
  attendance_.send(id_, std::move(says));
}

namespace {

/// The rank that the message is about; empty: it is about none.
std::optional<int> rank_in(const control::AgentSays& says) {
  switch (says.content_case()) {
    case control::AgentSays::kStarted:
      return says.started().rank();
    case control::AgentSays::kSaid:
      return says.said().rank();
    case control::AgentSays::kSpeaksRondo:
      return says.speaks_rondo().rank();
    case control::AgentSays::kMessage:
      return says.message().rank();
    case control::AgentSays::kEnded:
      return says.ended().rank();
    case control::AgentSays::kOutputEnded:
      return says.output_ended().rank();
    case control::AgentSays::kStacks:
      return says.stacks().rank();
    case control::AgentSays::kFlight:
      return says.flight().rank();
    case control::AgentSays::kShortened:
      return says.shortened().rank();
    default:
      return std::nullopt;
  }
}

std::vector<int> those_of(const RankRange& its, const google::protobuf::RepeatedField<int32_t>& ranks) {
  std::vector<int> those;
  std::copy_if(ranks.begin(), ranks.end(), std::back_inserter(those),
               [&its](int32_t rank) { return rank >= its.first && rank < its.first + its.count; });
  return those;
}

}  // namespace

bool tell_events(const control::AgentSays& says, const RankRange& its, AgentEvents& events, TimePoint now) {
  const auto rank = rank_in(says);
  if (rank && (*rank < its.first || *rank >= its.first + its.count)) return false;
  switch (says.content_case()) {
    case control::AgentSays::kStarted:
      events.started(says.started().rank(), says.started().pid());
      return true;
    case control::AgentSays::kStartFailed:
      events.start_failed({comm::Code::kResource, says.start_failed().text()});
      return true;
    case control::AgentSays::kSaid:
      for (const std::string& line : says.said().lines())
        events.line(says.said().rank(), channel_of(says.said().stream()), line, now);
      return true;
    case control::AgentSays::kSpeaksRondo:
      events.speaks_rondo(says.speaks_rondo().rank());
      return true;
    case control::AgentSays::kMessage: {
      proto::WorkerMessage message;
      if (message.ParseFromString(says.message().message())) events.message(says.message().rank(), message);
      return true;
    }
    case control::AgentSays::kEnded:
      events.ended(says.ended().rank(), evidence_of(says.ended(), now));
      return true;
    case control::AgentSays::kOutputEnded: {
      AgentEvents::Traces traces{.last_lines = {},
                                 .log_path = says.output_ended().log_path(),
                                 .stream = channel_of(says.output_ended().stream())};
      for (const std::string& line : says.output_ended().last_lines()) traces.last_lines.push_back(line);
      events.output_ended(says.output_ended().rank(), traces);
      return true;
    }
    case control::AgentSays::kAsked:
      events.asked(says.asked().signal(),
                   {.ranks = those_of(its, says.asked().ranks()), .deaf = those_of(its, says.asked().deaf())});
      return true;
    case control::AgentSays::kUsages: {
      std::vector<AgentEvents::RankUsage> used = usages_of(says.usages());
      std::erase_if(used,
                    [&its](const auto& one) { return one.rank < its.first || one.rank >= its.first + its.count; });
      events.usage(used);
      return true;
    }
    case control::AgentSays::kStacks:
      events.stacks(says.stacks().rank(), {says.stacks().lines().begin(), says.stacks().lines().end()});
      return true;
    case control::AgentSays::kFlight:
      events.flight(says.flight().rank(), std::as_bytes(std::span(says.flight().record())));
      return true;
    case control::AgentSays::kFlightsTaken: {
      const control::FlightsTaken& taken = says.flights_taken();
      events.flights_taken({.number = taken.number(),
                            .recorded = those_of(its, taken.recorded()),
                            .silent = those_of(its, taken.silent())});
      return true;
    }
    case control::AgentSays::kShortened: {
      const control::Shortened& cut = says.shortened();
      events.shortened({.rank = cut.rank(), .what = cut.what(), .bytes = cut.bytes(), .limit = cut.limit()});
      return true;
    }
    case control::AgentSays::kEvent: {
      const auto fields = nlohmann::json::parse(says.event().fields(), nullptr, false);
      if (fields.is_object()) events.event(says.event().kind().c_str(), fields);
      return true;
    }
    default:
      return false;
  }
}

}  // namespace rondo::launcher
