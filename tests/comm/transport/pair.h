/// Two ends of a handshake or of a framed connection in a simulated world, driven in turn by one thread.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/sim/sim_env.h"
#include "comm/transport/handshake.h"

namespace rondo::comm {

inline Secret secret_of(int seed) {
  Digest bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(seed * 31 + static_cast<int>(i) * 7 + 1);
  return Secret(bytes);
}

inline JobId job_of(int seed) {
  JobId job;
  for (size_t i = 0; i < job.bytes.size(); ++i) job.bytes[i] = static_cast<std::byte>(seed * 17 + static_cast<int>(i));
  return job;
}

/// A connection of two plain streams in `world`.
struct StreamPair {
  std::unique_ptr<Stream> dialer;
  std::unique_ptr<Stream> acceptor;
};

inline StreamPair connect_pair(SimWorld& world, const std::string& name = "pair") {
  auto listening = world.env("acceptor");
  auto dialing = world.env("dialer");
  auto listener = listening->listen({"sim:" + name});
  StreamPair pair;
  pair.dialer = std::move(*dialing->dial({"sim:" + name}));
  pair.acceptor = (*listener)->accept();
  return pair;
}

/// Data of rank and index, so that a shifted or foreign byte shows.
inline std::vector<std::byte> pattern(int rank, size_t byte_count) {
  std::vector<std::byte> bytes(byte_count);
  for (size_t i = 0; i < byte_count; ++i)
    bytes[i] = static_cast<std::byte>((i * 131 + i / 251 + static_cast<size_t>(rank) * 59) & 0xFF);
  return bytes;
}

}  // namespace rondo::comm
