#include "launcher/control/run_door.h"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <tuple>

namespace rondo::launcher {
namespace {

constexpr std::string_view kBegin = "@rondo-run-";
constexpr unsigned kAcceptsConnections = 1U << 16;  // __SO_ACCEPTCON of the kernel, in the column Flags

/// Takes "4711-" off the front of `text`.
template <typename Number>
std::optional<Number> take_number(std::string_view& text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data() + text.size() || *end != '-') return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
  return number;
}

std::optional<RunDoor> door_named(std::string_view name) {
  if (!name.starts_with(kBegin)) return std::nullopt;
  name.remove_prefix(kBegin.size());
  const auto user = take_number<uid_t>(name);
  const auto launcher = user ? take_number<pid_t>(name) : std::nullopt;
  if (!launcher || *launcher <= 0 || name.empty()) return std::nullopt;
  return RunDoor{.user = *user, .launcher = *launcher, .run = std::string(name)};
}

}  // namespace

comm::Address address_of(const RunDoor& door) {
  std::string run = door.run.substr(0, RunDoor::kLongestRun);
  for (char& c : run) {
    const bool plain = c > ' ' && c < '\x7f';
    if (!plain) c = '_';
  }
  return {"unix:" + std::string(kBegin) + std::to_string(door.user) + "-" + std::to_string(door.launcher) + "-" + run};
}

std::vector<RunDoor> doors_in(std::string_view table) {
  std::vector<RunDoor> doors;
  std::istringstream lines{std::string(table)};
  for (std::string line; std::getline(lines, line);) {
    // Num RefCount Protocol Flags Type St Inode Path
    std::istringstream columns(line);
    std::string number, references, protocol, flags, type, state, inode, path;
    if (!(columns >> number >> references >> protocol >> flags >> type >> state >> inode >> path)) continue;
    unsigned bits = 0;
    std::from_chars(flags.data(), flags.data() + flags.size(), bits, 16);
    if ((bits & kAcceptsConnections) == 0) continue;  // a connection to a door carries its name, too
    if (auto door = door_named(path)) doors.push_back(*std::move(door));
  }
  const auto order = [](const RunDoor& door) { return std::tie(door.run, door.launcher); };
  std::ranges::sort(doors, {}, order);
  return doors;
}

}  // namespace rondo::launcher
