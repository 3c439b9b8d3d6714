/// An Env with a clock, randomness and a sleep, but no network: for parts that need none.
#pragma once

#include <sys/random.h>

#include <thread>

#include "rondo/comm/env.h"

namespace rondo::test {

class ClockEnv final : public comm::Env {
 public:
  comm::TimePoint now() override { return comm::Clock::now(); }
  void random(std::span<std::byte> into) override {
    if (::getrandom(into.data(), into.size(), 0) != static_cast<ssize_t>(into.size())) std::terminate();
  }
  comm::Result<std::unique_ptr<comm::Listener>> listen(const comm::Address&) override {
    return comm::Status(comm::Code::kUnsupported, "no network");
  }
  comm::Result<std::unique_ptr<comm::Stream>> dial(const comm::Address&) override {
    return comm::Status(comm::Code::kUnsupported, "no network");
  }
  void idle(std::span<const comm::WaitHandle>, comm::Duration at_most) override {
    std::this_thread::sleep_for(at_most);
  }
};

}  // namespace rondo::test
