#include "comm/bootstrap/place.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string_view>

#include "comm/base/address.h"
#include "rondo/comm/interfaces.h"
#include "rondo/comm/secret.h"

namespace rondo::comm {
namespace {

constexpr std::string_view kTcp = "tcp:";

bool is_loopback(const addrinfo& found) {
  if (found.ai_family == AF_INET)
    return ntohl(reinterpret_cast<const sockaddr_in*>(found.ai_addr)->sin_addr.s_addr) >> 24 == 127;
  return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(found.ai_addr)->sin6_addr);
}

}  // namespace

std::string host_text(const std::string& host_id) {
  std::array<char, 65> own_name{};
  std::string name = host_id;
  if (name.empty() && ::gethostname(own_name.data(), own_name.size() - 1) == 0) name = own_name.data();
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '-') c = '_';
  }
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  struct stat space {};
  const bool known = ::stat("/proc/self/ns/net", &space) == 0;
  const std::string facts = boot + " " + std::to_string(known ? space.st_ino : 0) + " " + host_id;
  std::array<char, 20> hash{};
  std::snprintf(hash.data(), hash.size(), "%016llx",
                static_cast<unsigned long long>(XXH3_64bits(facts.data(), facts.size())));
  return name.substr(0, 64) + "/" + hash.data();
}

Result<std::vector<Address>> data_addresses(const Bootstrap& bootstrap, Env& env) {
  // A job without a secret opens no TCP port.
  if (bootstrap.peer_credentials) return std::vector{Address{"unix:@rondo-data-" + JobId::draw(env).hex()}};
  if (bootstrap.on_one_host()) return std::vector{Address{"tcp:127.0.0.1:0"}};
  const auto all = read_interfaces();
  RONDO_TRY(all);
  return choose_interfaces(*all, bootstrap.interface);
}

Result<Address> resolve(const Address& address) {
  const std::string_view text = address.text;
  const size_t colon = text.rfind(':');
  if (!text.starts_with(kTcp) || colon < kTcp.size() || parse_address(address).ok()) return address;
  const std::string host(text.substr(kTcp.size(), colon - kTcp.size()));
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), nullptr, &wanted, &found); error != 0)
    return Status(Code::kInvalidArgument, "\"" + address.text + "\": there is no host \"" + host + "\" known here (" +
                                              ::gai_strerror(error) + ")");
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  const addrinfo* best = found;
  while (best != nullptr && is_loopback(*best)) best = best->ai_next;
  if (best == nullptr) best = found;
  SocketAddress place;
  place.length = best->ai_addrlen;
  std::memcpy(&place.storage, best->ai_addr, best->ai_addrlen);
  const std::string numeric = format_address(place).text;
  return Address{numeric.substr(0, numeric.rfind(':')) + std::string(text.substr(colon))};
}

}  // namespace rondo::comm
