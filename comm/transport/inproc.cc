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
  explicit InprocTransport(InprocTransportOptions options) : options_(std::move(options)) {
    const auto n = options_.job_ranks.size();
    out_.resize(n);
    in_.resize(n);
    sent_.resize(n);
    for (size_t peer = 0; peer < n; ++peer) {
      out_[peer] = options_.fabric->lane(options_.group, options_.rank, static_cast<int>(peer));
      in_[peer] = options_.fabric->lane(options_.group, static_cast<int>(peer), options_.rank);
    }
  }

  ~InprocTransport() override {
    for (auto& lane : out_) {
      if (!lane->closed.load(std::memory_order_acquire)) lane->broken.store(true, std::memory_order_release);
    }
    options_.fabric->notify();
  }

  TransportKind kind() const override { return TransportKind::kInproc; }
  Abilities abilities() const override { return {.message = true, .region = true, .signal = true}; }

  Result<SendTicket> send(int peer, const MessageHeader& header, std::span<const std::byte> payload) override {
    {
      Lane& lane = *out_[static_cast<size_t>(peer)];
      const std::lock_guard lock(lane.mutex);
      lane.waiting.push_back({header, {payload.begin(), payload.end()}});
    }
    moved_ = true;
    options_.fabric->notify();
    return ++sent_[static_cast<size_t>(peer)];
  }

  uint64_t sends_done(int peer) const override {
    return out_[static_cast<size_t>(peer)]->received.load(std::memory_order_acquire);
  }

  Result<std::optional<MessageHeader>> receive(int peer, std::span<std::byte> into) override {
    Lane& lane = *in_[static_cast<size_t>(peer)];
    const bool closed = lane.closed.load(std::memory_order_acquire);
    const bool broken = lane.broken.load(std::memory_order_acquire);
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

  Status expose(uint64_t id, std::span<std::byte> region) override {
    options_.fabric->expose(options_.group, options_.rank, id, region);
    return {};
  }

  Result<std::span<std::byte>> peer_region(int peer, uint64_t id) override {
    return options_.fabric->exposed(options_.group, peer, id);
  }

  Status signal(int peer, uint64_t value, double weight) override {
    Lane& lane = *out_[static_cast<size_t>(peer)];
    lane.signal_weight.store(weight, std::memory_order_relaxed);
    lane.signal_value.store(value, std::memory_order_release);
    options_.fabric->notify();
    return {};
  }

  Result<Signal> signal_from(int peer) override {
    Lane& lane = *in_[static_cast<size_t>(peer)];
    const uint64_t value = lane.signal_value.load(std::memory_order_acquire);
    return Signal{value, lane.signal_weight.load(std::memory_order_relaxed)};
  }

  Result<Progress> progress(TimePoint) override {
    return std::exchange(moved_, false) ? Progress::kProgressed : Progress::kBlocked;
  }
  std::vector<WaitHandle> wait_handles() const override { return {}; }
  void idle(Duration at_most) override { options_.fabric->wait_change(seen_, at_most); }

  Status goodbye(TimePoint) override {
    for (auto& lane : out_) lane->closed.store(true, std::memory_order_release);
    options_.fabric->notify();
    return {};
  }

 private:
  using Lane = InprocFabric::Lane;
  using Message = InprocFabric::Message;

  const InprocTransportOptions options_;
  std::vector<std::shared_ptr<Lane>> out_, in_;  // shared with the peer and the fabric
  std::vector<uint64_t> sent_;
  bool moved_ = false;
  uint64_t seen_ = 0;
};

}  // namespace

std::unique_ptr<Transport> make_inproc_transport(InprocTransportOptions options) {
  return std::make_unique<InprocTransport>(std::move(options));
}

}  // namespace rondo::comm
