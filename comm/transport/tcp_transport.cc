#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "comm/transport/framed_stream.h"
#include "comm/transport/handshake.h"
#include "comm/transport/route.h"
#include "comm/transport/tcp.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

constexpr size_t kBytesPerLink = 256 * 1024;  // of one progress(), in each direction
constexpr int kLinksPerProgress = 4;          // that move
// A rank that leaves waits this long for acks of what peers may have taken and not acknowledged yet, because they are
// busy elsewhere: without it a payload that was damaged on its last way could not be sent again.
constexpr auto kLateAckGrace = 100ms;
constexpr int kRefusalsAllowed = 2;  // a peer that dies in a handshake looks like one that refuses

/// One pair's connection, from the wish for it to its end.
struct Link {
  explicit Link(std::vector<Address> addresses) : route(std::move(addresses)) {}
  int peer = -1;      // in the group
  int job_peer = -1;  // in the job
  bool wanted = true;
  std::unique_ptr<FramedStream> frames;  // takes messages before there is a connection
  Route route;
  // While dialing.
  std::unique_ptr<Handshake> dialing;
  std::optional<TimePoint> refused_since;
  std::optional<TimePoint> next_dial;
  Duration pause = 5ms;
  int refusals = 0;
  Status failed;  // never connected

  const Status& status() const { return failed.ok() ? frames->status() : failed; }
};

class TcpTransport final : public Transport {
 public:
  TcpTransport(std::shared_ptr<Env> env, TcpTransportOptions options)
      : env_(std::move(env)), options_(std::move(options)), by_rank_(options_.job_ranks.size()) {}

  TransportKind kind() const override { return TransportKind::kTcp; }
  Abilities abilities() const override { return {.message = true}; }

