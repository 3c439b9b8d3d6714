#include "comm/transport/mpi_transport.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <string>
#include <utility>

#include "comm/base/crc32c.h"
#include "comm/base/little_endian.h"
#include "comm/transport/wire.h"

namespace rondo::comm {
namespace {

constexpr size_t kEagerBytes = 4096;  // what every MPI sends without a later call of the sender
constexpr size_t kPartBytes = 16;     // length of the message, offset in it
constexpr size_t kFrameBytes = kFrameHeaderBytes + kPartBytes;
constexpr size_t kMostPerFrame = Mpi::kMostBytes - kFrameBytes;
constexpr size_t kMostUnderWay = 4;  // frames to one peer

class MpiTransport final : public Transport {
 public:
  MpiTransport(MpiTransportOptions options, int tag)
      : options_(std::move(options)), tag_(tag), peers_(options_.job_ranks.size()) {}

  ~MpiTransport() override {
    for (Peer& peer : peers_) {
      for (Sent& sent : peer.under_way) options_.mpi->leave(std::move(sent.frame));
      if (peer.arriving) options_.mpi->leave(std::move(peer.arriving));
    }
    options_.mpi->release_tag(tag_);
  }

  TransportKind kind() const override { return TransportKind::kMpi; }
  Abilities abilities() const override { return {.message = true}; }

  Result<SendTicket> send(int peer, const MessageHeader& header, std::span<const std::byte> payload) override {
    RONDO_TRY(check(peer));
    Peer& to = at(peer);
    to.used = true;
    to.queue.push_back({header, payload});
    ++to.queued;
    RONDO_TRY(send_frames(peer));
    return to.queued;
  }
  uint64_t sends_done(int peer) const override { return at(peer).done; }
  /// What MPI does not send eagerly moves only while both sides call MPI: its operation stays in flight until it is
  /// taken, as one over TCP does until it is acknowledged.
  uint64_t sends_released(int peer) const override {
    const Peer& to = at(peer);
    const bool large =
        std::ranges::any_of(to.under_way, [](const Sent& s) { return s.frame->byte_count > kEagerBytes; });
    return large ? to.done : to.released;
  }

  Result<std::optional<MessageHeader>> receive(int peer, std::span<std::byte> into) override {
    RONDO_TRY(check(peer));
    Peer& from = at(peer);
    from.used = true;
    for (;;) {
      if (from.left) return Status(Code::kClosed, who(peer) + " left in order", where(peer));
      const auto came = next_frame(peer);
      RONDO_TRY(came);
      if (!*came) return std::optional<MessageHeader>();
      moved_ = true;
      const auto whole = take_part(peer, into);
      options_.mpi->reuse(std::move(from.arriving));
      RONDO_TRY(whole);
      if (*whole) return std::exchange(from.message, std::nullopt);
    }
  }

  Status expose(uint64_t, const Region&) override { return unsupported(); }
  Result<std::span<std::byte>> peer_region(int, uint64_t) override { return unsupported(); }
  Status signal(int, uint64_t, double) override { return unsupported(); }
  Result<Signal> signal_from(int) override { return unsupported(); }

  Result<Progress> progress(TimePoint) override {
    for (int peer = 0; peer < ranks(); ++peer)
      if (at(peer).used) RONDO_TRY(send_frames(peer));
    return std::exchange(moved_, false) ? Progress::kProgressed : Progress::kBlocked;
  }

  std::vector<LinkStatistics> links() const override {
    std::vector<LinkStatistics> all;
    for (int peer = 0; peer < ranks(); ++peer)
      if (at(peer).used) all.push_back({.peer = peer, .address = "mpi:" + std::to_string(job_rank(peer))});
    return all;
  }
  std::vector<WaitHandle> wait_handles() const override { return {}; }
  void idle(Duration) override {}

