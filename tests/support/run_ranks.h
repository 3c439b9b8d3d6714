/// Threads as ranks: runs a test body once per rank and reports every failing rank by name.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "rondo/comm/collectives.h"
#include "rondo/comm/group.h"

/// Fails the test (or the rank) with the Status's text.
#define RONDO_ASSERT_OK(expression)                                         \
  do {                                                                      \
    const auto rondo_status = ::rondo::comm::detail::to_status(expression); \
    ASSERT_TRUE(rondo_status.ok()) << rondo_status.text();                  \
  } while (false)

namespace rondo::test {

struct RankOptions {
  comm::TransportKind transport = comm::TransportKind::kInproc;
  comm::GroupOptions group;
  std::chrono::seconds deadline{60};
  /// Of kShm. kShared: all ranks see one mapping, and so does a thread sanitizer. kOwn: each maps its peers' memory for
  /// itself, as processes do.
  enum class Mappings : uint8_t { kShared, kOwn } mappings = Mappings::kShared;
  std::shared_ptr<comm::Env> env = nullptr;  // shared by all ranks; null: the real one
  comm::LogSink log = nullptr;               // likewise
  comm::EndpointOptions::Probe probe = comm::EndpointOptions::Probe::kOff;
  comm::EndpointOptions::DataThread data_thread = comm::EndpointOptions::DataThread::kAuto;
};

/// Makes a job of `n` ranks, one thread each, and runs `body` with each rank's group of all ranks. Every rank closes
/// its group afterwards. The test fails, naming the ranks, when one throws or is not back by the deadline.
void run_ranks(int n, const std::function<void(comm::Group&)>& body, RankOptions options = {});

/// As run_ranks, but hands over the endpoint; the body makes its groups itself.
void run_endpoints(int n, const std::function<void(comm::Endpoint&)>& body, RankOptions options = {});

}  // namespace rondo::test
