/// Messages between the ranks of one host within a group that spans several: through rings of bytes in shared memory,
/// one for each ordered pair.
///
/// The writer of a ring makes its memory and posts it to the reader (region_post.h), so that each rank has one region
/// with a ring for each of its neighbours. Both only ever raise counters: the writer what is written, the reader what
/// it has read and how many messages it took whole. A message longer than the ring goes through it bit by bit. Whoever
/// raises a counter rings the other's bell (job_page.h).
///
/// Nothing blocks. Threading: under the group's lock; the memory is shared.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/transport/region_post.h"
#include "comm/transport/transport.h"
#include "comm/watch/job_page.h"

namespace rondo::comm {

struct PipesOptions {
  std::shared_ptr<JobPage> page;
  std::shared_ptr<RegionPost> post;
  uint64_t group = 0;
  std::vector<int> job_ranks;          // group rank -> rank in the job
  std::vector<std::string> mailboxes;  // of each group rank; used of neighbours only
  std::vector<int> neighbours;         // group ranks on this host, this rank included, ascending
  int rank = 0;
};

class Pipes {
 public:
  static constexpr size_t kRingBytes = size_t{512} * 1024;

  /// Allocates this rank's rings. kResource when memory is short.
  static Result<std::unique_ptr<Pipes>> open(PipesOptions options);
  ~Pipes();
  Pipes(const Pipes&) = delete;
  Pipes& operator=(const Pipes&) = delete;

  /// `peer` is a neighbour, and the rest of this interface is about it; the promises are those of Transport.
  bool reaches(int peer) const { return index_of(peer) >= 0 && peer != options_.rank; }
  SendTicket send(int peer, const MessageHeader& header, std::span<const std::byte> payload);
  uint64_t sends_done(int peer) const;
  uint64_t sends_released(int peer) const;
  Result<std::optional<MessageHeader>> receive(int peer, std::span<std::byte> into);
  Result<Progress> progress();
  /// kPending while something is not written yet.
  Status goodbye();

 private:
  struct Note;
  struct Ring;
  struct Outgoing {
    MessageHeader header;
    std::span<const std::byte> payload;
    size_t written = 0;  // of note and payload
  };
  struct Neighbour {
    int rank = -1;        // in the group
    Ring* out = nullptr;  // in own_
    std::deque<Outgoing> queue;
    uint64_t queued = 0, released = 0;  // messages
    Region memory;                      // the neighbour's; empty: it has not come yet
    Ring* in = nullptr;                 // in memory
    bool posted = false;                // it has been sent own_
    std::optional<MessageHeader> arriving;
    uint64_t length = 0;    // of the arriving payload
    uint64_t received = 0;  // bytes of it
  };

  Pipes(PipesOptions options, Region own);
  int index_of(int peer) const;
  Neighbour& at(int peer) { return neighbours_[static_cast<size_t>(index_of(peer))]; }
  const Neighbour& at(int peer) const { return neighbours_[static_cast<size_t>(index_of(peer))]; }
  Where where(const Neighbour& neighbour) const;
  Status meet(Neighbour& neighbour);
  bool write_some(Neighbour& neighbour);
  void ring_bell(const Neighbour& neighbour) const;

  const PipesOptions options_;
  Region own_;
  std::vector<Neighbour> neighbours_;  // as options_.neighbours; this rank's own is not used
  bool moved_ = false;                 // since the last progress()
};

}  // namespace rondo::comm
