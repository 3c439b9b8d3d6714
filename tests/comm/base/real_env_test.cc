#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/address.h"
#include "rondo/comm/env.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

TEST(Address, TextAndSocketAddressAreTheSameThing) {
  for (const char* text :
       {"tcp:127.0.0.1:4711", "tcp:127.8.9.10:1", "tcp:[::1]:65535", "unix:@rondo", "tcp:127.0.0.1:0"}) {
    const auto parsed = parse_address({text});
    ASSERT_TRUE(parsed.ok()) << parsed.status().text();
    EXPECT_EQ(format_address(*parsed).text, text);
  }
  const std::string longest = "unix:@" + std::string(107, 'x');
  ASSERT_TRUE(parse_address({longest}).ok());
  EXPECT_EQ(format_address(*parse_address({longest})).text, longest);
}

TEST(Address, WhatIsNoAddressIsRefusedWithItsText) {
  for (const char* text :
       {"", "tcp", "tcp:", "tcp:127.0.0.1", "tcp:127.0.0.1:", "tcp:127.0.0.1:x", "tcp:127.0.0.1:65536",
        "tcp:127.0.0.1:-1", "tcp:127.0.0.1:1 ", "tcp:localhost:1", "tcp:[::1:1", "tcp:1.2.3:1", "unix:", "unix:@",
        "unix:/tmp/socket", "udp:127.0.0.1:1", "sim:a"}) {
    const Status status = parse_address({text}).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << text;
    EXPECT_NE(status.message().find("\"" + std::string(text) + "\""), std::string::npos) << status.text();
  }
  EXPECT_EQ(parse_address({"unix:@" + std::string(108, 'x')}).status().code(), Code::kInvalidArgument);
}

TEST(Address, WildcardsAreRefused) {
  for (const char* text : {"tcp:0.0.0.0:1", "tcp:[::]:1", "tcp::1", "tcp:*:1"}) {
    const Status status = parse_address({text}).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << text;
    EXPECT_NE(status.message().find("wildcard"), std::string::npos) << status.text();
  }
  EXPECT_EQ(parse_address({"tcp:[::ffff:0.0.0.0]:1"}).status().code(), Code::kInvalidArgument) << "one in disguise";
}

std::vector<std::string> places() {
  std::array<std::byte, 4> random;
  real_env()->random(random);
  std::string name = "unix:@rondo-env-test";
  for (std::byte byte : random) name += "." + std::to_string(std::to_integer<int>(byte));
  return {"tcp:127.0.0.1:0", name};
}

struct Connected {
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Stream> dialer, acceptor;
};

Connected connect(Env& env, const std::string& place) {
  Connected result;
  auto listener = env.listen({place});
  EXPECT_TRUE(listener.ok()) << listener.status().text();
  result.listener = *std::move(listener);
  auto dialer = env.dial(result.listener->address());
  EXPECT_TRUE(dialer.ok()) << dialer.status().text();
  result.dialer = *std::move(dialer);
  const std::array<WaitHandle, 1> handles{WaitHandle{result.listener->handle()}};
  for (int i = 0; i < 1000 && !result.acceptor; ++i) {
    env.idle(handles, 10ms);
    result.acceptor = result.listener->accept();
  }
  return result;
}

TEST(RealEnv, MovesBytesBothWaysAndTellsTheEnd) {
  auto env = real_env();
  for (const std::string& place : places()) {
    SCOPED_TRACE(place);
    Connected both = connect(*env, place);
    ASSERT_NE(both.acceptor, nullptr);
    const std::string head = "head ", body = "and body";
    ASSERT_EQ(both.dialer->write(std::as_bytes(std::span(head)), std::as_bytes(std::span(body))).bytes, 13u);
    std::array<char, 64> into{};
    IoResult got = both.acceptor->read(std::as_writable_bytes(std::span(into)));
    EXPECT_EQ(std::string(into.data(), got.bytes), "head and body");
    EXPECT_EQ(both.acceptor->read(std::as_writable_bytes(std::span(into))).state, IoResult::State::kWouldBlock);
    ASSERT_EQ(both.acceptor->write({}, std::as_bytes(std::span(body))).bytes, body.size());
    EXPECT_EQ(both.dialer->read(std::as_writable_bytes(std::span(into))).bytes, body.size());
    both.acceptor->close();
    EXPECT_EQ(both.dialer->read(std::as_writable_bytes(std::span(into))).state, IoResult::State::kClosed);
  }
}

