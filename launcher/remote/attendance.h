/// The coordinator's side of the agents of other hosts: who attends, what they say, and what they are told.
///
/// gRPC's threads only carry messages; everything is handled on the main thread, in handle_messages(). Of each agent
/// one message at a time is taken, so that an agent whose ranks write faster than ours is read waits.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/agent/agent_link.h"
#include "launcher/base/descriptor.h"
#include "launcher/control/authority.h"
#include "proto/control.pb.h"
#include "rondo/comm/deadline.h"
#include "rondo/comm/env.h"

namespace grpc {
class Service;
}

namespace rondo::launcher {

class Attendance {
 public:
  /// An agent that says nothing for so long is lost. It beats every second.
  static constexpr std::chrono::seconds kSilentFor{10};

  struct Options {
    comm::Address door;
    Authority authority;
    std::string host;                  // of the coordinator
    grpc::Service* further = nullptr;  // served, too; outlives the attendance
    /// On the door's thread: who was not let in, and why.
    std::function<void(const comm::Status&)> on_refused;
  };
  static comm::Result<std::unique_ptr<Attendance>> open(Options options);
  virtual ~Attendance() = default;  // as close() with a deadline that has passed

  virtual comm::Address address() const = 0;
  /// For the further service: somebody whom the caller let in.
  virtual void admit(Descriptor end, const std::string& who) = 0;
  /// For the event loop: readable when handle_messages() has something to do.
  virtual int handle() const = 0;

  struct Handlers {
    std::function<void(int id, const control::AgentHello&)> on_hello;
    std::function<void(int id, const control::AgentSays&)> on_said;
    /// It ended before it was dismissed, or it is silent; it is not heard of again.
    std::function<void(int id, const std::string& why)> on_lost;
    std::function<bool()> hold;  // take nothing now
  };
  virtual void handle_messages(const Handlers& handlers, comm::TimePoint now) = 0;
  /// When handle_messages() has something to do by time alone.
  virtual std::optional<comm::TimePoint> next_moment() const = 0;

  /// Who has said nothing until now had a reason: the job stood still.
  virtual void excuse_silence(comm::TimePoint now) = 0;

  virtual void send(int id, control::CoordinatorSays says) = 0;
  /// The agent is sent away with what was said last.
  virtual void dismiss(int id) = 0;
  /// Dismisses all, and waits for what is on its way.
  virtual void close(comm::Deadline deadline) = 0;
};

/// An agent of another host, as one that carries out orders.
class RemoteAgent final : public AgentOrders {
 public:
  RemoteAgent(Attendance& attendance, int id) : attendance_(attendance), id_(id) {}
  void start(int generation) override;
  void tell(const Verdict& verdict) override;
  void stop(int signal) override;
  void write_flights(uint64_t number) override;
  void ask(int signal) override;
  void suspend() override;
  void resume() override;
  void report_usage() override;
  void look() override {}  // it tells without being asked
  void end_output() override;

 private:
  Attendance& attendance_;
  const int id_;
};

struct RankRange {
  int first = 0, count = 0;
};
/// Tells `events` what the agent of another host said about its ranks. False: it was about something else, or about
/// ranks of others.
bool tell_events(const control::AgentSays& says, const RankRange& its, AgentEvents& events, comm::TimePoint now);

}  // namespace rondo::launcher
