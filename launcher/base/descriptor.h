/// A file descriptor with one owner, and the pairs of them that the launcher makes. All are close-on-exec: a worker
/// gets only what spawn() hands over by name.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "rondo/comm/status.h"

namespace rondo::launcher {

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_;
};

/// kIo with "what: reason" from errno.
comm::Status system_error(const std::string& what);

struct Pipe {
  Descriptor read_end, write_end;
};
comm::Result<Pipe> make_pipe();

/// A pipe that holds `bytes` and ends after them.
comm::Result<Descriptor> pipe_with(std::string_view bytes);

struct SocketPair {
  Descriptor ours, theirs;
};
/// Stream sockets; ours does not block.
comm::Result<SocketPair> make_socket_pair();

comm::Status set_non_blocking(const Descriptor& descriptor);

/// Writes all of `bytes` to a blocking descriptor.
comm::Status write_all(const Descriptor& descriptor, std::string_view bytes);

}  // namespace rondo::launcher
