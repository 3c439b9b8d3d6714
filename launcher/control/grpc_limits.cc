#include "launcher/control/grpc_limits.h"

#include <grpc/impl/codegen/grpc_types.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/channel_arguments.h>

#include <climits>

namespace rondo::launcher {
namespace {

// gRPC asks nobody whether he still lives: a channel whose line still dials would take itself for dead, and an agent
// that somebody stopped for a while would be lost. A dead host is seen by its line (notice_silence), a dead process by
// the end of its socket. Who asks all the same may do so this often, and not much more often.
constexpr int kAskedNotBeforeMs = 5'000;
constexpr int kMostStrikes = 4;

template <typename Set>
void set_both(const Set& set) {
  set(GRPC_ARG_MAX_METADATA_SIZE, kMostMetadataBytes);
  set(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 64 * 1024);
  set(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Windows that grow let more be written than the socket to the line holds. gRPC then starts a poller of its own,
  // which its shutdown waits for: the process would end up to 10 s late.
  set(GRPC_ARG_HTTP2_BDP_PROBE, 0);
}

}  // namespace

std::string grpc_version() { return grpc::Version(); }

void set_limits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMostMessageBytes);
  builder.SetMaxSendMessageSize(kMostMessageBytes);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
  grpc::ResourceQuota quota("rondo");
  quota.SetMaxThreads(kMostThreads).Resize(kMostMemory);
  builder.SetResourceQuota(quota);
  const auto set = [&builder](const char* name, int value) { builder.AddChannelArgument(name, value); };
  set_both(set);
  set(GRPC_ARG_KEEPALIVE_TIME_MS, INT_MAX);  // a server's default is two hours
  set(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMostStreams);
  set(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kAskedNotBeforeMs);
  set(GRPC_ARG_HTTP2_MAX_PING_STRIKES, kMostStrikes);
}

void set_limits(grpc::ChannelArguments& arguments) {
  arguments.SetMaxReceiveMessageSize(kMostMessageBytes);
  arguments.SetMaxSendMessageSize(kMostMessageBytes);
  set_both([&arguments](const char* name, int value) { arguments.SetInt(name, value); });
}

}  // namespace rondo::launcher
