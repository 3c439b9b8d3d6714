#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "comm/transport/tcp.h"
#include "comm/transport/tcp_link.h"

namespace rondo::comm {
namespace {

constexpr size_t kBytesPerLink = 256 * 1024;  // of one progress(), in each direction
constexpr int kLinksPerProgress = 4;          // that move

class TcpTransport final : public Transport {
 public:
  TcpTransport(std::shared_ptr<Env> env, TcpTransportOptions options)
      : env_(std::move(env)), options_(std::move(options)), by_rank_(options_.job_ranks.size()) {}

  TransportKind kind() const override { return TransportKind::kTcp; }
  Abilities abilities() const override { return {.message = true}; }

  Result<SendTicket> send(int peer, const MessageHeader& header, std::span<const std::byte> payload) override {
    Result<TcpLink*> link = link_to(peer);
    RONDO_TRY(link);
    FrameHeader frame;
    frame.type = header.kind == MessageKind::kDescriptor ? FrameType::kDescriptor : FrameType::kPayload;
    frame.sequence = header.sequence;
    frame.segment = header.segment;
    frame.hop = header.hop;
    frame.weight = header.weight;
    return (*link)->frames().send(frame, payload);
  }

  uint64_t sends_done(int peer) const override {
    const FramedStream* frames = frames_of(peer);
    return frames != nullptr ? frames->frames_acked() : 0;
  }
  uint64_t sends_released(int peer) const override {
    const FramedStream* frames = frames_of(peer);
    return frames != nullptr ? frames->frames_released() : 0;
  }

  Result<std::optional<MessageHeader>> receive(int peer, std::span<std::byte> into) override {
    Result<TcpLink*> link = link_to(peer);
    RONDO_TRY(link);
    Result<std::optional<FrameHeader>> frame = (*link)->frames().receive(into);
    RONDO_TRY(frame);
    if (!frame->has_value()) return std::optional<MessageHeader>();
    const FrameHeader& got = **frame;
    if (got.type != FrameType::kDescriptor && got.type != FrameType::kPayload) {
      return Status(Code::kCorrupt, "a frame of type " + std::string(name(got.type)) + " on a data link",
                    (*link)->where());
    }
    MessageHeader header;
    header.kind = got.type == FrameType::kDescriptor ? MessageKind::kDescriptor : MessageKind::kPayload;
    header.sequence = got.sequence;
    header.segment = got.segment;
    header.hop = got.hop;
    header.weight = got.weight;
    return std::optional(header);
  }

  Status expose(uint64_t, const Region&) override { return unsupported(); }
  Result<std::span<std::byte>> peer_region(int, uint64_t) override { return unsupported(); }
  Status signal(int, uint64_t, double) override { return unsupported(); }
  Result<Signal> signal_from(int) override { return unsupported(); }

  Result<Progress> progress(TimePoint now) override {
    const bool moved = move_links(now);
    for (const TcpLink* link : links_) {
      if (!link->status().ok()) return link->status();
    }
    return moved ? Progress::kProgressed : Progress::kBlocked;
  }

  std::vector<LinkStatistics> links() const override {
    std::vector<LinkStatistics> all;
    for (const TcpLink* link : links_) all.push_back(link->statistics());
    return all;
  }

  std::vector<WaitHandle> wait_handles() const override {
    std::vector<WaitHandle> handles;
    bool expects_a_caller = false;
    for (const TcpLink* link : links_) {
      link->add_wait_handles(handles);
      expects_a_caller |= link->expects_a_caller();
    }
    if (expects_a_caller) {
      const auto callers = options_.port->wait_handles();
      handles.insert(handles.end(), callers.begin(), callers.end());
    }
    std::erase_if(handles, [](const WaitHandle& handle) { return handle.handle < 0; });
    return handles;
  }

  void idle(Duration at_most) override { env_->idle(wait_handles(), at_most); }

  Status goodbye(TimePoint now) override {
    bool all_left = true;
    for (TcpLink* link : links_) all_left = link->leave(now) && all_left;
    if (all_left) return {};
    (void)move_links(now);  // a peer that is gone cannot be told
    for (TcpLink* link : links_) {
      if (!link->leave(now)) return Status::pending();
    }
    return {};
  }

 private:
  const FramedStream* frames_of(int peer) const {
    const bool known = peer >= 0 && static_cast<size_t>(peer) < by_rank_.size();
    const TcpLink* link = known ? by_rank_[static_cast<size_t>(peer)].get() : nullptr;
    return link != nullptr ? &link->frames() : nullptr;
  }

  /// The link of this pair from now on: of a large group a rank talks to few.
  Result<TcpLink*> link_to(int peer) {
    if (peer < 0 || static_cast<size_t>(peer) >= by_rank_.size() || peer == options_.rank) {
      return Status(Code::kInvalidArgument, "there is no link from rank " + std::to_string(options_.rank) +
                                                " to rank " + std::to_string(peer) + " in a group of " +
                                                std::to_string(by_rank_.size()));
    }
    auto& link = by_rank_[static_cast<size_t>(peer)];
    if (link == nullptr) {
      link = std::make_unique<TcpLink>(env_, options_, peer);
      links_.push_back(link.get());
    }
    link->want();
    return link.get();
  }

  static Status unsupported() {
    return {Code::kUnsupported, "tcp links carry messages only: they share no memory with the peer"};
  }

  bool move_links(TimePoint now) {
    bool moved = false;
    bool pumped = false;
    int links_moved = 0;
    for (size_t i = 0; i < links_.size() && links_moved < kLinksPerProgress; ++i) {
      TcpLink& link = *links_[(first_ + i) % links_.size()];
      if (link.expects_a_caller() && !std::exchange(pumped, true)) {
        moved |= options_.port->pump(now) == Progress::kProgressed;
      }
      const bool link_moved = link.advance(now, kBytesPerLink);
      links_moved += link_moved ? 1 : 0;
      moved |= link_moved;
    }
    first_ = links_.empty() ? 0 : (first_ + 1) % links_.size();
    return moved;
  }

  // Constant after construction.
  const std::shared_ptr<Env> env_;
  const TcpTransportOptions options_;

  std::vector<std::unique_ptr<TcpLink>> by_rank_;  // null until first used
  std::vector<TcpLink*> links_;                    // those that are not null, in the order of their first use
  size_t first_ = 0;                               // whose turn it is
};

}  // namespace

Result<std::unique_ptr<Transport>> make_tcp_transport(std::shared_ptr<Env> env, TcpTransportOptions options) {
  const size_t ranks = options.job_ranks.size();
  if (ranks == 0 || options.addresses.size() != ranks || options.rank < 0 ||
      static_cast<size_t>(options.rank) >= ranks) {
    return Status(Code::kInvalidArgument, "a tcp transport for rank " + std::to_string(options.rank) + " of " +
                                              std::to_string(ranks) + " ranks and " +
                                              std::to_string(options.addresses.size()) + " addresses");
  }
  if (!options.port) return Status(Code::kInvalidArgument, "a tcp transport needs the endpoint's port");
  return std::unique_ptr<Transport>(std::make_unique<TcpTransport>(std::move(env), std::move(options)));
}

}  // namespace rondo::comm
