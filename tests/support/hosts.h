/// Several hosts on one machine: network namespaces, joined by cables (veth pairs) that can be cut, shaped, made to
/// lose or to change bytes, and whose bytes are counted.
///
/// What they share and real hosts do not: kernel, memory, files and process ids. Abstract Unix sockets belong to a
/// namespace, so no job page and no region passes between them; expect_no_shared_memory() checks that of processes.
///
/// Namespaces are named "rondo-test-PID-...": a destructor removes them, and those of a test that died are removed by
/// the next one. Needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN), `ip`, `tc` and `nft`; see refusal(). Cables have no names
/// outside of their hosts. Failures are exceptions that say which command failed and what it said.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/process.h"

namespace rondo::test {

class Hosts {
 public:
  /// Why this process cannot make hosts; empty when it can. A test without hosts fails with this text.
  static std::string refusal();

  explicit Hosts(int count);
  ~Hosts();
  Hosts(const Hosts&) = delete;
  Hosts& operator=(const Hosts&) = delete;

  int count() const { return static_cast<int>(names_.size()); }

  // --- processes and sockets.

  /// The same program, but on `host`. The process id is the program's own.
  Process::Options on(int host, Process::Options program) const;
  /// What `nsenter --net=` takes to get there.
  std::string space(int host) const;
  /// Runs `body` in a thread of its own whose sockets belong to `host`; they stay there afterwards.
  void inside(int host, const std::function<void()>& body) const;
  struct Listener {
    std::string address;      // "0100007F:1F90", as /proc/net/tcp has it
    std::string inode;        // of its socket
    bool everywhere() const;  // on every address of the host
  };
  /// The TCP sockets of `host` that listen.
  std::vector<Listener> listeners(int host) const;
  /// Fails the test where two of these processes, on different hosts, map the same memory that can be written.
  void expect_no_shared_memory(const std::vector<std::pair<int, pid_t>>& host_and_process) const;

  // --- cables. The nth has the name "cable<n>" on both its hosts.

  struct Ends {
    int first = 0, second = 1;
  };
  /// Joins two hosts; returns the cable's number.
  int connect(Ends ends);
  /// Joins all hosts in one subnet, by an interface "lan" on each. Once.
  void join_by_switch();
  static std::string interface(int cable) { return "cable" + std::to_string(cable); }
  /// Without brackets: "10.214.0.1", "fd52:6f6e::1".
  std::string ipv4(int cable, int host) const;
  std::string ipv6(int cable, int host) const;

  /// Nothing passes, nobody is told: the link loses its carrier.
  void cut(int cable);
  void mend(int cable);
  /// At most so much in each direction; what waits is queued, not dropped.
  void shape(int cable, int megabit_per_second);
  /// Of 10,000 packets so many are lost, in each direction. 0: none again.
  void lose(int cable, int per_10000);
  /// Of each `one_of` packets with TCP payload the first gets a wrong byte, in each direction; no checksum of IP or TCP
  /// tells. Counted and not drawn, so that what is sent again gets through. 0: none again.
  void corrupt(int cable, int one_of);

  struct Traffic {
    uint64_t bytes = 0, packets = 0;  // with their headers from Ethernet on
    uint64_t segments_again = 0;      // sent again by TCP, over all cables of the host and its loopback
  };
  /// What `host` has sent into the cable so far.
  Traffic sent(int cable, int host) const;

 private:
  const std::string& name(int host) const { return names_[static_cast<size_t>(host)]; }
  const Ends& ends(int cable) const { return cables_[static_cast<size_t>(cable)]; }
  /// A table of one rule for what comes in; no rule: no table.
  void filter(int cable, const std::string& table, const std::string& rule);
  void remove();

  std::vector<std::string> names_;
  std::string switch_;  // a namespace, too; empty: there is none
  std::vector<Ends> cables_;
};

}  // namespace rondo::test
