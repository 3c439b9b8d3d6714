#include "comm/transport/mixed_transport.h"

#include <utility>

namespace rondo::comm {
namespace {

class MixedTransport final : public Transport {
 public:
  explicit MixedTransport(MixedTransportOptions options) : options_(std::move(options)) {}

  TransportKind kind() const override { return options_.across->kind(); }
  Abilities abilities() const override { return {.message = true}; }

  Result<SendTicket> send(int peer, const MessageHeader& header, std::span<const std::byte> payload) override {
    if (!inside().reaches(peer)) return across().send(peer, header, payload);
    return inside().send(peer, header, payload);
  }
  uint64_t sends_done(int peer) const override {
    return options_.inside->reaches(peer) ? options_.inside->sends_done(peer) : options_.across->sends_done(peer);
  }
  uint64_t sends_released(int peer) const override {
    return options_.inside->reaches(peer) ? options_.inside->sends_released(peer)
                                          : options_.across->sends_released(peer);
  }
  Result<std::optional<MessageHeader>> receive(int peer, std::span<std::byte> into) override {
    return inside().reaches(peer) ? inside().receive(peer, into) : across().receive(peer, into);
  }

  Status expose(uint64_t, const Region&) override { return unsupported(); }
  Result<std::span<std::byte>> peer_region(int, uint64_t) override { return unsupported(); }
  Status signal(int, uint64_t, double) override { return unsupported(); }
  Result<Signal> signal_from(int) override { return unsupported(); }

  Result<Progress> progress(TimePoint now) override {
    const auto near = inside().progress();
    RONDO_TRY(near);
    const auto far = across().progress(now);
    RONDO_TRY(far);
    return *near == Progress::kProgressed ? near : far;
  }
  std::vector<LinkStatistics> links() const override { return options_.across->links(); }
  std::vector<WaitHandle> wait_handles() const override { return options_.across->wait_handles(); }
  void idle(Duration at_most) override { across().idle(at_most); }
  Status goodbye(TimePoint now) override {
    const Status near = inside().goodbye();
    const Status far = across().goodbye(now);
    return near.is_pending() ? near : far;
  }

 private:
  static Status unsupported() {
    return {Code::kUnsupported, "this group has ranks on several hosts: they share no memory"};
  }
  Pipes& inside() { return *options_.inside; }
  Transport& across() { return *options_.across; }

  const MixedTransportOptions options_;
};

}  // namespace

std::unique_ptr<Transport> make_mixed_transport(MixedTransportOptions options) {
  return std::make_unique<MixedTransport>(std::move(options));
}

}  // namespace rondo::comm
