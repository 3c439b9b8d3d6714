#include "launcher/base/descriptor.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace rondo::launcher {

void Descriptor::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

comm::Status system_error(const std::string& what) {
  const int error = errno;
  return {comm::Code::kIo, what + ": " + std::strerror(error)};
}

comm::Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_error("pipe");
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

comm::Result<Descriptor> pipe_with(std::string_view bytes) {
  auto pipe = make_pipe();
  RONDO_TRY(pipe);
  RONDO_TRY(set_non_blocking(pipe->write_end));  // more than a pipe holds is an error, not a wait
  RONDO_TRY(write_all(pipe->write_end, bytes));
  return std::move(pipe->read_end);
}

comm::Result<SocketPair> make_socket_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return system_error("socketpair");
  SocketPair pair{Descriptor(ends[0]), Descriptor(ends[1])};
  RONDO_TRY(set_non_blocking(pair.ours));
  return pair;
}

comm::Status set_non_blocking(const Descriptor& descriptor) {
  const int flags = ::fcntl(descriptor.get(), F_GETFL);
  if (flags < 0 || ::fcntl(descriptor.get(), F_SETFL, flags | O_NONBLOCK) != 0) return system_error("fcntl");
  return {};
}

comm::Status write_all(const Descriptor& descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error("write");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace rondo::launcher
