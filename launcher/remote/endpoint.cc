#include "launcher/remote/endpoint.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <iterator>
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

/// Not so of what can never be looked up, or not by this host.
bool may_come(int error) { return error == EAI_NONAME || error == EAI_AGAIN || error == EAI_NODATA; }

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
    return comm::Status(may_come(error) && !no_name(host) ? comm::Code::kIo : comm::Code::kInvalidArgument,
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

bool no_name(const std::string& host) {
  constexpr size_t kLongest = 253, kLongestLabel = 63;  // RFC 1035, with the underscores that are in use
  const auto letter = [](unsigned char at) { return std::isalnum(at) != 0 || at == '-' || at == '_'; };
  const auto digit = [](unsigned char at) { return std::isdigit(at) != 0; };
  std::string rest = host.ends_with('.') ? host.substr(0, host.size() - 1) : host;
  if (rest.empty() || rest.size() > kLongest) return true;
  while (true) {
    const std::string label = rest.substr(0, rest.find('.'));
    if (label.empty() || label.size() > kLongestLabel || !std::ranges::all_of(label, letter)) return true;
    if (label.size() == rest.size()) return std::ranges::all_of(label, digit);  // an address with a mistake
    rest.erase(0, label.size() + 1);
    if (rest.empty()) return true;
  }
}

bool leads_home(const std::string& host, const std::vector<comm::Address>& addresses) {
  constexpr std::array kMeant{"localhost", "ip6-localhost", "ip6-loopback"};
  if (std::ranges::find(kMeant, host) != kMeant.end() || host.starts_with("localhost.") || host.ends_with(".localhost"))
    return false;
  const auto loops = [](const comm::Address& at) {
    return at.text.starts_with("tcp:127.") || at.text.starts_with("tcp:[::1]:") ||
           at.text.starts_with("tcp:[::ffff:127.");
  };
  return !no_name(host) && !addresses.empty() && std::ranges::all_of(addresses, loops);
}

comm::Result<comm::Address> met_instead(const std::string& host, const std::vector<comm::Address>& own) {
  const auto ipv6 = [](const comm::Address& at) { return at.text.starts_with("tcp:["); };
  std::vector<comm::Address> chosen;
  std::ranges::remove_copy_if(own, std::back_inserter(chosen), ipv6);
  if (chosen.empty()) chosen = own;
  if (chosen.size() == 1) return chosen[0];
  std::string all;
  for (const comm::Address& each : own)
    all += (all.empty() ? "" : ", ") + each.text.substr(4, each.text.rfind(':') - 4);
  return comm::Status(comm::Code::kInvalidArgument,
                      "--rdzv-endpoint " + host +
                          " leads to loopback on this host (/etc/hosts?), where no other host " +
                          "can come; name an address instead, the same on every host: " +
                          (all.empty() ? "this one has none on a network" : "this one has " + all));
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
