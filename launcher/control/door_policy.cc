#include "launcher/control/door_policy.h"

#include <algorithm>
#include <map>
#include <string_view>

namespace rondo::launcher {
namespace {

/// Without the port, so that the connections of one host count together.
std::string_view host_of(std::string_view address) { return address.substr(0, address.rfind(':')); }

}  // namespace

size_t who_makes_room(std::span<const std::string> addresses) {
  std::map<std::string_view, size_t> counts;
  for (const std::string& address : addresses) ++counts[host_of(address)];
  const auto most = std::ranges::max_element(counts, {}, [](const auto& count) { return count.second; });
  const auto oldest =
      std::ranges::find_if(addresses, [&](const std::string& address) { return host_of(address) == most->first; });
  return static_cast<size_t>(oldest - addresses.begin());
}

bool worth_telling(uint64_t number) {
  if (number <= 10) return true;
  while (number % 10 == 0) number /= 10;
  return number == 1;
}

}  // namespace rondo::launcher
