/// Carries news between the hosts of a job: aborts, and how far the ranks are and whether they beat.
///
/// The two lowest ranks of each host are its *relays*: each has a connection to its counterpart on every other host,
/// apart from those of data. What is posted to the job page of one host appears on the pages of the others; the ranks
/// of other hosts have their places there too, kept up to date by their relays' beats. A relay whose connection ends
/// without a goodbye is reported as lost, unless a better reason comes within a moment.
///
/// Threading: create() anywhere, unmet() from any thread; everything else belongs to the keeper's thread.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/group/contact.h"
#include "comm/schedule/hosts.h"
#include "comm/transport/tcp.h"
#include "comm/watch/job_page.h"

namespace rondo::comm {

/// The ranks that relay `rank` of the job is connected to; none for a rank that is no relay. Symmetric.
std::vector<int> relay_peers(const Hosts& hosts, int rank);

struct HostRelayOptions {
  std::shared_ptr<Env> env;
  std::shared_ptr<TcpPort> port;
  std::shared_ptr<JobPage> page;
  int rank = 0;                   // of the job
  std::vector<Contact> contacts;  // by rank of the job
  std::vector<int> host_of_rank;  // likewise
};

class HostRelay {
 public:
  static Result<std::shared_ptr<HostRelay>> create(HostRelayOptions options);

  /// Goes on, without blocking.
  void advance(TimePoint now);
  /// Passes on what is left and says goodbye; a moment at most.
  void leave();
  /// The peers from which nothing has come yet.
  std::vector<int> unmet() const;

 private:
  struct Peer {
    int rank = -1;
    std::vector<std::byte> arriving;
    std::deque<std::pair<SendTicket, std::vector<std::byte>>> unreleased;
    enum class State : uint8_t { kOpen, kLeft, kBroken, kReported } state = State::kOpen;
    TimePoint broken_since{};
    std::string why;
  };

  HostRelay(HostRelayOptions options, std::vector<int> peers, std::unique_ptr<Transport> links);
  bool is_mine(int rank) const;
  void send(Peer& peer, std::vector<std::byte> letter);
  void send_beats(TimePoint now);
  void pass_aborts_on();
  void receive(Peer& peer, TimePoint now);
  void take(const std::vector<std::byte>& letter, TimePoint now);
  void report_broken(Peer& peer, TimePoint now);

  const HostRelayOptions options_;
  const std::unique_ptr<Transport> links_;
  std::vector<Peer> peers_;
  std::vector<std::atomic<bool>> met_;  // as peers_
  uint64_t passed_on_ = 0;              // aborts on the page
  TimePoint next_beat_{};
};

}  // namespace rondo::comm
