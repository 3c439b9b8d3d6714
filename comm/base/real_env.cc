#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "comm/base/address.h"
#include "rondo/comm/check.h"
#include "rondo/comm/env.h"

namespace rondo::comm {
namespace {

/// One open descriptor, closed at the end of its life.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() { reset(); }
  int get() const { return number_; }
  void reset() {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
  }

 private:
  int number_;
};

std::string words(int error) { return std::generic_category().message(error); }

Status failed(const char* call, const Address& address, int error) {
  const bool short_of = error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
  return {short_of ? Code::kResource : Code::kIo, std::string(call) + " " + address.text + ": " + words(error)};
}

IoResult from_errno(int error) {
  if (error == EAGAIN || error == EWOULDBLOCK) return {IoResult::State::kWouldBlock};
  return {IoResult::State::kFailed, 0, error};
}

void send_without_delay(int descriptor, int family) {
  const int on = 1;
  if (family != AF_UNIX) setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

class SocketStream final : public Stream {
 public:
  enum class Phase : uint8_t { kConnecting, kOpen, kFailed };
  SocketStream(Descriptor descriptor, Phase phase, int error = 0)
      : descriptor_(std::move(descriptor)), phase_(phase), error_(error) {}

  IoResult read(std::span<std::byte> into) override {
    if (const IoResult state = ready(); state.state != IoResult::State::kDone) return state;
    if (into.empty()) return {};
    for (;;) {
      const ssize_t count = ::recv(descriptor_.get(), into.data(), into.size(), MSG_DONTWAIT);
      if (count > 0) return {IoResult::State::kDone, static_cast<size_t>(count)};
      if (count == 0) return {IoResult::State::kClosed};
      if (errno != EINTR) return from_errno(errno);
    }
  }

  IoResult write(std::span<const std::byte> head, std::span<const std::byte> body) override {
    if (const IoResult state = ready(); state.state != IoResult::State::kDone) return state;
    if (head.empty() && body.empty()) return {};
    iovec parts[2] = {{const_cast<std::byte*>(head.data()), head.size()},
                      {const_cast<std::byte*>(body.data()), body.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    for (;;) {
      const ssize_t count = ::sendmsg(descriptor_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count >= 0) return {IoResult::State::kDone, static_cast<size_t>(count)};
      if (errno != EINTR) return from_errno(errno);
    }
  }

  void close() override {
    descriptor_.reset();
    phase_ = Phase::kFailed;
    error_ = EBADF;
  }

  int handle() const override { return descriptor_.get(); }

  int64_t peer_uid() const override {
    sockaddr_storage local{};
    socklen_t length = sizeof local;
    if (getsockname(descriptor_.get(), reinterpret_cast<sockaddr*>(&local), &length) != 0) return -1;
    if (local.ss_family != AF_UNIX) return -1;
    ucred credentials{};
    length = sizeof credentials;
    if (getsockopt(descriptor_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return -1;
    return credentials.uid;
  }

 private:
  /// kDone once connected.
  IoResult ready() {
    if (phase_ == Phase::kConnecting) finish_connect();
    if (phase_ == Phase::kConnecting) return {IoResult::State::kWouldBlock};
    if (phase_ == Phase::kFailed) return {IoResult::State::kFailed, 0, error_};
    return {};
  }

  void finish_connect() {
    pollfd waiting{descriptor_.get(), POLLOUT, 0};
    if (::poll(&waiting, 1, 0) <= 0) return;
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(descriptor_.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
    if (error == 0 && connected_to_itself()) error = ECONNREFUSED;
    error_ = error;
    phase_ = error == 0 ? Phase::kOpen : Phase::kFailed;
  }

  /// A dial to a port where nobody listens can meet itself when the kernel picks that very port as the source.
  bool connected_to_itself() const {
    SocketAddress mine, theirs;
    mine.length = theirs.length = sizeof(sockaddr_storage);
    if (getsockname(descriptor_.get(), mine.get(), &mine.length) != 0) return false;
    if (getpeername(descriptor_.get(), theirs.get(), &theirs.length) != 0) return false;
    return mine.family() != AF_UNIX && format_address(mine) == format_address(theirs);
  }

  Descriptor descriptor_;
  Phase phase_;
  int error_;
};

class SocketListener final : public Listener {
 public:
  SocketListener(Descriptor descriptor, Address address)
      : descriptor_(std::move(descriptor)), address_(std::move(address)) {}

  std::unique_ptr<Stream> accept() override {
    for (;;) {
      sockaddr_storage from{};
      socklen_t length = sizeof from;
      Descriptor accepted(
          ::accept4(descriptor_.get(), reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (accepted.get() >= 0) {
        send_without_delay(accepted.get(), from.ss_family);
        return std::make_unique<SocketStream>(std::move(accepted), SocketStream::Phase::kOpen);
      }
      if (errno != EINTR && errno != ECONNABORTED) return nullptr;
    }
  }

  Address address() const override { return address_; }
  int handle() const override { return descriptor_.get(); }

 private:
  Descriptor descriptor_;
  Address address_;
};

class RealEnv final : public Env {
 public:
  TimePoint now() override { return Clock::now(); }

  void random(std::span<std::byte> into) override {
    while (!into.empty()) {
      const ssize_t count = ::getrandom(into.data(), into.size(), 0);
      if (count < 0 && errno == EINTR) continue;
      RONDO_CHECK(count > 0, "the kernel must give random bytes: getrandom() exists since Linux 3.17");
      into = into.subspan(static_cast<size_t>(count));
    }
  }

  Result<std::unique_ptr<Listener>> listen(const Address& address) override {
    Result<SocketAddress> place = parse_address(address);
    RONDO_TRY(place);
    Descriptor socket(::socket(place->family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket.get() < 0) return failed("socket for", address, errno);
    const int on = 1;
    if (place->family() != AF_UNIX) setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(socket.get(), place->get(), place->length) != 0) return failed("bind to", address, errno);
    if (::listen(socket.get(), kBacklog) != 0) return failed("listen on", address, errno);
    SocketAddress bound;
    bound.length = sizeof bound.storage;
    if (getsockname(socket.get(), bound.get(), &bound.length) != 0) return failed("getsockname of", address, errno);
    return std::unique_ptr<Listener>(std::make_unique<SocketListener>(std::move(socket), format_address(bound)));
  }

  Result<std::unique_ptr<Stream>> dial(const Address& address) override {
    Result<SocketAddress> place = parse_address(address);
    RONDO_TRY(place);
    Descriptor socket(::socket(place->family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket.get() < 0) return failed("socket for", address, errno);
    send_without_delay(socket.get(), place->family());
    int error = 0;
    // Interrupted, the connect goes on by itself, exactly as with EINPROGRESS.
    if (::connect(socket.get(), place->get(), place->length) != 0) error = errno == EINTR ? EINPROGRESS : errno;
    // Also when it succeeded at once: the first read or write looks whether it met itself.
    const auto phase =
        error == 0 || error == EINPROGRESS ? SocketStream::Phase::kConnecting : SocketStream::Phase::kFailed;
    return std::unique_ptr<Stream>(std::make_unique<SocketStream>(std::move(socket), phase, error));
  }

  void idle(std::span<const WaitHandle> handles, Duration at_most) override {
    std::vector<pollfd> waiting;
    waiting.reserve(handles.size());
    for (const WaitHandle& handle : handles) {
      const int events = handle.also_writable ? POLLIN | POLLOUT : POLLIN;
      waiting.push_back({handle.handle, static_cast<int16_t>(events), 0});
    }
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(std::max(at_most, Duration::zero()));
    const timespec time{static_cast<time_t>(left.count() / 1'000'000'000),
                        static_cast<long>(left.count() % 1'000'000'000)};
    ::ppoll(waiting.data(), waiting.size(), &time, nullptr);  // early return on a signal: the caller loops
  }

 private:
  static constexpr int kBacklog = 512;
};

}  // namespace

std::shared_ptr<Env> real_env() { return std::make_shared<RealEnv>(); }

}  // namespace rondo::comm
