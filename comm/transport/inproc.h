/// The transport of fake ranks: threads, or cursors in one thread, of one process. It has all three abilities, so the
/// protocols of shared memory run over it, on one mapping where a thread sanitizer sees both sides.
///
/// A message is copied when it is sent, so nobody reads a sender's buffer after its Work is gone.
/// Threading: the fabric is internally locked and shared by all its transports; a transport belongs to its group's
/// lock.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "comm/transport/region_post.h"
#include "comm/transport/transport.h"
#include "comm/watch/job_page.h"

namespace rondo::comm {

class InprocFabric {
 public:
  static Result<std::shared_ptr<InprocFabric>> create(int world_size);

  /// The job page that all fake ranks of this fabric share.
  const std::shared_ptr<JobPage>& page() const { return page_; }

  struct Message {
    MessageHeader header;
    std::vector<std::byte> payload;
  };
  /// One direction of one pair of one group; made when the pair first uses it.
  struct Lane {
    std::mutex mutex;
    std::deque<Message> waiting;        // guarded by mutex
    std::atomic<uint64_t> received{0};  // messages taken by the receiver
    std::atomic<uint64_t> signal_value{0};
    std::atomic<double> signal_weight{0};
  };
  std::shared_ptr<Lane> lane(uint64_t group, int from, int to);
  /// How a rank's transport of a group ended: for all its lanes, also those that are not made yet.
  struct Seat {
    std::atomic<bool> closed{false};  // left in order
    std::atomic<bool> broken{false};  // without goodbye
  };
  std::shared_ptr<Seat> seat(uint64_t group, int rank);

  void expose(uint64_t group, int rank, uint64_t id, std::span<std::byte> region);
  std::span<std::byte> exposed(uint64_t group, int rank, uint64_t id);

  /// Mailboxes of ranks that play processes with shared memory; see region_post.h.
  void hand_over(const RegionLabel& label, int to, Region region);
  std::optional<Region> take_over(const RegionLabel& label, int to);
  void drop_handed_over(uint64_t group, int to);

  /// Tells sleepers that something changed.
  void notify();
  /// Sleeps until notify() or until `at_most` passed; returns at once when something changed since `seen`.
  void wait_change(uint64_t& seen, Duration at_most);

 private:
  InprocFabric() = default;
  std::shared_ptr<JobPage> page_;  // shared with every endpoint of the fabric

  std::mutex mutex_;  // guards the maps
  std::map<std::tuple<uint64_t, int, int>, std::shared_ptr<Lane>> lanes_;
  std::map<std::pair<uint64_t, int>, std::shared_ptr<Seat>> seats_;
  std::map<std::tuple<uint64_t, int, uint64_t>, std::span<std::byte>> regions_;
  std::map<std::pair<RegionLabel, int>, Region> handed_over_;

  std::mutex change_mutex_;  // guards changes_
  std::condition_variable changed_;
  uint64_t changes_ = 0;
};

struct InprocTransportOptions {
  std::shared_ptr<InprocFabric> fabric;
  uint64_t group = 0;
  std::vector<int> job_ranks;  // group rank -> rank in the job, for errors
  int rank = 0;
};
std::unique_ptr<Transport> make_inproc_transport(InprocTransportOptions options);

}  // namespace rondo::comm
