#include "tests/support/hosts.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace rondo::test {
namespace {

constexpr const char* kPrefix = "rondo-test-";
constexpr const char* kFolder = "/run/netns";  // where `ip netns` keeps them

struct Said {
  int code = -1;
  std::string text;
};

Said run(const std::string& command) {
  // The tools of a system's administration lie where an ordinary PATH does not look.
  Process shell({.program = "/bin/sh", .arguments = {"-c", "PATH=$PATH:/usr/sbin:/sbin; exec 2>&1; " + command}});
  Said said;
  while (const auto line = shell.line()) said.text += *line + "\n";
  said.code = shell.end().value_or(-1);
  return said;
}

void need(const std::string& command) {
  const Said said = run(command);
  if (said.code != 0)
    throw std::runtime_error("`" + command + "` failed (" + std::to_string(said.code) + "): " + said.text);
}

/// Not by `ip netns exec`, which also wants to change mounts: in a chroot it may not.
std::string in(const std::string& host) { return std::string("nsenter --net=") + kFolder + "/" + host + " "; }

/// What a rule begins with that takes a random share of the packets.
std::string some_of(int per_10000) {
  return per_10000 >= 10'000 ? "" : "numgen random mod 10000 < " + std::to_string(per_10000) + " ";
}

/// Namespaces whose test is gone without having removed them, as after a SIGKILL.
void remove_leftovers() {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder, none)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kPrefix)) continue;
    const int owner = std::atoi(name.c_str() + std::strlen(kPrefix));
    if (owner <= 0 || ::kill(owner, 0) == 0 || errno != ESRCH) continue;
    run("ip netns pids " + name + " | xargs -r kill -9; ip netns del " + name);
  }
}

/// Device and inode of every shared mapping that the process may write.
std::map<std::string, std::string> writable_shared_mappings(pid_t pid) {
  std::map<std::string, std::string> found;
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  std::string line;
  while (std::getline(maps, line)) {
    std::istringstream words(line);
    std::string range, rights, offset, device, inode, path;
    words >> range >> rights >> offset >> device >> inode;
    std::getline(words, path);
    if (rights == "rw-s") found[device + " " + inode] = path;
  }
  return found;
}

/// Of the namespace that the calling thread is in. The table has a line of names and a line of numbers.
uint64_t tcp_counter(const std::string& wanted) {
  std::ifstream table("/proc/thread-self/net/snmp");
  std::string names, numbers;
  while (std::getline(table, names)) {
    if (!names.starts_with("Tcp:") || !std::getline(table, numbers)) continue;
    std::istringstream of_names(names), of_numbers(numbers);
    std::string name, number;
    while (of_names >> name && of_numbers >> number)
      if (name == wanted) return std::stoull(number);
  }
  throw std::runtime_error("no counter " + wanted + " of TCP in /proc/thread-self/net/snmp");
}

}  // namespace

std::string Hosts::refusal() {
  for (const char* tool : {"ip", "tc", "nft", "nsenter", "xargs"}) {
    if (run(std::string("command -v ") + tool).code != 0)
      return std::string("there is no `") + tool + "` here: `./dev setup` installs iproute2 and nftables";
  }
  const std::string name = kPrefix + std::to_string(::getpid()) + "-try";
  const Said said = run("ip netns add " + name + " && " + in(name) + "true");
  run("ip netns del " + name);
  if (said.code == 0) return {};
  return "this process may not make network namespaces (it needs root: CAP_SYS_ADMIN and CAP_NET_ADMIN): " + said.text;
}

Hosts::Hosts(int count) {
  static std::atomic<int> made{0};
  remove_leftovers();
  const std::string stem = kPrefix + std::to_string(::getpid()) + "-" + std::to_string(made++) + "-";
  try {
    for (int host = 0; host < count; ++host) {
      names_.push_back(stem + std::to_string(host));
      need("ip netns add " + names_.back());
      need(in(names_.back()) + "ip link set lo up");
    }
  } catch (...) {
    remove();
    throw;
  }
}

Hosts::~Hosts() { remove(); }

void Hosts::remove() {
  for (const std::string& each : names_) run("ip netns pids " + each + " | xargs -r kill -9; ip netns del " + each);
  if (!switch_.empty()) run("ip netns del " + switch_);
}

std::string Hosts::space(int host) const { return std::string(kFolder) + "/" + name(host); }

Process::Options Hosts::on(int host, Process::Options program) const {
  std::vector<std::string> words{"-c", "exec nsenter --net=\"$0\" \"$@\"", space(host), program.program};
  words.insert(words.end(), program.arguments.begin(), program.arguments.end());
  return {.program = "/bin/sh", .arguments = std::move(words), .environment = std::move(program.environment)};
}

void Hosts::inside(int host, const std::function<void()>& body) const {
  std::exception_ptr failure;
  std::thread visitor([&] {
    try {
      const std::string path = space(host);
      const int space = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      const bool entered = space >= 0 && ::setns(space, CLONE_NEWNET) == 0;
      if (space >= 0) ::close(space);
      if (!entered) throw std::runtime_error("cannot enter " + path + ": " + std::strerror(errno));
      body();
    } catch (...) {
      failure = std::current_exception();
    }
  });
  visitor.join();
  if (failure) std::rethrow_exception(failure);
}

bool Hosts::Listener::everywhere() const { return address.find_first_not_of('0') == address.find(':'); }

