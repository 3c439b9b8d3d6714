#include "comm/sim/faulty_transport.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "comm/base/crc32c.h"

namespace rondo::comm {
namespace {

class FaultyTransport final : public Transport {
 public:
  FaultyTransport(std::unique_ptr<Transport> below, FaultyTransportOptions options)
      : below_(std::move(below)),
        options_(std::move(options)),
        me_(options_.job_ranks[static_cast<size_t>(options_.rank)]) {}

  TransportKind kind() const override { return below_->kind(); }
  Abilities abilities() const override { return below_->abilities(); }

  Result<SendTicket> send(int peer, const MessageHeader& header, std::span<const std::byte> payload) override {
    Peer& to = peers_[peer];
    const FaultPoint point = point_of(peer, Act::kSend, to.sent, header);
    ++to.sent;
    if (injector().strikes(FaultKind::kKill, point)) injector().kill(me_);
    if (injector().strikes(FaultKind::kStall, point)) {
      stalled_until_ = std::max(stalled_until_, now_ + injector().draw_duration(FaultKind::kStall, point));
    }
    Held message{.header = header, .payload = payload, .due = due(point)};
    message.lost = injector().strikes(FaultKind::kLose, point);
    message.copies = injector().strikes(FaultKind::kRepeat, point) ? 2 : 1;
    if (injector().strikes(FaultKind::kAgain, point)) {
      message.calls = injector().draw_calls(FaultKind::kAgain, point);
    }
    note(Event::kMessageSent, peer, header, payload);
    to.held.push_back(message);
    RONDO_TRY(release(peer));
    return to.sent;
  }

  uint64_t sends_done(int peer) const override {
    const auto found = peers_.find(peer);
    if (found == peers_.end()) return 0;
    uint64_t done = found->second.done;
    for (const std::optional<SendTicket>& ticket : found->second.under_way) {
      if (ticket && below_->sends_done(peer) < *ticket) break;
      ++done;
    }
    return done;
  }

  Result<std::optional<MessageHeader>> receive(int peer, std::span<std::byte> into) override {
    Peer& from = peers_[peer];
    if (standing_still()) return std::optional<MessageHeader>();
    const FaultPoint point = point_of(peer, Act::kReceive, from.received, {});
    if (from.judged == from.received) {
      ++from.judged;
      if (injector().strikes(FaultKind::kKill, point)) injector().kill(me_);
      if (injector().strikes(FaultKind::kAgain, point)) {
        from.unseen_calls = injector().draw_calls(FaultKind::kAgain, point);
      }
    }
    if (standing_still()) return std::optional<MessageHeader>();
    if (from.unseen_calls > 0) {
      --from.unseen_calls;
      return std::optional<MessageHeader>();
    }
    auto got = below_->receive(peer, into);
    if (!got.ok() || !got->has_value()) return got;
    ++from.received;
    if (!into.empty() && injector().strikes(FaultKind::kFlipAbove, point)) {
      const uint64_t drawn = injector().draw(FaultKind::kFlipAbove, point, into.size() * 255);
      into[drawn % into.size()] ^= static_cast<std::byte>(1 + drawn / into.size());
    }
    note(Event::kMessageTaken, peer, **got, into);
    return got;
  }

  Status expose(uint64_t id, const Region& region) override { return below_->expose(id, region); }
  Result<std::span<std::byte>> peer_region(int peer, uint64_t id) override { return below_->peer_region(peer, id); }

  Status signal(int peer, uint64_t value, double weight) override {
    Peer& to = peers_[peer];
    const FaultPoint point = point_of(peer, Act::kSignal, to.signals++, {.sequence = value});
    if (injector().strikes(FaultKind::kKill, point)) injector().kill(me_);
    to.held.push_back({.signal = Signal{value, weight}, .due = due(point)});
    return release(peer);
  }

  /// Memory is not a message: what ranks write to their lines is neither late nor wrong.
  Board* board() override { return below_->board(); }

  Result<Signal> signal_from(int peer) override {
    if (standing_still()) return Signal{};
    return below_->signal_from(peer);
  }