  Status goodbye(TimePoint) override {
    for (int peer = 0; peer < ranks(); ++peer) {
      Peer& to = at(peer);
      if (!to.used || to.left || to.told) continue;
      if (!send_frames(peer).ok()) continue;  // a peer that is gone cannot be told
      if (!to.queue.empty() || !to.under_way.empty()) return Status::pending();
      to.told = true;
      Mpi::MessagePtr frame = options_.mpi->make_message(kFrameBytes);
      fill(*frame, header_of(FrameType::kGoodbye), {}, {});
      if (options_.mpi->send(*frame, place(peer), Mpi::Until::kCopied).ok()) options_.mpi->leave(std::move(frame));
    }
    return {};
  }

 private:
  struct Outgoing {
    MessageHeader header;
    std::span<const std::byte> payload;
    size_t sent = 0;
  };
  struct Sent {
    Mpi::MessagePtr frame;
    bool ends_message = false;
  };
  struct Part {
    uint64_t length = 0, offset = 0;
  };
  struct Peer {
    bool used = false, told = false, left = false;  // told: goodbye
    std::deque<Outgoing> queue;
    std::deque<Sent> under_way;
    uint64_t queued = 0, released = 0, done = 0;  // messages to it
    Mpi::MessagePtr arriving;                     // a frame
    std::optional<MessageHeader> message;         // of which a part has come
    uint64_t received = 0;                        // bytes of it
  };

  int ranks() const { return static_cast<int>(peers_.size()); }
  Peer& at(int peer) { return peers_[static_cast<size_t>(peer)]; }
  const Peer& at(int peer) const { return peers_[static_cast<size_t>(peer)]; }
  int job_rank(int peer) const { return options_.job_ranks[static_cast<size_t>(peer)]; }
  std::string who(int peer) const { return "rank " + std::to_string(job_rank(peer)); }
  Where where(int peer) const { return {.rank = job_rank(options_.rank), .peer = job_rank(peer)}; }
  Mpi::Place place(int peer) const { return {.rank = job_rank(peer), .tag = tag_}; }

  Status check(int peer) const {
    if (peer >= 0 && peer < ranks() && peer != options_.rank) return {};
    return {Code::kInvalidArgument, "there is no link from rank " + std::to_string(options_.rank) + " to rank " +
                                        std::to_string(peer) + " in a group of " + std::to_string(ranks())};
  }
  static Status unsupported() { return {Code::kUnsupported, "messages by MPI share no memory with the peer"}; }

  FrameHeader header_of(FrameType type) const {
    FrameHeader header;
    header.type = type;
    header.generation = options_.generation;
    header.group = options_.group;
    return header;
  }

  static void fill(Mpi::Message& frame, FrameHeader header, Part part, std::span<const std::byte> payload) {
    std::byte* const begin = frame.memory.get();
    put_le(begin + kFrameHeaderBytes, part.length);
    put_le(begin + kFrameHeaderBytes + 8, part.offset);
    if (!payload.empty()) std::memcpy(begin + kFrameBytes, payload.data(), payload.size());
    header.length = static_cast<uint32_t>(payload.size());
    header.payload_crc = crc32c({begin + kFrameHeaderBytes, kPartBytes + payload.size()});
    const auto head = encode(header);
    std::copy(head.begin(), head.end(), begin);
    frame.byte_count = kFrameBytes + payload.size();
  }

  Status send_frames(int peer) {
    Peer& to = at(peer);
    while (!to.under_way.empty()) {
      const auto done = options_.mpi->complete(*to.under_way.front().frame);
      if (!done.ok()) return done.status().at(where(peer));
      if (!*done) break;
      to.done += to.under_way.front().ends_message ? 1 : 0;
      options_.mpi->reuse(std::move(to.under_way.front().frame));
      to.under_way.pop_front();
      moved_ = true;
    }
    while (!to.queue.empty() && to.under_way.size() < kMostUnderWay) {
      Outgoing& next = to.queue.front();
      const size_t bytes = std::min(next.payload.size() - next.sent, kMostPerFrame);
      FrameHeader header =
          header_of(next.header.kind == MessageKind::kDescriptor ? FrameType::kDescriptor : FrameType::kPayload);
      header.sequence = next.header.sequence;
      header.segment = next.header.segment;
      header.hop = next.header.hop;
      header.weight = next.header.weight;
      Mpi::MessagePtr frame = options_.mpi->make_message();
      fill(*frame, header, {.length = next.payload.size(), .offset = next.sent},
           next.payload.subspan(next.sent, bytes));
      if (const Status sent = options_.mpi->send(*frame, place(peer), Mpi::Until::kMet); !sent.ok())
        return sent.at(where(peer));
      next.sent += bytes;
      const bool ends = next.sent == next.payload.size();
      to.under_way.push_back({.frame = std::move(frame), .ends_message = ends});
      if (ends) {
        ++to.released;
        to.queue.pop_front();
      }
      moved_ = true;
    }
    return {};
  }

