#include "comm/base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <charconv>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace rondo::comm {
namespace {

constexpr std::string_view kTcp = "tcp:";
constexpr std::string_view kUnix = "unix:";

Status invalid(const Address& address, const std::string& why) {
  return {Code::kInvalidArgument, "\"" + address.text + "\" is not an address: " + why};
}

Status wildcard(const Address& address) {
  return invalid(address, "a wildcard would open the port to every network; name one address, such as tcp:127.0.0.1:0");
}

Result<SocketAddress> parse_tcp(const Address& address, std::string_view rest) {
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return invalid(address, "expected tcp:HOST:PORT");
  std::string host(rest.substr(0, colon));
  const std::string_view port_text = rest.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc() || end != port_text.data() + port_text.size()) {
    return invalid(address, "the port must be a number from 0 to 65535");
  }
  SocketAddress result;
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(result.storage);
    host = host.substr(1, host.size() - 2);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    result.length = sizeof v6;
    if (inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1)
      return invalid(address, "expected an IPv6 address in []");
    if (IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr)) return wildcard(address);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) return invalid(address, "an IPv4 address is written tcp:1.2.3.4:PORT");
    return result;
  }
  auto& v4 = reinterpret_cast<sockaddr_in&>(result.storage);
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  result.length = sizeof v4;
  if (host.empty() || host == "*") return wildcard(address);
  if (inet_pton(AF_INET, host.c_str(), &v4.sin_addr) != 1) {
    return invalid(address, "the host must be a number such as 127.0.0.1 or [::1], not a name");
  }
  if (v4.sin_addr.s_addr == htonl(INADDR_ANY)) return wildcard(address);
  return result;
}

Result<SocketAddress> parse_unix(const Address& address, std::string_view rest) {
  SocketAddress result;
  auto& local = reinterpret_cast<sockaddr_un&>(result.storage);
  if (rest.size() < 2 || rest.front() != '@') return invalid(address, "expected unix:@NAME (an abstract socket)");
  if (rest.size() > sizeof local.sun_path) return invalid(address, "the name is longer than 107 bytes");
  local.sun_family = AF_UNIX;
  std::memcpy(local.sun_path + 1, rest.data() + 1, rest.size() - 1);  // sun_path[0] stays 0: abstract
  result.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + rest.size());
  return result;
}

}  // namespace

Result<SocketAddress> parse_address(const Address& address) {
  const std::string_view text = address.text;
  if (text.substr(0, kTcp.size()) == kTcp) return parse_tcp(address, text.substr(kTcp.size()));
  if (text.substr(0, kUnix.size()) == kUnix) return parse_unix(address, text.substr(kUnix.size()));
  return invalid(address, "expected tcp:HOST:PORT or unix:@NAME");
}

Address format_address(const SocketAddress& address) {
  char host[INET6_ADDRSTRLEN] = {};
  if (address.family() == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
    inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    return {"tcp:" + std::string(host) + ":" + std::to_string(ntohs(v4.sin_port))};
  }
  if (address.family() == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
    inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
    return {"tcp:[" + std::string(host) + "]:" + std::to_string(ntohs(v6.sin6_port))};
  }
  const auto& local = reinterpret_cast<const sockaddr_un&>(address.storage);
  const size_t skipped = offsetof(sockaddr_un, sun_path) + 1;
  if (address.length <= skipped) return {"unix:@"};
  return {"unix:@" + std::string(local.sun_path + 1, address.length - skipped)};
}

}  // namespace rondo::comm
