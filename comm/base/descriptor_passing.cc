#include "comm/base/descriptor_passing.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace rondo::comm {
namespace {

/// A message of one part with room for one descriptor beside it.
struct Envelope {
  explicit Envelope(std::span<std::byte> note) : part{.iov_base = note.data(), .iov_len = note.size()} {
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = room.data();
    message.msg_controllen = room.size();
  }
  iovec part;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room{};
  msghdr message{};
};

}  // namespace

AbstractAddress abstract_address(const std::string& name) {
  AbstractAddress result;
  result.address.sun_family = AF_UNIX;
  const size_t kept = std::min(name.size(), sizeof(result.address.sun_path) - 1);
  std::copy_n(name.begin(), kept, result.address.sun_path + 1);
  result.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + kept);
  return result;
}

bool same_user(int socket) {
  ucred who{};
  socklen_t length = sizeof(who);
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 && who.uid == ::geteuid();
}

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

bool send_descriptor(int socket, std::span<const std::byte> note, int descriptor) {
  // sendmsg() does not write to what it sends.
  Envelope envelope({const_cast<std::byte*>(note.data()), note.size()});
  cmsghdr* rights = CMSG_FIRSTHDR(&envelope.message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(rights), &descriptor, sizeof(int));
  return ::sendmsg(socket, &envelope.message, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(note.size());
}

ReceivedDescriptor receive_descriptor(int socket, std::span<std::byte> note) {
  Envelope envelope(note);
  ReceivedDescriptor result;
  result.bytes = ::recvmsg(socket, &envelope.message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (result.bytes < 0) {
    result.error = errno;
    return result;
  }
  for (cmsghdr* part = CMSG_FIRSTHDR(&envelope.message); part != nullptr; part = CMSG_NXTHDR(&envelope.message, part)) {
    if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS && part->cmsg_len == CMSG_LEN(sizeof(int)))
      std::memcpy(&result.descriptor, CMSG_DATA(part), sizeof(int));
  }
  return result;
}

}  // namespace rondo::comm
