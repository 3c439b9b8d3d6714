#include "comm/transport/inproc.h"

#include <cstring>
#include <string>
#include <utility>

namespace rondo::comm {

Result<std::shared_ptr<InprocFabric>> InprocFabric::create(int world_size) {
  auto region = Region::allocate(JobPage::byte_count(world_size), "job page of fake ranks");
  RONDO_TRY(region);
  auto page = JobPage::format(std::move(*region), world_size);
  RONDO_TRY(page);
  std::shared_ptr<InprocFabric> fabric(new InprocFabric);
  fabric->page_ = std::move(*page);
  return fabric;
}

Result<std::shared_ptr<InprocFabric>> make_inproc_fabric(int world_size) { return InprocFabric::create(world_size); }

std::shared_ptr<InprocFabric::Lane> InprocFabric::lane(uint64_t group, int from, int to) {
  const std::lock_guard lock(mutex_);
  auto& slot = lanes_[{group, from, to}];
  if (!slot) slot = std::make_shared<Lane>();
  return slot;
}

std::shared_ptr<InprocFabric::Seat> InprocFabric::seat(uint64_t group, int rank) {
  const std::lock_guard lock(mutex_);
  auto& slot = seats_[{group, rank}];
  if (!slot) slot = std::make_shared<Seat>();
  return slot;
}

void InprocFabric::expose(uint64_t group, int rank, uint64_t id, std::span<std::byte> region) {
  {
    const std::lock_guard lock(mutex_);
    regions_[{group, rank, id}] = region;
  }
  notify();
}

std::span<std::byte> InprocFabric::exposed(uint64_t group, int rank, uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto found = regions_.find({group, rank, id});
  return found == regions_.end() ? std::span<std::byte>() : found->second;
}

void InprocFabric::hand_over(const RegionLabel& label, int to, Region region) {
  const std::lock_guard lock(mutex_);
  handed_over_.insert_or_assign({label, to}, std::move(region));
}

std::optional<Region> InprocFabric::take_over(const RegionLabel& label, int to) {
  const std::lock_guard lock(mutex_);
  const auto found = handed_over_.find({label, to});
  if (found == handed_over_.end()) return std::nullopt;
  Region region = std::move(found->second);
  handed_over_.erase(found);
  return region;
}

void InprocFabric::drop_handed_over(uint64_t group, int to) {
  const std::lock_guard lock(mutex_);
  std::erase_if(handed_over_,
                [&](const auto& each) { return each.first.first.group == group && each.first.second == to; });
}

void InprocFabric::notify() {
  {
    const std::lock_guard lock(change_mutex_);
    ++changes_;
  }
  changed_.notify_all();
}

void InprocFabric::wait_change(uint64_t& seen, Duration at_most) {
  std::unique_lock lock(change_mutex_);
  // system_clock: the thread sanitizer of g++ 12 does not know the wait on the monotonic clock; the slice is short.
  changed_.wait_until(lock, std::chrono::system_clock::now() + at_most, [&] { return changes_ != seen; });
  seen = changes_;
}

namespace {

class InprocTransport final : public Transport {
 public:
  explicit InprocTransport(InprocTransportOptions options)
      : options_(std::move(options)),
        seat_(options_.fabric->seat(options_.group, options_.rank)),
        peers_(options_.job_ranks.size()) {}

  ~InprocTransport() override {
    if (!seat_->closed.load(std::memory_order_acquire)) seat_->broken.store(true, std::memory_order_release);
    options_.fabric->notify();
  }

  TransportKind kind() const override { return TransportKind::kInproc; }
  Abilities abilities() const override { return {.message = true, .region = true, .signal = true}; }

  Result<SendTicket> send(int peer, const MessageHeader& header, std::span<const std::byte> payload) override {
    Peer& to = lanes_with(peer);
    {
      const std::lock_guard lock(to.out->mutex);
      to.out->waiting.push_back({header, {payload.begin(), payload.end()}});
    }
    moved_ = true;
    options_.fabric->notify();
    return ++to.sent;
  }

  uint64_t sends_done(int peer) const override {
    const auto& out = peers_[static_cast<size_t>(peer)].out;
    return out ? out->received.load(std::memory_order_acquire) : 0;
  }

