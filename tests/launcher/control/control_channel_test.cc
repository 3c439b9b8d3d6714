/// gRPC behind a door: the streams of the control plane between a coordinator and its agents, and who never gets there.
#include "launcher/control/control_channel.h"

#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "launcher/control/control_server.h"
#include "launcher/control/grpc_limits.h"
#include "proto/control.grpc.pb.h"
#include "tests/launcher/control/guests.h"

namespace rondo::test {
namespace {

using comm::Code;
using launcher::ControlChannel;
using launcher::ControlServer;
using testing::HasSubstr;

/// Answers every beat with a start of that generation, and counts who came.
class Coordinator final : public control::Coordination::Service {
 public:
  grpc::Status Attend(grpc::ServerContext*,
                      grpc::ServerReaderWriter<control::CoordinatorSays, control::AgentSays>* stream) override {
    ++streams;
    control::AgentSays said;
    while (stream->Read(&said)) {
      if (said.has_said()) {
        for (const std::string& line : said.said().lines()) lines_bytes += line.size();
      }
      if (said.has_goodbye()) break;
      control::CoordinatorSays answer;
      if (said.has_beat()) answer.mutable_start()->set_generation(static_cast<int>(said.beat().number()));
      if (said.has_event()) answer.mutable_finish()->set_cause(said.event().fields());
      stream->Write(answer);
    }
    return grpc::Status::OK;
  }
  std::atomic<int> streams{0};
  std::atomic<size_t> lines_bytes{0};
};

std::unique_ptr<ControlServer> serve(Coordinator& service, const std::vector<comm::Address>& addresses) {
  ControlServer::Options options;
  options.addresses = addresses;
  options.authority = authority_of(1);
  options.holder = {"coordinator", "node-0"};
  options.services = {&service};
  auto server = ControlServer::open(std::move(options));
  EXPECT_TRUE(server.ok()) << server.status().text();
  return std::move(*server);
}

std::unique_ptr<ControlChannel> call(const comm::Address& door, int secret = 1) {
  return ControlChannel::open(authority_of(secret),
                              {.doors = {door}, .holder = {"agent", "node-3"}, .open_by = comm::in_seconds(20)})
      .value();
}

comm::Address local_name() {
  static std::atomic<int> count{0};
  return {"unix:@rondo-control-test-" + std::to_string(::getpid()) + "-" + std::to_string(++count)};
}

/// A stream of an agent; every wait ends by a deadline.
struct Attendance {
  explicit Attendance(ControlChannel& channel, int seconds = 30)
      : stub(control::Coordination::NewStub(channel.channel())) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
    stream = stub->Attend(&context);
  }
  bool beat(uint64_t number) {
    control::AgentSays says;
    says.mutable_beat()->set_number(number);
    return stream->Write(says);
  }
  grpc::Status leave() {
    control::AgentSays says;
    says.mutable_goodbye();
    stream->Write(says);
    stream->WritesDone();
    control::CoordinatorSays rest;
    while (stream->Read(&rest)) continue;
    return stream->Finish();
  }
  std::unique_ptr<control::Coordination::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<control::AgentSays, control::CoordinatorSays>> stream;
};

class Channels : public testing::TestWithParam<const char*> {
 protected:
  static bool local() { return std::string(GetParam()) == "local"; }
  static std::unique_ptr<ControlChannel> open(const comm::Address& door) {
    return local() ? ControlChannel::open_local(door).value() : call(door);
  }
  Coordinator service_;
  std::unique_ptr<ControlServer> server_ = serve(service_, {local() ? local_name() : comm::Address{"tcp:127.0.0.1:0"}});
};

TEST_P(Channels, CarryMessagesInOrderBothWays) {
  const auto channel = open(server_->addresses().front());
  Attendance agent(*channel);
  std::thread writer([&] {
    for (uint64_t number = 1; number <= 500; ++number) ASSERT_TRUE(agent.beat(number));
  });
  control::CoordinatorSays answer;
  for (int number = 1; number <= 500; ++number) {
    ASSERT_TRUE(agent.stream->Read(&answer));
    ASSERT_EQ(answer.start().generation(), number);
  }
  writer.join();
  EXPECT_TRUE(agent.leave().ok());
  EXPECT_EQ(server_->guests(), 1u);
}

TEST_P(Channels, CarryMegabytes) {
  const auto channel = open(server_->addresses().front());
  Attendance agent(*channel);
  size_t sent = 0;
  for (int piece = 0; piece < 16; ++piece) {
    control::AgentSays says;
    says.mutable_said()->set_rank(piece);
    for (unsigned line = 0; line < 25; ++line) says.mutable_said()->add_lines(pattern(20'000, line));
    sent += 25 * 20'000;
    ASSERT_TRUE(agent.stream->Write(says));
    control::CoordinatorSays answer;
    ASSERT_TRUE(agent.stream->Read(&answer));
  }
  EXPECT_TRUE(agent.leave().ok());
  EXPECT_EQ(service_.lines_bytes, sent);
}

TEST_P(Channels, SeveralAgentsAtOnce) {
  std::vector<std::thread> agents;
  for (int agent = 0; agent < 4; ++agent) {
    agents.emplace_back([this, agent] {
      const auto channel = open(server_->addresses().front());
      Attendance attendance(*channel);
      for (int number = 1; number <= 20; ++number) {
        ASSERT_TRUE(attendance.beat(static_cast<uint64_t>(agent * 100 + number)));
        control::CoordinatorSays answer;
        ASSERT_TRUE(attendance.stream->Read(&answer));
        EXPECT_EQ(answer.start().generation(), agent * 100 + number);
      }
      EXPECT_TRUE(attendance.leave().ok());
    });
  }
  for (std::thread& agent : agents) agent.join();
  EXPECT_EQ(service_.streams, 4);
}

TEST_P(Channels, AMessageAboveTheLimitEndsTheCallAndNothingElse) {
  const auto channel = open(server_->addresses().front());
  {
    Attendance agent(*channel);
    control::AgentSays says;
    says.mutable_event()->set_fields(std::string(launcher::kMostMessageBytes + 1, 'x'));
    agent.stream->Write(says);
    agent.stream->WritesDone();
    const grpc::Status status = agent.stream->Finish();
    // gRPC ends the call, or the connection with it.
    EXPECT_THAT(status.error_code(),
                testing::AnyOf(grpc::StatusCode::RESOURCE_EXHAUSTED, grpc::StatusCode::UNAVAILABLE))
        << status.error_message();
  }
  Attendance agent(*channel);
  ASSERT_TRUE(agent.beat(1));
  EXPECT_TRUE(agent.leave().ok());
}

TEST_P(Channels, MetadataAboveTheLimitNeverReachAService) {
  const auto channel = open(server_->addresses().front());
  {
    Attendance agent(*channel);  // until both sides have heard of each other's limits gRPC knows none
    ASSERT_TRUE(agent.beat(1));
    ASSERT_TRUE(agent.leave().ok());
  }
  const auto stub = control::Coordination::NewStub(channel->channel());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  context.AddMetadata("padding", std::string(launcher::kMostMetadataBytes, 'x'));
  const auto stream = stub->Attend(&context);
  stream->WritesDone();
  const grpc::Status status = stream->Finish();
  // gRPC ends the call, or the connection with it.
  EXPECT_THAT(status.error_code(), testing::AnyOf(grpc::StatusCode::RESOURCE_EXHAUSTED, grpc::StatusCode::UNAVAILABLE))
      << status.error_message();
  EXPECT_EQ(service_.streams, 1);
}

TEST_P(Channels, ClosingTheServerEndsOpenStreamsByTheDeadline) {
  const auto channel = open(server_->addresses().front());
  Attendance agent(*channel);
  ASSERT_TRUE(agent.beat(1));
  control::CoordinatorSays answer;
  ASSERT_TRUE(agent.stream->Read(&answer));
  server_->close(comm::in_seconds(0.3));
  EXPECT_FALSE(agent.stream->Read(&answer));
  EXPECT_FALSE(agent.stream->Finish().ok());
}

TEST_P(Channels, AChannelThatClosesEndsInOrder) {
  auto channel = open(server_->addresses().front());
  {
    Attendance agent(*channel);
    ASSERT_TRUE(agent.beat(1));
    ASSERT_TRUE(agent.leave().ok());
  }
  channel->close(comm::in_seconds(20));
  if (!local()) {
    EXPECT_EQ(channel->status().code(), Code::kClosed) << channel->status().text();
  }
  server_->close(comm::in_seconds(20));
}

INSTANTIATE_TEST_SUITE_P(Ways, Channels, testing::Values("local", "tls"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST(ControlChannel, WhoDoesNotHoldTheSecretNeverReachesGrpc) {
  Coordinator service;
  const auto server = serve(service, {{"tcp:127.0.0.1:0"}});
  const comm::Address door = server->addresses().front();

  const auto wrong = call(door, 2);
  {
    Attendance agent(*wrong);
    agent.beat(1);
    EXPECT_EQ(agent.stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  const comm::Status status = wrong->wait_open(comm::in_seconds(20));
  EXPECT_EQ(status.code(), Code::kUnauthenticated) << status.text();
  EXPECT_THAT(status.message(), HasSubstr("another secret"));

  // What gRPC itself would say, and would be answered: an HTTP/2 preface with empty settings.
  const launcher::Descriptor plain = raw_connection(door);
  ASSERT_TRUE(send_all(plain, std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33)));
  EXPECT_TRUE(reaches_end(plain));
  EXPECT_TRUE(soon([&] { return server->refused() == 2; }));
  EXPECT_EQ(server->guests(), 0u);
  EXPECT_EQ(service.streams, 0);

  const auto right = call(door);
  Attendance agent(*right);
  ASSERT_TRUE(agent.beat(1));
  EXPECT_TRUE(agent.leave().ok());
  EXPECT_EQ(server->guests(), 1u);
}

TEST(ControlChannel, GrpcListensNowhere) {
  Coordinator service;
  const auto before = own_tcp_listeners();
  const auto server = serve(service, {{"tcp:127.0.0.1:0"}, local_name()});
  const auto listeners = own_tcp_listeners();
  ASSERT_EQ(listeners.size(), before.size() + 1);
  for (const std::string& listener : listeners) EXPECT_THAT(listener, testing::StartsWith("0100007F:"));
}

TEST(ControlChannel, ToAHostWithoutADoorSaysSo) {
  const auto channel = ControlChannel::open_local({"unix:@rondo-no-such-door"});
  EXPECT_EQ(channel.status().code(), Code::kPeerLost);
  EXPECT_THAT(channel.status().message(), HasSubstr("nobody answers at unix:@rondo-no-such-door"));
}

}  // namespace
}  // namespace rondo::test