  Result<SendTicket> send(int peer, const MessageHeader& header, std::span<const std::byte> payload) override {
    Result<Link*> link = link_to(peer);
    RONDO_TRY(link);
    if (!(*link)->failed.ok()) return (*link)->failed;
    FrameHeader frame;
    frame.type = header.kind == MessageKind::kDescriptor ? FrameType::kDescriptor : FrameType::kPayload;
    frame.sequence = header.sequence;
    frame.segment = header.segment;
    frame.hop = header.hop;
    frame.weight = header.weight;
    return (*link)->frames->send(frame, payload);
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
    Result<Link*> link = link_to(peer);
    RONDO_TRY(link);
    if (!(*link)->failed.ok()) return (*link)->failed;
    Result<std::optional<FrameHeader>> frame = (*link)->frames->receive(into);
    RONDO_TRY(frame);
    if (!frame->has_value()) return std::optional<MessageHeader>();
    const FrameHeader& got = **frame;
    if (got.type != FrameType::kDescriptor && got.type != FrameType::kPayload) {
      return Status(Code::kCorrupt, "a frame of type " + std::string(name(got.type)) + " on a data link",
                    where(**link));
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
    for (const Link* link : links_) {
      if (!link->status().ok()) return link->status();
    }
    return moved ? Progress::kProgressed : Progress::kBlocked;
  }

  std::vector<WaitHandle> wait_handles() const override {
    std::vector<WaitHandle> handles;
    bool expects_a_caller = false;
    for (const Link* link : links_) {
      if (!link->wanted) continue;
      if (link->dialing) handles.push_back(link->dialing->wait_handle());
      if (link->frames->attached()) handles.push_back(link->frames->wait_handle());
      expects_a_caller |= !dials(*link) && !link->frames->attached();
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
    for (Link* link : links_) {
      link->frames->forget();
      if (!link->wanted || !link->status().ok()) continue;
      if (!link->frames->attached() && link->frames->flushed()) {  // nobody waits for anything on it
        link->dialing.reset();
        link->wanted = false;
        continue;
      }
      link->frames->send_goodbye();
    }
    (void)move_links(now);  // a peer that is gone cannot be told
    if (!leaving_since_) leaving_since_ = now;
    const bool patient = now - *leaving_since_ < kLateAckGrace;
    for (const Link* link : links_) {
      if (!link->wanted || !link->status().ok() || link->frames->ended()) continue;
      const bool may_go = link->frames->flushed() || (!patient && link->frames->released());
      if (!may_go) return Status::pending();
    }
    return {};
  }

 private:
  const FramedStream* frames_of(int peer) const {
    const bool known = peer >= 0 && static_cast<size_t>(peer) < by_rank_.size();
    const Link* link = known ? by_rank_[static_cast<size_t>(peer)].get() : nullptr;
    return link != nullptr ? link->frames.get() : nullptr;
  }

  bool dials(const Link& link) const { return options_.rank < link.peer; }

  Where where(const Link& link) const {
    return {.rank = options_.job_ranks[static_cast<size_t>(options_.rank)], .peer = link.job_peer};
  }

  /// The link of this pair from now on: of a large group a rank talks to few.
  Result<Link*> link_to(int peer) {
    if (peer < 0 || static_cast<size_t>(peer) >= by_rank_.size() || peer == options_.rank) {
      return Status(Code::kInvalidArgument, "there is no link from rank " + std::to_string(options_.rank) +
                                                " to rank " + std::to_string(peer) + " in a group of " +
                                                std::to_string(by_rank_.size()));
    }
    auto& link = by_rank_[static_cast<size_t>(peer)];
    if (link == nullptr) {
      link = std::make_unique<Link>(options_.addresses[static_cast<size_t>(peer)]);
      link->peer = peer;
      link->job_peer = options_.job_ranks[static_cast<size_t>(peer)];
      FramedStreamOptions how;
      how.peer_name = "rank " + std::to_string(link->job_peer) + " at " + link->route.text();
      how.where = where(*link);
      how.group = options_.group;
      how.generation = options_.port->options().generation;
      link->frames = std::make_unique<FramedStream>(std::move(how));
      links_.push_back(link.get());
    }
    link->wanted = true;
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
      Link& link = *links_[(first_ + i) % links_.size()];
      if (!link.wanted || !link.status().ok()) continue;
      if (!link.frames->attached()) {
        if (!dials(link) && !std::exchange(pumped, true)) moved |= options_.port->pump(now) == Progress::kProgressed;
        moved |= dials(link) ? dial(link, now) : claim(link);
      }
      const bool link_moved = link.failed.ok() && link.frames->advance(kBytesPerLink) == Progress::kProgressed;
      links_moved += link_moved ? 1 : 0;
      moved |= link_moved;
    }
    first_ = links_.empty() ? 0 : (first_ + 1) % links_.size();
    return moved;
  }

  bool claim(Link& link) {
    std::unique_ptr<Stream> stream = options_.port->claim(options_.group, link.job_peer);
    if (!stream) return false;
    link.frames->attach(std::move(stream));
    return true;
  }

  bool dial(Link& link, TimePoint now) {
    if (!link.dialing) {
      if (link.next_dial && now < *link.next_dial) return false;
      Result<std::unique_ptr<Stream>> stream = link.route.dial(*env_);
      if (!stream.ok()) {
        link.failed = stream.status().at(where(link));
        return true;
      }
      const TcpPortOptions& port = options_.port->options();
      HandshakeOptions how;
      how.side = HandshakeOptions::Side::kDialer;
      how.mine.role = Role::kData;
      how.mine.generation = port.generation;
      how.mine.group = options_.group;
      how.mine.from_rank = port.rank;
      how.mine.to_rank = link.job_peer;
      how.mine.job = port.job;
      how.secret = port.secret;
      how.peer_address = {link.route.text()};
      how.limit = link.route.patience();  // connected: the peer accepts when it comes to its own first message
      link.dialing = std::make_unique<Handshake>(*env_, *std::move(stream), std::move(how));
    }
    const Progress progress = link.dialing->advance(now);
    if (progress == Progress::kDone) link.frames->attach(link.dialing->take_stream());
    if (progress == Progress::kFailed) dial_failed(link, link.dialing->status(), now);
    if (progress == Progress::kDone || progress == Progress::kFailed) link.dialing.reset();
    return progress != Progress::kBlocked;
  }

  /// Dials again after a pause, unless it is of no use.
  void dial_failed(Link& link, const Status& status, TimePoint now) {
    if (link.route.turned_back(status)) return;
    const bool refused = status.code() == Code::kUnauthenticated && ++link.refusals <= kRefusalsAllowed;
    if (status.code() != Code::kPeerLost && status.code() != Code::kTimeout && !refused) {
      link.failed = status;
      return;
    }
    if (status.code() == Code::kTimeout) {
      link.refused_since.reset();  // somebody was there
    } else if (!link.refused_since) {
      link.refused_since = now;
    }
    if (link.refused_since && now - *link.refused_since >= options_.connect_timeout) {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.connect_timeout).count();
      link.failed = Status(Code::kPeerLost,
                           "could not connect to rank " + std::to_string(link.job_peer) + " at " + link.route.text() +
                               " for " + std::to_string(seconds) +
                               " s: its process is gone or left already, see its log (last: " + status.message() + ")",
                           where(link))
                        .at({.phase = "connecting"});
      return;
    }
    link.next_dial = now + link.pause;
    link.pause = std::min<Duration>(link.pause * 2, 200ms);
  }

  // Constant after construction.
  const std::shared_ptr<Env> env_;
  const TcpTransportOptions options_;

  std::vector<std::unique_ptr<Link>> by_rank_;  // null until first used
  std::vector<Link*> links_;                    // those that are not null, in the order of their first use
  size_t first_ = 0;                            // whose turn it is
  std::optional<TimePoint> leaving_since_;
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
