#include "comm/bootstrap/slurm.h"

#include <charconv>
#include <cstdint>
#include <optional>

namespace rondo::comm {
namespace {

constexpr size_t kMostHosts = 65536;  // Slurm's own limit of nodes

Status unreadable(std::string_view what, std::string_view text, const std::string& why) {
  return {Code::kInvalidArgument,
          std::string(what) + " '" + std::string(text) + "' cannot be read: " + why,
          {.operation = "bootstrap"}};
}

std::optional<uint64_t> whole_number(std::string_view digits) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

/// "01-03,7" appends 01 02 03 7. An empty text: all is well.
std::string expand_ranges(std::string_view ranges, std::vector<std::string>& numbers) {
  while (true) {
    const size_t comma = ranges.find(',');
    const std::string_view range = ranges.substr(0, comma);
    const size_t dash = range.find('-');
    const std::string_view low = range.substr(0, dash);
    const auto first = whole_number(low);
    const auto last = dash == std::string_view::npos ? first : whole_number(range.substr(dash + 1));
    if (!first || !last || *last < *first) return "'" + std::string(range) + "' is no number and no range of numbers";
    if (*last - *first >= kMostHosts) return "'" + std::string(range) + "' names more than 65536 hosts";
    for (uint64_t i = 0; i <= *last - *first; ++i) {
      std::string digits = std::to_string(*first + i);
      if (digits.size() < low.size()) digits.insert(0, low.size() - digits.size(), '0');
      numbers.push_back(std::move(digits));
    }
    if (comma == std::string_view::npos) return {};
    ranges.remove_prefix(comma + 1);
  }
}

/// One element of the list, brackets and all, appended to `hosts`.
std::string expand_element(std::string_view element, std::vector<std::string>& hosts) {
  std::vector<std::string> names{""};
  while (!element.empty()) {
    const size_t bracket = element.find_first_of("[]");
    const std::string_view plain = element.substr(0, bracket);
    for (std::string& name : names) name += plain;
    if (bracket == std::string_view::npos) break;
    const size_t closing = element.find(']', bracket);
    if (element[bracket] == ']' || closing == std::string_view::npos) return "a bracket has no partner";
    std::vector<std::string> numbers;
    if (std::string why = expand_ranges(element.substr(bracket + 1, closing - bracket - 1), numbers); !why.empty())
      return why;
    if (names.size() * numbers.size() > kMostHosts) return "it names more than 65536 hosts";
    std::vector<std::string> longer;
    for (const std::string& name : names) {
      for (const std::string& number : numbers) longer.push_back(name + number);
    }
    names = std::move(longer);
    element.remove_prefix(closing + 1);
  }
  if (names.front().empty()) return "a host's name is empty";
  if (hosts.size() + names.size() > kMostHosts) return "it names more than 65536 hosts";
  hosts.insert(hosts.end(), names.begin(), names.end());
  return {};
}

/// The first comma outside brackets, or npos.
size_t end_of_element(std::string_view list) {
  bool inside = false;
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] == '[') inside = true;
    if (list[i] == ']') inside = false;
    if (list[i] == ',' && !inside) return i;
  }
  return std::string_view::npos;
}

}  // namespace

Result<std::vector<std::string>> slurm_hosts(std::string_view list) {
  std::vector<std::string> hosts;
  std::string_view rest = list;
  while (true) {
    const size_t comma = end_of_element(rest);
    if (const std::string why = expand_element(rest.substr(0, comma), hosts); !why.empty())
      return unreadable("the list of hosts", list, why);
    if (comma == std::string_view::npos) return hosts;
    rest.remove_prefix(comma + 1);
  }
}

Result<std::vector<int>> slurm_tasks_per_node(std::string_view counts) {
  constexpr std::string_view kWhat = "the list of tasks per node";
  std::vector<int> tasks;
  std::string_view rest = counts;
  while (true) {
    const size_t comma = rest.find(',');
    const std::string_view entry = rest.substr(0, comma);
    const size_t bracket = entry.find("(x");
    const auto count = whole_number(entry.substr(0, bracket));
    std::optional<uint64_t> times = 1;
    if (bracket != std::string_view::npos)
      times = entry.ends_with(')') ? whole_number(entry.substr(bracket + 2, entry.size() - bracket - 3)) : std::nullopt;
    if (!count || !times || *count > kMostHosts || *times > kMostHosts - tasks.size())
      return unreadable(kWhat, counts, "'" + std::string(entry) + "' is not like 2 or 2(x3)");
    tasks.insert(tasks.end(), *times, static_cast<int>(*count));
    if (comma == std::string_view::npos) return tasks;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace rondo::comm
