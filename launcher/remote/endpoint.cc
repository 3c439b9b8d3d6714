#include "launcher/remote/endpoint.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <memory>

#include "launcher/base/descriptor.h"

namespace rondo::launcher {
namespace {

struct FreeList {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using AddressList = std::unique_ptr<addrinfo, FreeList>;

/// Empty: the resolver's error is in `error`.
AddressList look_up(std::string host, const std::string& port, int& error) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &raw);
  return AddressList(error == 0 ? raw : nullptr);
}

bool is_wildcard(const sockaddr& address) {
  if (address.sa_family == AF_INET6)
    return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
  return reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr == htonl(INADDR_ANY);
}

std::string numeric(const addrinfo& at) {
  std::array<char, NI_MAXHOST> host{};
  ::getnameinfo(at.ai_addr, at.ai_addrlen, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST);
  return at.ai_family == AF_INET6 ? "[" + std::string(host.data()) + "]" : host.data();
}

}  // namespace

comm::Result<std::vector<comm::Address>> addresses_of(const std::string& host, int port) {
  int error = 0;
  const AddressList list = look_up(host, std::to_string(port), error);
  if (!list)
    return comm::Status(comm::Code::kInvalidArgument,
                        "--rdzv-endpoint " + host + " leads nowhere: " + ::gai_strerror(error));
  std::vector<comm::Address> addresses;
  for (const addrinfo* at = list.get(); at != nullptr; at = at->ai_next) {
    if (is_wildcard(*at->ai_addr))
      return comm::Status(
          comm::Code::kInvalidArgument,
          "--rdzv-endpoint " + host + " is every address; name one of the first host, that others reach");
    addresses.push_back({"tcp:" + numeric(*at) + ":" + std::to_string(port)});
  }
  return addresses;
}

comm::Address own_address(const std::vector<comm::Address>& addresses) {
  for (const comm::Address& address : addresses) {
    const size_t colon = address.text.rfind(':');
    int error = 0;
    const AddressList list = look_up(address.text.substr(4, colon - 4), "0", error);
    if (!list) continue;
    const Descriptor probe(::socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (probe.open() && ::bind(probe.get(), list->ai_addr, list->ai_addrlen) == 0) return address;
  }
  return {};
}

comm::Address with_port(const comm::Address& address, int port) {
  return {address.text.substr(0, address.text.rfind(':') + 1) + std::to_string(port)};
}

}  // namespace rondo::launcher
