/// A TCP connection between two hosts of a test, without anything of Rondo in it: what a cable does shows plainly.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "rondo/comm/env.h"
#include "tests/support/hosts.h"

namespace rondo::test {

class PlainLink {
 public:
  struct Ends {
    int from = 0, to = 1;
    std::string address;  // of `to`
  };
  PlainLink(const Hosts& hosts, const Ends& ends) {
    const bool v6 = ends.address.find(':') != std::string::npos;
    const std::string place = "tcp:" + (v6 ? "[" + ends.address + "]" : ends.address);
    hosts.inside(ends.to, [&] { listener_ = made(env_->listen({place + ":0"})); });
    hosts.inside(ends.from, [&] { sender_ = made(env_->dial(listener_->address())); });
    const auto until = env_->now() + std::chrono::seconds(10);
    while (!receiver_ && env_->now() < until) {
      const comm::WaitHandle caller{listener_->handle()};
      env_->idle({&caller, 1}, std::chrono::milliseconds(10));
      receiver_ = listener_->accept();
    }
    if (!receiver_) throw std::runtime_error("nobody came to " + place);
  }
  ~PlainLink() {
    if (writer_.joinable()) writer_.join();
  }

  /// Beside the receiver: more than the sockets hold would block for ever.
  void send(const std::vector<unsigned char>& data) {
    if (writer_.joinable()) writer_.join();
    writer_ = std::thread([this, data] {
      auto left = std::as_bytes(std::span(data));
      const auto until = env_->now() + std::chrono::seconds(20);
      while (!left.empty() && env_->now() < until) {
        const comm::IoResult result = sender_->write(left, {});
        left = left.subspan(result.bytes);
        const comm::WaitHandle room{sender_->handle(), true};
        if (result.bytes == 0) env_->idle({&room, 1}, std::chrono::milliseconds(10));
      }
    });
  }
  /// As much of it as came in time.
  std::vector<unsigned char> receive(size_t bytes, std::chrono::milliseconds deadline) {
    std::vector<unsigned char> data(bytes);
    size_t have = 0;
    const auto until = env_->now() + deadline;
    while (have < bytes && env_->now() < until) {
      const comm::IoResult result = receiver_->read(std::as_writable_bytes(std::span(data)).subspan(have));
      have += result.bytes;
      const comm::WaitHandle more{receiver_->handle()};
      if (result.bytes == 0) env_->idle({&more, 1}, std::chrono::milliseconds(10));
    }
    data.resize(have);
    return data;
  }

 private:
  template <typename Made>
  static Made made(comm::Result<Made> result) {
    if (!result.ok()) throw std::runtime_error(result.status().text());
    return *std::move(result);
  }

  const std::shared_ptr<comm::Env> env_ = comm::real_env();
  std::unique_ptr<comm::Listener> listener_;
  std::unique_ptr<comm::Stream> sender_, receiver_;
  std::thread writer_;
};

}  // namespace rondo::test
