#include "rondo/comm/interfaces.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <system_error>

#include "comm/base/address.h"

namespace rondo::comm {
namespace {

// Two machines often have such an interface with the same address, which leads each back to itself.
constexpr std::array<std::string_view, 15> kInsideOnly{"docker",  "br-",     "virbr",  "veth",  "cni",
                                                       "flannel", "cali",    "lxc",    "lxdbr", "kube-",
                                                       "vmnet",   "vboxnet", "podman", "dummy", "nodelocaldns"};

bool inside_only(std::string_view interface) {
  return std::ranges::any_of(kInsideOnly, [&](std::string_view prefix) { return interface.starts_with(prefix); });
}

std::vector<std::string> split_names(const std::string& names) {
  std::vector<std::string> result;
  for (size_t begin = 0; begin < names.size();) {
    const size_t end = std::min(names.find(',', begin), names.size());
    if (end > begin) result.push_back(names.substr(begin, end - begin));
    begin = end + 1;
  }
  return result;
}

std::string names_of(const std::vector<InterfaceAddress>& all) {
  std::vector<std::string> seen;
  std::string text;
  for (const InterfaceAddress& each : all) {
    if (std::ranges::find(seen, each.interface) != seen.end()) continue;
    seen.push_back(each.interface);
    text += (text.empty() ? "" : ", ") + each.interface;
  }
  return text.empty() ? "none" : text;
}

InterfaceAddress::Reach reach_of(const ifaddrs& entry) {
  if ((entry.ifa_flags & IFF_LOOPBACK) != 0) return InterfaceAddress::Reach::kLoopback;
  if (entry.ifa_addr->sa_family == AF_INET6 &&
      IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<const sockaddr_in6*>(entry.ifa_addr)->sin6_addr))
    return InterfaceAddress::Reach::kLinkLocal;
  return InterfaceAddress::Reach::kNetwork;
}

}  // namespace

Result<std::vector<InterfaceAddress>> read_interfaces() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0)
    return Status(Code::kIo, "cannot list the network interfaces: " + std::generic_category().message(errno));
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  std::vector<InterfaceAddress> result;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
      if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != family || (entry->ifa_flags & IFF_UP) == 0)
        continue;
      SocketAddress address;
      address.length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
      std::memcpy(&address.storage, entry->ifa_addr, address.length);
      result.push_back({entry->ifa_name, format_address(address), reach_of(*entry)});
    }
  }
  return result;
}

Result<std::vector<Address>> choose_interfaces(const std::vector<InterfaceAddress>& all, const std::string& names) {
  const std::vector<std::string> wanted = split_names(names);
  for (const std::string& name : wanted) {
    if (std::ranges::find(all, name, &InterfaceAddress::interface) == all.end())
      return Status(Code::kInvalidArgument,
                    "there is no network interface \"" + name + "\" that is up; there are: " + names_of(all));
  }
  std::vector<Address> chosen;
  for (const InterfaceAddress& each : all) {
    if (each.reach == InterfaceAddress::Reach::kLinkLocal) continue;
    const bool named = std::ranges::find(wanted, each.interface) != wanted.end();
    const bool by_itself =
        wanted.empty() && each.reach == InterfaceAddress::Reach::kNetwork && !inside_only(each.interface);
    if (named || by_itself) chosen.push_back(each.listen);
  }
  if (!chosen.empty()) return chosen;
  return Status(Code::kInvalidArgument,
                "no network interface has an address by which other hosts could reach this one; "
                "there are: " +
                    names_of(all) + "; name the right one by --interface NAME or RONDO_INTERFACE");
}

}  // namespace rondo::comm
