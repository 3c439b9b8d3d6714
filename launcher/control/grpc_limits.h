/// The limits under which gRPC runs here, on both sides: set in one place, so that nobody forgets one. Whoever reaches
/// gRPC holds the job's secret or is its user; the limits keep a mistake of his from becoming everybody's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace grpc {
class ChannelArguments;
class ServerBuilder;
}  // namespace grpc

namespace rondo::launcher {

/// What `AgentHello.protocol` says; raised when the two sides would misunderstand each other.
inline constexpr uint32_t kControlProtocol = 1;

inline constexpr int kMostMessageBytes = 1 << 20;  // whoever has more to say cuts it into batches
inline constexpr int kMostMetadataBytes = 8 * 1024;
inline constexpr int kMostStreams = 16;    // of one connection
inline constexpr int kMostThreads = 1024;  // a stream that is served takes one while it lasts
inline constexpr size_t kMostMemory = size_t{256} << 20;

/// Of the gRPC that is linked in: "1.51.1".
std::string grpc_version();

void set_limits(grpc::ServerBuilder& builder);
void set_limits(grpc::ChannelArguments& arguments);

}  // namespace rondo::launcher