  Result<std::optional<MessageHeader>> receive(int peer, std::span<std::byte> into) override {
    const Peer& from = lanes_with(peer);
    const bool closed = from.seat->closed.load(std::memory_order_acquire);
    const bool broken = from.seat->broken.load(std::memory_order_acquire);
    Lane& lane = *from.in;
    Message message;
    {
      const std::lock_guard lock(lane.mutex);
      if (lane.waiting.empty()) {
        const int job_rank = options_.job_ranks[static_cast<size_t>(peer)];
        const std::string who = "rank " + std::to_string(job_rank);
        if (closed) return Status(Code::kClosed, who + " left in order", {.peer = job_rank});
        if (broken) return Status(Code::kPeerLost, who + " ended its links without goodbye", {.peer = job_rank});
        return std::optional<MessageHeader>();
      }
      if (lane.waiting.front().payload.size() != into.size()) {
        return Status(Code::kMismatch,
                      "a message of " + std::to_string(lane.waiting.front().payload.size()) + " bytes came where " +
                          std::to_string(into.size()) + " were expected",
                      {.peer = options_.job_ranks[static_cast<size_t>(peer)]});
      }
      message = std::move(lane.waiting.front());
      lane.waiting.pop_front();
    }
    if (!into.empty()) std::memcpy(into.data(), message.payload.data(), into.size());
    lane.received.fetch_add(1, std::memory_order_release);
    moved_ = true;
    options_.fabric->notify();
    return std::optional<MessageHeader>(message.header);
  }

  Status expose(uint64_t id, const Region& region) override {
    options_.fabric->expose(options_.group, options_.rank, id, region.bytes());
    return {};
  }

  Result<std::span<std::byte>> peer_region(int peer, uint64_t id) override {
    return options_.fabric->exposed(options_.group, peer, id);
  }

  Status signal(int peer, uint64_t value, double weight) override {
    Lane& lane = *lanes_with(peer).out;
    lane.signal_weight.store(weight, std::memory_order_relaxed);
    lane.signal_value.store(value, std::memory_order_release);
    options_.fabric->notify();
    return {};
  }

  Result<Signal> signal_from(int peer) override {
    Lane& lane = *lanes_with(peer).in;
    const uint64_t value = lane.signal_value.load(std::memory_order_acquire);
    return Signal{value, lane.signal_weight.load(std::memory_order_relaxed)};
  }

  Result<Progress> progress(TimePoint) override {
    return std::exchange(moved_, false) ? Progress::kProgressed : Progress::kBlocked;
  }
  std::vector<LinkStatistics> links() const override { return {}; }
  std::vector<WaitHandle> wait_handles() const override { return {}; }
  void idle(Duration at_most) override { options_.fabric->wait_change(seen_, at_most); }

  Status goodbye(TimePoint) override {
    seat_->closed.store(true, std::memory_order_release);
    options_.fabric->notify();
    return {};
  }

 private:
  using Lane = InprocFabric::Lane;
  using Seat = InprocFabric::Seat;
  using Message = InprocFabric::Message;

  struct Peer {
    std::shared_ptr<Lane> out, in;  // shared with the peer and the fabric, as the seat is
    std::shared_ptr<Seat> seat;
    uint64_t sent = 0;
  };

  /// Makes them at the first use: of a large group a rank talks to few.
  Peer& lanes_with(int peer) {
    Peer& with = peers_[static_cast<size_t>(peer)];
    if (with.seat == nullptr) {
      with.out = options_.fabric->lane(options_.group, options_.rank, peer);
      with.in = options_.fabric->lane(options_.group, peer, options_.rank);
      with.seat = options_.fabric->seat(options_.group, peer);
    }
    return with;
  }

  const InprocTransportOptions options_;
  const std::shared_ptr<Seat> seat_;  // shared with the peers
  std::vector<Peer> peers_;           // by group rank
  bool moved_ = false;
  uint64_t seen_ = 0;
};

}  // namespace

std::unique_ptr<Transport> make_inproc_transport(InprocTransportOptions options) {
  return std::make_unique<InprocTransport>(std::move(options));
}

}  // namespace rondo::comm