TEST(RealEnv, AWriteToAPeerThatIsGoneFailsWithoutASignal) {
  auto env = real_env();
  for (const std::string& place : places()) {
    Connected both = connect(*env, place);
    both.acceptor.reset();
    const std::string text = "hello";
    IoResult result;
    for (int i = 0; i < 100 && result.state == IoResult::State::kDone; ++i) {
      result = both.dialer->write(std::as_bytes(std::span(text)), {});
    }
    EXPECT_EQ(result.state, IoResult::State::kFailed);
    EXPECT_TRUE(result.error == EPIPE || result.error == ECONNRESET) << result.error;
  }
}

TEST(RealEnv, AFullConnectionWouldBlockAndIdleSeesItDrained) {
  auto env = real_env();
  for (const std::string& place : places()) {
    Connected both = connect(*env, place);
    const std::vector<std::byte> much(1 << 20);
    size_t sent = 0;
    IoResult result;
    while ((result = both.dialer->write(much, {})).state == IoResult::State::kDone) sent += result.bytes;
    EXPECT_EQ(result.state, IoResult::State::kWouldBlock);
    std::vector<std::byte> into(1 << 20);
    size_t got = 0;
    while ((result = both.acceptor->read(into)).state == IoResult::State::kDone) got += result.bytes;
    EXPECT_GT(got, 0u);
    const std::array<WaitHandle, 1> handles{WaitHandle{both.dialer->handle(), true}};
    const TimePoint start = env->now();
    env->idle(handles, 10s);
    EXPECT_LT(env->now() - start, 5s);
  }
}

TEST(RealEnv, ADialThatIsRefusedFailsAtTheFirstReadOrWrite) {
  auto env = real_env();
  for (const std::string& place : places()) {
    auto listener = env->listen({place});
    ASSERT_TRUE(listener.ok());
    const Address address = (*listener)->address();
    listener->reset();
    auto stream = env->dial(address);
    ASSERT_TRUE(stream.ok()) << stream.status().text();
    std::array<std::byte, 1> into{};
    IoResult result{IoResult::State::kWouldBlock};
    const std::array<WaitHandle, 1> handles{WaitHandle{(*stream)->handle(), true}};
    for (int i = 0; i < 100 && result.state == IoResult::State::kWouldBlock; ++i) {
      env->idle(handles, 10ms);
      result = (*stream)->read(into);
    }
    EXPECT_EQ(result.state, IoResult::State::kFailed);
    EXPECT_EQ(result.error, ECONNREFUSED);
  }
}

TEST(RealEnv, OnlyUnixSocketsProveTheUserAtTheOtherEnd) {
  auto env = real_env();
  const auto where = places();
  EXPECT_EQ(connect(*env, where[0]).acceptor->peer_uid(), -1);
  const Connected local = connect(*env, where[1]);
  EXPECT_EQ(local.acceptor->peer_uid(), static_cast<int64_t>(geteuid()));
  EXPECT_EQ(local.dialer->peer_uid(), static_cast<int64_t>(geteuid()));
}

TEST(RealEnv, DescriptorsAreNotInheritedByPrograms) {
  auto env = real_env();
  for (const std::string& place : places()) {
    const Connected both = connect(*env, place);
    for (int handle : {both.listener->handle(), both.dialer->handle(), both.acceptor->handle()}) {
      EXPECT_NE(fcntl(handle, F_GETFD) & FD_CLOEXEC, 0);
    }
  }
}

TEST(RealEnv, ATakenAddressIsToldWithItsText) {
  auto env = real_env();
  for (const std::string& place : places()) {
    auto first = env->listen({place});
    ASSERT_TRUE(first.ok());
    const Status status = env->listen((*first)->address()).status();
    EXPECT_EQ(status.code(), Code::kIo);
    EXPECT_NE(status.message().find((*first)->address().text), std::string::npos) << status.text();
  }
}

TEST(RealEnv, IdleWithoutHandlesPassesTheTimeAndRandomBytesDiffer) {
  auto env = real_env();
  const TimePoint start = env->now();
  env->idle({}, 5ms);
  EXPECT_GE(env->now() - start, 4ms);
  std::array<std::byte, 32> a{}, b{};
  env->random(a);
  env->random(b);
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace rondo::comm
