/// Passing open descriptors between processes of one user on one host: abstract Unix sockets (no file, gone with the
/// last descriptor) and SCM_RIGHTS. Threading: any.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <span>
#include <string>

namespace rondo::comm {

struct AbstractAddress {
  sockaddr_un address{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};
/// `name` after a zero byte; cut at 107 bytes.
AbstractAddress abstract_address(const std::string& name);

/// The kernel says that the process at the other end belongs to this user.
bool same_user(int socket);

/// errno of a call that may be tried again.
bool would_block(int error);

/// Sends `note` with one descriptor, without blocking; a small note goes whole or not at all. False: see errno.
bool send_descriptor(int socket, std::span<const std::byte> note, int descriptor);

struct ReceivedDescriptor {
  ptrdiff_t bytes = -1;  // of the note; 0: end of stream; -1: see error
  int error = 0;
  int descriptor = -1;  // the caller's to close; -1: none came
};
/// Receives what send_descriptor() sent, without blocking; the descriptor is close-on-exec.
ReceivedDescriptor receive_descriptor(int socket, std::span<std::byte> note);

}  // namespace rondo::comm
