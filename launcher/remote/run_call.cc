#include "launcher/remote/run_call.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <string>
#include <utility>

#include "launcher/control/control_channel.h"
#include "launcher/remote/operations.h"
#include "proto/control.grpc.pb.h"

namespace rondo::launcher {
namespace {

class Calling final : public RunCall {
 public:
  Calling(RunDoor door, std::unique_ptr<ControlChannel> channel)
      : door_(std::move(door)),
        channel_(std::move(channel)),
        stub_(control::Operations::NewStub(channel_->channel())) {}

  comm::Result<control::RunDescription> describe(comm::Deadline deadline) override {
    grpc::ClientContext context;
    limit(context, deadline);
    control::RunDescription answer;
    RONDO_TRY(meaning(stub_->Describe(&context, {}, &answer)));
    return answer;
  }
  comm::Result<control::StopAnswer> stop(int signal, comm::Deadline deadline) override {
    grpc::ClientContext context;
    limit(context, deadline);
    control::StopRequest request;
    request.set_signal(signal);
    control::StopAnswer answer;
    RONDO_TRY(meaning(stub_->Stop(&context, request, &answer)));
    return answer;
  }
  comm::Status logs(const control::LogsRequest& request,
                    const std::function<More(const control::LogsSays&)>& take) override {
    grpc::ClientContext context;
    return read_all(context, *stub_->Logs(&context, request), take);
  }
  comm::Status watch(const std::function<More(const control::RunDescription&)>& take) override {
    grpc::ClientContext context;
    return read_all(context, *stub_->Watch(&context, {}), take);
  }

 private:
  static void limit(grpc::ClientContext& context, comm::Deadline deadline) {
    const auto left = deadline.left(comm::Clock::now());
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::duration_cast<std::chrono::milliseconds>(left));
  }

  /// Lasts as long as the run: whoever watches ends it by Ctrl-C.
  template <typename Message>
  comm::Status read_all(grpc::ClientContext& context, grpc::ClientReader<Message>& reader,
                        const std::function<More(const Message&)>& take) const {
    Message message;
    bool more = true;
    while (more && reader.Read(&message)) more = take(message) == More::kYes;
    if (!more) context.TryCancel();
    const grpc::Status status = reader.Finish();
    return more ? meaning(status) : comm::Status();
  }

  comm::Status meaning(const grpc::Status& status) const {
    const std::string launcher = "the launcher of " + door_.run + " (pid " + std::to_string(door_.launcher) + ")";
    switch (status.error_code()) {
      case grpc::StatusCode::OK:
        return {};
      case grpc::StatusCode::DEADLINE_EXCEEDED:
        return {comm::Code::kTimeout,
                launcher + " does not answer; if it is stopped: kill -CONT " + std::to_string(door_.launcher)};
      case grpc::StatusCode::UNIMPLEMENTED:
        return {comm::Code::kUnsupported, launcher + " is of another version of rondo: " + status.error_message()};
      case grpc::StatusCode::UNAVAILABLE:
        if (status.error_message() == Operations::kJustEnded)
          return {comm::Code::kClosed, "the run " + door_.run + " has just ended: rondo logs " + door_.run};
        [[fallthrough]];
      default:
        return {comm::Code::kPeerLost, launcher + " was killed, or ended while this terminal was too slow for it (" +
                                           status.error_message() + "); the run's folder has all lines: rondo logs " +
                                           door_.run};
    }
  }

  const RunDoor door_;
  std::unique_ptr<ControlChannel> channel_;
  std::unique_ptr<control::Operations::Stub> stub_;
};

}  // namespace

comm::Result<std::unique_ptr<RunCall>> RunCall::open(const RunDoor& door) {
  auto channel = ControlChannel::open_local(address_of(door));
  RONDO_TRY(channel);
  return std::unique_ptr<RunCall>(std::make_unique<Calling>(door, *std::move(channel)));
}

}  // namespace rondo::launcher
