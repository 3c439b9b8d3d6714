#include "tests/launcher/control/guests.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "rondo/comm/deadline.h"

namespace rondo::test {
namespace {

constexpr std::chrono::seconds kPatience{20};

bool wait_for(const launcher::Descriptor& end, short events, comm::Deadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline.left(comm::Clock::now()));
  pollfd waited{end.get(), events, 0};
  return ::poll(&waited, 1, static_cast<int>(left.count())) > 0;
}

}  // namespace

comm::Secret secret_of(int byte) {
  comm::Digest bytes;
  bytes.fill(static_cast<std::byte>(byte));
  return comm::Secret(bytes);
}

launcher::Authority authority_of(int byte) { return launcher::Authority::of(secret_of(byte)).value(); }

launcher::Descriptor raw_connection(const comm::Address& door) {
  const size_t colon = door.text.rfind(':');  // "tcp:127.0.0.1:4711"
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(door.text.substr(colon + 1))));
  ::inet_pton(AF_INET, door.text.substr(4, colon - 4).c_str(), &address.sin_addr);
  launcher::Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) socket.reset();
  return socket;
}

bool send_all(const launcher::Descriptor& end, std::string_view bytes) {
  const comm::Deadline deadline = comm::after(kPatience);
  while (!bytes.empty()) {
    const ssize_t sent = ::send(end.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (!wait_for(end, POLLOUT, deadline)) return false;
      continue;
    }
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

std::string receive(const launcher::Descriptor& end, size_t bytes) {
  const comm::Deadline deadline = comm::after(kPatience);
  std::string text;
  std::array<char, 64 * 1024> piece;
  while (text.size() < bytes && wait_for(end, POLLIN, deadline)) {
    const ssize_t got = ::recv(end.get(), piece.data(), std::min(piece.size(), bytes - text.size()), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) break;
    text.append(piece.data(), static_cast<size_t>(got));
  }
  return text;
}

bool reaches_end(const launcher::Descriptor& end) {
  const comm::Deadline deadline = comm::after(kPatience);
  std::array<char, 4096> piece;
  while (wait_for(end, POLLIN, deadline)) {
    const ssize_t got = ::recv(end.get(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) return true;
  }
  return false;
}

bool soon(const std::function<bool()>& holds) {
  const comm::Deadline deadline = comm::after(kPatience);
  while (!holds()) {
    if (deadline.passed(comm::Clock::now())) return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

std::string pattern(size_t bytes, unsigned seed) {
  std::string text(bytes, '\0');
  for (size_t at = 0; at < bytes; ++at) text[at] = static_cast<char>((at * 131 + at / 251 + seed * 17) & 0xff);
  return text;
}

std::vector<std::string> own_tcp_listeners() {
  std::vector<std::string> inodes;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    if (target.starts_with("socket:[")) inodes.push_back(target.substr(8, target.size() - 9));
  }
  std::vector<std::string> addresses;
  for (const char* table : {"/proc/self/net/tcp", "/proc/self/net/tcp6"}) {
    std::ifstream file(table);
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::vector<std::string> fields;
      for (std::string word; words >> word;) fields.push_back(word);
      if (fields.size() < 10 || fields[3] != "0A") continue;  // 0A: listens
      if (std::ranges::find(inodes, fields[9]) != inodes.end()) addresses.push_back(fields[1]);
    }
  }
  return addresses;
}

}  // namespace rondo::test