  /// True when `arriving` is whole.
  Result<bool> next_frame(int peer) {
    Peer& from = at(peer);
    if (!from.arriving) {
      Mpi::MessagePtr frame = options_.mpi->make_message();
      const auto found = options_.mpi->take(*frame, place(peer));
      if (!found.ok()) return found.status().at(where(peer));
      if (!*found) {
        options_.mpi->reuse(std::move(frame));
        return false;
      }
      from.arriving = std::move(frame);
    }
    const auto done = options_.mpi->complete(*from.arriving);
    if (!done.ok()) return done.status().at(where(peer));
    return *done;
  }

  Status corrupt(int peer, const std::string& what) const {
    return {Code::kCorrupt, "a message by MPI from " + who(peer) + " " + what, where(peer)};
  }

  /// Copies the part that came; true when it was the last of its message.
  Result<bool> take_part(int peer, std::span<std::byte> into) {
    Peer& from = at(peer);
    const std::span<const std::byte> frame = from.arriving->bytes();
    if (frame.size() < kFrameBytes) return corrupt(peer, "has only " + std::to_string(frame.size()) + " bytes");
    const auto header = decode_frame(frame.first<kFrameHeaderBytes>());
    if (!header.ok()) return header.status().at(where(peer));
    if (header->length != frame.size() - kFrameBytes || header->payload_crc != crc32c(frame.subspan(kFrameHeaderBytes)))
      return corrupt(peer, "came damaged: its checksum is wrong");
    if (header->group != options_.group || header->generation != options_.generation)
      return corrupt(peer, "is of group " + std::to_string(header->group) + " and generation " +
                               std::to_string(header->generation) + ", not of this one");
    if (header->type == FrameType::kGoodbye) {
      from.left = true;
      return false;
    }
    const Part part{.length = get_le<uint64_t>(frame.data() + kFrameHeaderBytes),
                    .offset = get_le<uint64_t>(frame.data() + kFrameHeaderBytes + 8)};
    if (header->type != FrameType::kDescriptor && header->type != FrameType::kPayload)
      return corrupt(peer, "is a frame of type " + std::string(name(header->type)));
    if (part.offset != from.received || part.offset + header->length > part.length)
      return corrupt(peer, "is out of order");
    if (part.length != into.size())
      return Status(Code::kMismatch,
                    who(peer) + " sent a " + std::string(name(header->type)) + " of " + std::to_string(part.length) +
                        " bytes (sequence " + std::to_string(header->sequence) + ") where this side expects " +
                        std::to_string(into.size()),
                    where(peer));
    if (header->length > 0) std::memcpy(into.data() + part.offset, frame.data() + kFrameBytes, header->length);
    from.received += header->length;
    from.message =
        MessageHeader{.kind = header->type == FrameType::kDescriptor ? MessageKind::kDescriptor : MessageKind::kPayload,
                      .sequence = header->sequence,
                      .segment = header->segment,
                      .hop = header->hop,
                      .weight = header->weight};
    if (from.received < part.length) return false;
    from.received = 0;
    return true;
  }

  const MpiTransportOptions options_;
  const int tag_;
  std::vector<Peer> peers_;  // by group rank
  bool moved_ = false;
};

}  // namespace

Result<std::unique_ptr<Transport>> make_mpi_transport(MpiTransportOptions options) {
  const auto tag = options.mpi->reserve_tag(options.group);
  RONDO_TRY(tag);
  return std::unique_ptr<Transport>(std::make_unique<MpiTransport>(std::move(options), *tag));
}

}  // namespace rondo::comm
