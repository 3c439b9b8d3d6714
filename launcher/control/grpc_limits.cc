#include "launcher/control/grpc_limits.h"

#include <grpc/impl/codegen/grpc_types.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/channel_arguments.h>

namespace rondo::launcher {
namespace {

// A side that says nothing is asked whether it lives; one that does not answer is gone. The other side may be asked as
// often, and not much more often.
constexpr int kAskAfterMs = 10'000;
constexpr int kAnswerWithinMs = 10'000;
constexpr int kAskedNotBeforeMs = 5'000;
constexpr int kMostStrikes = 4;

template <typename Set>
void set_both(const Set& set) {
  set(GRPC_ARG_MAX_METADATA_SIZE, kMostMetadataBytes);
  set(GRPC_ARG_KEEPALIVE_TIME_MS, kAskAfterMs);
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kAnswerWithinMs);
  set(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  set(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // as many as asked for: the other side's strikes bound them
  set(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 64 * 1024);
  set(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
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
