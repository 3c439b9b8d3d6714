/// Moves bytes between this rank and each other rank of one group.
///
/// Three abilities, declared and not guessed: *message* (ordered per pair), *region* (a peer's registered memory mapped
/// here), *signal* (a counter per ordered pair that only rises). Nothing blocks; progress() moves bytes.
/// Threading: one thread at a time (the group's lock).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rondo/comm/endpoint.h"
#include "rondo/comm/env.h"
#include "rondo/comm/link_statistics.h"
#include "rondo/comm/memory.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

class Board;

struct Abilities {
  bool message = false;
  bool region = false;
  bool signal = false;
  bool board = false;
};

enum class MessageKind : uint16_t {
  kDescriptor = 1,  // first message of a collective to each peer: what I am about to do
  kPayload = 2,
};

/// What travels beside the payload.
struct MessageHeader {
  MessageKind kind = MessageKind::kPayload;
  uint64_t sequence = 0;  // of the collective in its group
  uint32_t segment = 0;
  uint32_t hop = 0;
  double weight = 0;  // summed weight of the operands in the payload
};

/// Counts messages to one peer from 1; see sends_done().
using SendTicket = uint64_t;

class Transport {
 public:
  virtual ~Transport() = default;
  virtual TransportKind kind() const = 0;
  virtual Abilities abilities() const = 0;

  // --- message: in order for each pair.

  /// Queues a message. `payload` stays untouched until sends_released(peer) >= the ticket.
  virtual Result<SendTicket> send(int peer, const MessageHeader& header, std::span<const std::byte> payload) = 0;
  /// How many messages to `peer` have arrived there, whole and checked.
  virtual uint64_t sends_done(int peer) const = 0;
  /// How many messages to `peer` need this rank no more, although some may still be on their way: at least
  /// sends_done(peer). Of these the transport has a copy, and would send it again by itself.
  virtual uint64_t sends_released(int peer) const { return sends_done(peer); }
  /// The next message of `peer`, whole and checked, its payload in `into`. Empty: not all there yet; call again with
  /// the same `into`, which belongs to the transport until then (it may be partly written), until goodbye() or until
  /// the transport is gone. A payload of another length is kMismatch.
  virtual Result<std::optional<MessageHeader>> receive(int peer, std::span<std::byte> into) = 0;

  // --- region and signal.

  /// Makes `region` reachable for peers under `id` (the same on every rank). kUnsupported without the ability.
  virtual Status expose(uint64_t id, const Region& region) = 0;
  /// `peer`'s region `id`, mapped here; empty while the peer has not exposed it. Stays mapped until this rank frees its
  /// own region `id`, or the group ends.
  virtual Result<std::span<std::byte>> peer_region(int peer, uint64_t id) = 0;
  /// Raises my counter at `peer` to `value` (release) and hands over `weight`.
  virtual Status signal(int peer, uint64_t value, double weight) = 0;
  struct Signal {
    uint64_t value = 0;
    double weight = 0;
  };
  /// The highest value that `peer` has raised here (acquire).
  virtual Result<Signal> signal_from(int peer) = 0;

  /// How good the connections were so far, one entry for each; empty where there are none.
  virtual std::vector<LinkStatistics> links() const = 0;

  /// The flag lines of ranks that share memory; null where there are none. Owned by the transport.
  virtual Board* board() { return nullptr; }

  // --- life.

  /// Moves bytes; kProgressed when any moved. Errors name the peer: kPeerLost, kClosed, kCorrupt, kUnauthenticated,
  /// kIo.
  virtual Result<Progress> progress(TimePoint now) = 0;
  /// What an idle thread may wait for. Empty for inproc: its waiters use idle().
  virtual std::vector<WaitHandle> wait_handles() const = 0;
  /// Sleeps until something may have arrived, at most `at_most`. Transports with wait handles leave it to Env::idle.
  virtual void idle(Duration at_most) = 0;
  /// Tells peers that this rank leaves in order, as far as that goes without blocking. Pending sends go first:
  /// kPending until they are out.
  virtual Status goodbye(TimePoint now) = 0;
};

}  // namespace rondo::comm
