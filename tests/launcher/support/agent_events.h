/// A coordinator that takes what an agent tells and does nothing.
#pragma once

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "launcher/agent/agent_link.h"

namespace rondo::test {

struct MockAgentEvents : launcher::AgentEvents {
  MOCK_METHOD(void, started, (int, pid_t), (override));
  MOCK_METHOD(void, start_failed, (const comm::Status&), (override));
  MOCK_METHOD(void, line, (int, launcher::Channel, std::string_view, comm::TimePoint), (override));
  MOCK_METHOD(void, speaks_rondo, (int), (override));
  MOCK_METHOD(void, message, (int, const proto::WorkerMessage&), (override));
  MOCK_METHOD(void, ended, (int, const launcher::RankEvidence&), (override));
  MOCK_METHOD(void, output_ended, (int, const Traces&), (override));
  MOCK_METHOD(void, asked, (int, const Asked&), (override));
  MOCK_METHOD(void, stacks, (int, const std::vector<std::string>&), (override));
  MOCK_METHOD(void, flight, (int, std::span<const std::byte>), (override));
  MOCK_METHOD(void, flights_taken, (const FlightsTaken&), (override));
  MOCK_METHOD(void, shortened, (const Shortened&), (override));
  MOCK_METHOD(void, usage, (const std::vector<RankUsage>&), (override));
  MOCK_METHOD(void, event, (const char*, const nlohmann::json&), (override));
  MOCK_METHOD(bool, congested, (), (const, override));
};

}  // namespace rondo::test
