#include <algorithm>
#include <map>
#include <utility>

#include "comm/transport/shm.h"

namespace rondo::comm {
namespace {

// Regions of users count from 1.
constexpr uint64_t kBoardRegion = 0;

class ShmTransport final : public Transport {
 public:
  ShmTransport(ShmTransportOptions options, Region board)
      : options_(std::move(options)),
        board_({options_.page, options_.job_ranks, options_.rank}, std::move(board)),
        regions_(options_.job_ranks.size()) {}

  ~ShmTransport() override { options_.post->forget(options_.group); }

  TransportKind kind() const override { return TransportKind::kShm; }
  Abilities abilities() const override { return {.message = true, .region = true, .signal = true, .board = true}; }
  Board* board() override { return &board_; }

  Result<SendTicket> send(int peer, const MessageHeader& header, std::span<const std::byte> payload) override {
    return options_.messages->send(peer, header, payload);
  }
  uint64_t sends_done(int peer) const override { return options_.messages->sends_done(peer); }
  uint64_t sends_released(int peer) const override { return options_.messages->sends_released(peer); }
  Result<std::optional<MessageHeader>> receive(int peer, std::span<std::byte> into) override {
    return options_.messages->receive(peer, into);
  }

  Status expose(uint64_t id, const Region& region) override {
    collect();
    lives_[id] = region.life();
    for (int peer = 0; peer < ranks(); ++peer) {
      if (peer != options_.rank) unposted_.push_back({peer, id, region.share()});
    }
    return post_what_is_left();
  }

  Result<std::span<std::byte>> peer_region(int peer, uint64_t id) override {
    auto& of_peer = regions_[static_cast<size_t>(peer)];
    if (const auto found = of_peer.find(id); found != of_peer.end()) return found->second.bytes();
    auto taken = take(peer, id);
    RONDO_TRY(taken);
    if (!taken->has_value()) return std::span<std::byte>();
    return of_peer.emplace(id, std::move(**taken)).first->second.bytes();
  }

  Status signal(int peer, uint64_t value, double weight) override {
    board_.raise_signal(peer, value, weight);
    return {};
  }
  Result<Signal> signal_from(int peer) override {
    const auto signal = board_.signal_from(peer);
    return Signal{signal.value, signal.weight};
  }

  Result<Progress> progress(TimePoint now) override {
    RONDO_TRY(post_what_is_left());
    bool attached = false;
    if (missing_boards_ > 0) {
      const auto some = attach_boards();
      RONDO_TRY(some);
      attached = *some;
    }
    auto moved = options_.messages->progress(now);
    if (moved.ok() && attached) return Progress::kProgressed;
    return moved;
  }

  std::vector<LinkStatistics> links() const override { return options_.messages->links(); }
  std::vector<WaitHandle> wait_handles() const override { return options_.messages->wait_handles(); }
  void idle(Duration at_most) override { options_.messages->idle(at_most); }
  Status goodbye(TimePoint now) override {
    board_.leave();
    return options_.messages->goodbye(now);
  }

 private:
  int ranks() const { return static_cast<int>(options_.job_ranks.size()); }
  int job_rank(int peer) const { return options_.job_ranks[static_cast<size_t>(peer)]; }
  bool has_left(int peer) const { return options_.page->membership(job_rank(peer)) == Membership::kLeft; }

  Result<std::optional<Region>> take(int peer, uint64_t id) {
    return options_.post->take({.group = options_.group, .from = job_rank(peer), .id = id});
  }

  Status post_what_is_left() {
    while (!unposted_.empty()) {
      const Unposted& next = unposted_.back();
      const Status status =
          options_.post->post(options_.mailboxes[static_cast<size_t>(next.peer)], job_rank(next.peer),
                              {.group = options_.group, .from = job_rank(options_.rank), .id = next.id}, next.region);
      if (status.is_pending()) return {};  // its mailbox is full: the next progress() tries again
      // Who left in order misses nothing. Where its part is needed, the wait for it says so.
      const bool missed_by_nobody = status.code() == Code::kPeerLost && has_left(next.peer);
      if (!status.ok() && !missed_by_nobody) return status;
      unposted_.pop_back();
    }
    return {};
  }

  /// True when a board came.
  Result<bool> attach_boards() {
    const int missing_before = missing_boards_;
    missing_boards_ = 0;
    for (int peer = 0; peer < ranks(); ++peer) {
      if (board_.attached(peer)) continue;
      auto taken = take(peer, kBoardRegion);
      RONDO_TRY(taken);
      if (taken->has_value()) {
        RONDO_TRY(board_.attach(peer, std::move(**taken)));
      } else {
        ++missing_boards_;
      }
    }
    return missing_boards_ != missing_before;
  }

  /// Peers free a region when this rank does; without this their memory would live on in mappings here.
  void collect() {
    for (auto life = lives_.begin(); life != lives_.end();) {
      if (!life->second.expired()) {
        ++life;
        continue;
      }
      for (auto& of_peer : regions_) of_peer.erase(life->first);
      life = lives_.erase(life);
    }
  }

  const ShmTransportOptions options_;
  Board board_;
  int missing_boards_ = ranks() - 1;
  struct Unposted {
    int peer;
    uint64_t id;
    Region region;
  };
  std::vector<Unposted> unposted_;
  std::map<uint64_t, Region::Life> lives_;           // of this rank's regions
  std::vector<std::map<uint64_t, Region>> regions_;  // of each peer, by id
};

}  // namespace

Result<std::unique_ptr<Transport>> make_shm_transport(ShmTransportOptions options) {
  auto board = Region::allocate(Board::byte_count(static_cast<int>(options.job_ranks.size())), "flag lines of a group");
  RONDO_TRY(board);
  auto transport = std::make_unique<ShmTransport>(std::move(options), std::move(*board));
  RONDO_TRY(transport->expose(kBoardRegion, transport->board()->own()));
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace rondo::comm
