#include "launcher/bench/first_instructions.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "launcher/agent/line_format.h"

namespace rondo::launcher {

comm::Result<FirstInstructions> FirstInstructions::open() {
  FirstInstructions all;
  all.socket_ = Descriptor(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // An address of the family alone: the kernel draws an abstract name.
  if (!all.socket_.open() || ::setsockopt(all.socket_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      ::bind(all.socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address.sun_family) != 0)
    return system_error("a socket for first instructions");
  socklen_t length = sizeof address;
  if (::getsockname(all.socket_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0)
    return system_error("getsockname");
  all.name_.assign(address.sun_path + 1, length - offsetof(sockaddr_un, sun_path) - 1);
  return all;
}

comm::Result<bool> FirstInstructions::receive() {
  std::array<char, 128> text{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
  iovec piece{.iov_base = text.data(), .iov_len = text.size() - 1};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC) < 0) {
    if (errno == EAGAIN || errno == EINTR) return false;
    return system_error("recvmsg");
  }
  ucred sender{};
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_CREDENTIALS) return true;
  std::memcpy(&sender, CMSG_DATA(header), sizeof sender);
  int rank = 0, generation = 0;
  long long nanoseconds = 0;
  // Anybody on this host may write here; whom we may not kill is no rank of ours.
  if (sender.uid != ::geteuid() || std::sscanf(text.data(), "%d %d %lld", &rank, &generation, &nanoseconds) != 3)
    return true;
  seen_[generation][rank] = {.pid = sender.pid, .at = comm::TimePoint(std::chrono::nanoseconds(nanoseconds))};
  return true;
}

comm::Result<std::map<int, FirstInstructions::Rank>> FirstInstructions::wait(int generation, int ranks,
                                                                             const Descriptor& launcher,
                                                                             comm::Deadline deadline) {
  while (true) {
    for (bool more = true; more;) {
      const auto received = receive();
      RONDO_TRY(received.status());
      more = *received;
    }
    const auto& seen = seen_[generation];
    std::vector<int> missing;
    for (int rank = 0; rank < ranks; ++rank) {
      if (!seen.contains(rank)) missing.push_back(rank);
    }
    if (missing.empty()) return seen;
    const std::string who =
        "generation " + std::to_string(generation) + ": ranks " + rank_ranges(missing) + " have not run an instruction";
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.left(comm::Clock::now())).count();
    if (left == 0) return comm::Status(comm::Code::kTimeout, who + " before the deadline");
    std::array<pollfd, 2> ready{pollfd{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                                pollfd{.fd = launcher.get(), .events = POLLIN, .revents = 0}};
    ::poll(ready.data(), ready.size(), static_cast<int>(std::min<int64_t>(left, 60'000)));
    // What was sent before the launcher ended is read first.
    if (ready[0].revents == 0 && ready[1].revents != 0)
      return comm::Status(comm::Code::kClosed, who + ", and the launcher ended");
  }
}

}  // namespace rondo::launcher
