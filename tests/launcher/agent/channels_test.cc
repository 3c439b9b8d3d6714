#include "launcher/agent/channels.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <vector>

namespace rondo::launcher {
namespace {

proto::WorkerMessage say(const std::string& line) {
  proto::WorkerMessage message;
  message.mutable_say()->set_line(line);
  return message;
}

TEST(MessageReader, FindsTheMessagesHoweverTheBytesArrive) {
  const std::string bytes = framed(say("one")) + framed(say("")) + framed(say(std::string(5000, 'x')));
  for (const size_t piece : {size_t{1}, size_t{3}, size_t{4}, size_t{1000}, bytes.size()}) {
    MessageReader reader;
    std::vector<size_t> lengths;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      const auto status =
          reader.feed(std::string_view(bytes).substr(at, piece),
                      [&](const proto::WorkerMessage& message) { lengths.push_back(message.say().line().size()); });
      ASSERT_TRUE(status.ok()) << status.text();
    }
    EXPECT_EQ(lengths, (std::vector<size_t>{3, 0, 5000})) << "pieces of " << piece;
  }
}

TEST(MessageReader, RefusesALengthAboveTheLimitBeforeItTakesMemory) {
  MessageReader reader;
  const auto status = reader.feed("\xff\xff\xff\x7f", [](const proto::WorkerMessage&) { FAIL(); });
  EXPECT_EQ(status.code(), comm::Code::kCorrupt);
  EXPECT_NE(status.message().find("2147483647 bytes"), std::string::npos) << status.message();
}

TEST(MessageReader, RefusesBytesThatAreNoMessage) {
  MessageReader reader;
  const auto status = reader.feed(std::string("\x02\0\0\0\xff\xff", 6), [](const proto::WorkerMessage&) { FAIL(); });
  EXPECT_EQ(status.code(), comm::Code::kCorrupt);
}

TEST(ControlLink, SendsVerdictsAndReceivesBeats) {
  auto pair = make_socket_pair();
  ASSERT_TRUE(pair.ok());
  ControlLink link(std::move(pair->ours));
  link.send({.kind = comm::ControlKind::kVerdict, .rank = 1, .pid = 77, .exit_code = -1, .signal_number = 9},
            comm::Clock::now());
  std::array<std::byte, comm::kControlFrameBytes> bytes;
  ASSERT_EQ(::recv(pair->theirs.get(), bytes.data(), bytes.size(), MSG_WAITALL), 64);
  const auto verdict = comm::decode_control(bytes);
  ASSERT_TRUE(verdict.ok());
  EXPECT_EQ(verdict->rank, 1);
  EXPECT_EQ(verdict->pid, 77);
  EXPECT_EQ(verdict->signal_number, 9);

  const auto beat = comm::encode({.kind = comm::ControlKind::kBeat, .rank = 3});
  ASSERT_EQ(::write(pair->theirs.get(), beat.data(), 40), 40);
  std::vector<int> beats;
  const auto take = [&](const comm::ControlFrame& frame) { beats.push_back(frame.rank); };
  EXPECT_TRUE(link.receive(take).ok());
  EXPECT_TRUE(beats.empty()) << "half a frame is none";
  ASSERT_EQ(::write(pair->theirs.get(), beat.data() + 40, 24), 24);
  EXPECT_TRUE(link.receive(take).ok());
  EXPECT_EQ(beats, std::vector<int>{3});

  pair->theirs.reset();
  EXPECT_EQ(link.receive(take).code(), comm::Code::kClosed);
  link.send({.kind = comm::ControlKind::kVerdict}, comm::Clock::now());  // to nobody: no signal, no error
}

TEST(ControlLink, RefusesForeignBytes) {
  auto pair = make_socket_pair();
  ASSERT_TRUE(pair.ok());
  ControlLink link(std::move(pair->ours));
  const std::array<char, 64> junk{'G', 'E', 'T', ' ', '/'};
  ASSERT_EQ(::write(pair->theirs.get(), junk.data(), junk.size()), 64);
  EXPECT_EQ(link.receive([](const comm::ControlFrame&) { FAIL(); }).code(), comm::Code::kCorrupt);
}

}  // namespace
}  // namespace rondo::launcher