std::vector<Hosts::Listener> Hosts::listeners(int host) const {
  std::vector<Listener> found;
  inside(host, [&] {
    for (const char* path : {"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"}) {
      std::ifstream table(path);
      std::string line;
      std::getline(table, line);  // names of the columns
      while (std::getline(table, line)) {
        std::istringstream words(line);
        const std::vector<std::string> columns(std::istream_iterator<std::string>(words), {});
        if (columns.size() > 9 && columns[3] == "0A") found.push_back({.address = columns[1], .inode = columns[9]});
      }
    }
  });
  return found;
}

void Hosts::expect_no_shared_memory(const std::vector<std::pair<int, pid_t>>& host_and_process) const {
  for (const auto& [host, process] : host_and_process) {
    const auto mine = writable_shared_mappings(process);
    for (const auto& [other_host, other] : host_and_process) {
      if (other_host <= host) continue;
      for (const auto& [where, path] : writable_shared_mappings(other))
        EXPECT_EQ(mine.count(where), 0u) << "process " << process << " of host " << host << " and " << other
                                         << " of host " << other_host << " share the memory " << path;
    }
  }
}

int Hosts::connect(Ends ends) {
  const int cable = static_cast<int>(cables_.size());
  cables_.push_back(ends);
  const std::string device = interface(cable);
  need("ip link add " + device + " netns " + name(ends.first) + " type veth peer name " + device + " netns " +
       name(ends.second));
  mend(cable);
  for (const int host : {ends.first, ends.second})
    need(in(name(host)) + "ip addr add " + ipv4(cable, host) + "/24 dev " + device);
  return cable;
}

void Hosts::join_by_switch() {
  switch_ = names_.front() + "-switch";
  need("ip netns add " + switch_);
  need(in(switch_) + "ip link add lan type bridge");
  need(in(switch_) + "ip link set lan up");
  for (int host = 0; host < count(); ++host) {
    const std::string socket = "socket" + std::to_string(host);
    need("ip link add " + socket + " netns " + switch_ + " type veth peer name lan netns " + name(host));
    need(in(switch_) + "ip link set " + socket + " master lan up");
    need(in(name(host)) + "ip addr add 10.215.0." + std::to_string(host + 1) + "/24 dev lan");
    need(in(name(host)) + "ip link set lan up");
  }
}

std::string Hosts::ipv4(int cable, int host) const {
  return "10.214." + std::to_string(cable) + (host == ends(cable).first ? ".1" : ".2");
}

std::string Hosts::ipv6(int cable, int host) const {
  return "fd52:6f6e:" + std::to_string(cable) + (host == ends(cable).first ? "::1" : "::2");
}

void Hosts::cut(int cable) { need(in(name(ends(cable).second)) + "ip link set " + interface(cable) + " down"); }

void Hosts::mend(int cable) {
  const std::string device = interface(cable);
  for (const int host : {ends(cable).first, ends(cable).second}) {
    need(in(name(host)) + "ip link set " + device + " up");
    // The kernel takes an IPv6 address away with the link. nodad: usable at once.
    need(in(name(host)) + "ip addr replace " + ipv6(cable, host) + "/64 dev " + device + " nodad");
  }
}

void Hosts::shape(int cable, int megabit_per_second) {
  for (const int host : {ends(cable).first, ends(cable).second})
    need(in(name(host)) + "tc qdisc replace dev " + interface(cable) + " root tbf rate " +
         std::to_string(megabit_per_second) + "mbit burst 128kb limit 64mb");
}

// netem would lose and change packets, too, but is a module that many kernels lack; nf_tables has both everywhere.
void Hosts::filter(int cable, const std::string& table, const std::string& rule) {
  for (const int host : {ends(cable).first, ends(cable).second}) {
    const std::string full = "netdev " + table + std::to_string(cable);
    run(in(name(host)) + "nft delete table " + full);  // fails when there is none
    if (rule.empty()) continue;
    need(in(name(host)) + "nft 'table " + full + " { chain incoming { type filter hook ingress device \"" +
         interface(cable) + "\" priority 0; " + rule + " ; } ; }'");
  }
}

void Hosts::lose(int cable, int per_10000) { filter(cable, "loss", per_10000 == 0 ? "" : some_of(per_10000) + "drop"); }

// The byte lies 64 behind the start of the TCP header, which is at most 60 long. Packets of a veth carry no TCP
// checksum yet ("partial"), so that nobody misses the right one. A shaped cable cuts large packets and gives each a
// checksum: there TCP itself drops what is wrong.
void Hosts::corrupt(int cable, int one_of) {
  const std::string counted = one_of <= 1 ? "" : "numgen inc mod " + std::to_string(one_of) + " 0 ";
  const std::string change = "meta l4proto tcp meta length > 200 " + counted + "@th,512,8 set 0xa5";
  filter(cable, "corruption", one_of == 0 ? "" : change);
}

Hosts::Traffic Hosts::sent(int cable, int host) const {
  Traffic traffic;
  bool found = false;
  inside(host, [&] {
    std::ifstream table("/proc/thread-self/net/dev");
    std::string line;
    while (std::getline(table, line)) {
      const size_t colon = line.find(':');
      if (colon == std::string::npos || line.substr(0, colon).find(interface(cable)) == std::string::npos) continue;
      std::istringstream numbers(line.substr(colon + 1));
      uint64_t skipped = 0;
      for (int received = 0; received < 8; ++received) numbers >> skipped;
      found = static_cast<bool>(numbers >> traffic.bytes >> traffic.packets);
    }
    traffic.segments_again = tcp_counter("RetransSegs");
  });
  if (!found) throw std::runtime_error("no counters of " + interface(cable) + " on " + name(host));
  return traffic;
}

}  // namespace rondo::test