  Result<Progress> progress(TimePoint now) override {
    now_ = now;
    if (standing_still()) return Progress::kBlocked;
    bool moved = false;
    for (auto& [peer, to] : peers_) {
      while (!to.under_way.empty()) {
        const auto& ticket = to.under_way.front();
        if (ticket && below_->sends_done(peer) < *ticket) break;
        to.under_way.pop_front();
        ++to.done;
      }
      const size_t before = to.held.size();
      if (before == 0) continue;
      if (to.held.front().calls > 0) --to.held.front().calls;
      RONDO_TRY(release(peer));
      moved |= to.held.size() < before;
    }
    const auto below = below_->progress(now);
    RONDO_TRY(below);
    return moved ? Progress::kProgressed : *below;
  }

  std::vector<LinkStatistics> links() const override { return below_->links(); }
  std::vector<WaitHandle> wait_handles() const override { return below_->wait_handles(); }
  void idle(Duration at_most) override { below_->idle(at_most); }

  Status goodbye(TimePoint now) override {
    if (injector().killed(me_)) return {};
    if (!progress(now).ok()) return below_->goodbye(now);  // a peer that is gone cannot be told
    const bool all_out =
        std::all_of(peers_.begin(), peers_.end(), [](const auto& each) { return each.second.held.empty(); });
    return all_out ? below_->goodbye(now) : Status::pending();
  }

 private:
  /// A message or a signal that the transport below has not got yet.
  struct Held {
    MessageHeader header;
    std::span<const std::byte> payload;
    std::optional<Signal> signal;
    TimePoint due;
    int calls = 0;  // of progress()
    int copies = 1;
    bool lost = false;
  };
  struct Peer {
    uint64_t sent = 0;
    uint64_t done = 0;                                // messages sent, of the caller's count
    std::deque<std::optional<SendTicket>> under_way;  // the messages after those, of the count below; empty: lost
    std::deque<Held> held;
    uint64_t received = 0;
    uint64_t judged = 0;  // messages that faults were drawn for
    int unseen_calls = 0;
    uint64_t signals = 0;
  };

  Injector& injector() const { return *options_.injector; }
  bool standing_still() const { return now_ < stalled_until_ || injector().killed(me_); }

  FaultPoint point_of(int peer, Act act, uint64_t nth, const MessageHeader& header) const {
    return {.rank = me_,
            .peer = options_.job_ranks[static_cast<size_t>(peer)],
            .act = act,
            .nth = nth,
            .group = options_.group,
            .sequence = header.sequence,
            .hop = header.hop,
            .segment = header.segment};
  }

  TimePoint due(const FaultPoint& point) {
    if (!injector().strikes(FaultKind::kDelay, point)) return now_;
    return now_ + injector().draw_duration(FaultKind::kDelay, point);
  }

  /// Passes on what is due, in order.
  Status release(int peer) {
    Peer& to = peers_[peer];
    while (!to.held.empty() && to.held.front().due <= now_ && to.held.front().calls == 0 && !standing_still()) {
      const Held held = to.held.front();
      to.held.pop_front();
      if (held.signal) {
        RONDO_TRY(below_->signal(peer, held.signal->value, held.signal->weight));
        continue;
      }
      std::optional<SendTicket> last;
      for (int copy = 0; copy < (held.lost ? 0 : held.copies); ++copy) {
        const auto ticket = below_->send(peer, held.header, held.payload);
        RONDO_TRY(ticket);
        last = *ticket;
      }
      to.under_way.push_back(last);
    }
    return {};
  }

  void note(Event event, int peer, const MessageHeader& header, std::span<const std::byte> payload) {
    if (!options_.trace) return;
    options_.trace->note(event, {static_cast<uint64_t>(me_), static_cast<uint64_t>(peer), options_.group,
                                 header.sequence, header.hop, header.segment, payload.size(), crc32c(payload)});
  }

  const std::unique_ptr<Transport> below_;
  const FaultyTransportOptions options_;
  const int me_;               // in the job
  std::map<int, Peer> peers_;  // by group rank; those that were talked to
  TimePoint now_;              // of the last progress()
  TimePoint stalled_until_;
};

}  // namespace

std::unique_ptr<Transport> make_faulty_transport(std::unique_ptr<Transport> below, FaultyTransportOptions options) {
  return std::make_unique<FaultyTransport>(std::move(below), std::move(options));
}

}  // namespace rondo::comm
