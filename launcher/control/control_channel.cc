#include "launcher/control/control_channel.h"

#include <grpcpp/channel.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/socket.h>

#include <utility>

#include "launcher/control/grpc_limits.h"
#include "launcher/control/local_socket.h"

namespace rondo::launcher {
namespace {

comm::Result<std::shared_ptr<grpc::Channel>> channel_over(Descriptor end) {
  const int handle = handed_over(std::move(end));
  if (handle < 0) return system_error("duplicating a connection's descriptor");
  // Room for the largest message that we send and all that may be under way before it; see set_both in grpc_limits.cc.
  // The system takes it for as much as it allows, which by default is twice what a socket begins with.
  const int room = 2 * kMostMessageBytes;
  ::setsockopt(handle, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  grpc::ChannelArguments arguments;
  set_limits(arguments);
  return grpc::CreateCustomInsecureChannelFromFd("rondo", handle, arguments);
}

}  // namespace

comm::Result<std::unique_ptr<ControlChannel>> ControlChannel::open(const Authority& authority, Line::Options options) {
  auto line = Line::open(authority, std::move(options));
  RONDO_TRY(line);
  std::unique_ptr<ControlChannel> opened(new ControlChannel);
  auto channel = channel_over((*line)->take_end());
  RONDO_TRY(channel);
  opened->channel_ = std::move(*channel);
  opened->line_ = std::move(*line);
  return opened;
}

comm::Result<std::unique_ptr<ControlChannel>> ControlChannel::open_local(const comm::Address& door) {
  auto end = call_local(door);
  RONDO_TRY(end);
  std::unique_ptr<ControlChannel> opened(new ControlChannel);
  auto channel = channel_over(std::move(*end));
  RONDO_TRY(channel);
  opened->channel_ = std::move(*channel);
  return opened;
}

ControlChannel::~ControlChannel() { close({comm::Clock::now()}); }

void ControlChannel::close(comm::Deadline deadline) {
  channel_.reset();  // closes its end
  if (line_) line_->close(deadline);
}

}  // namespace rondo::launcher
