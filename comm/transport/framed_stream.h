/// A proven connection that carries frames: in order, whole, checked and acknowledged. Under data links and the store.
///
/// Sending copies a small payload and borrows a large one, which is written straight from where it lies; small frames
/// that wait go out together. Receiving reads straight into the caller's memory when a receive was posted before the
/// payload came, else through a bounded buffer of this stream. Nothing blocks: advance() moves a bounded number of
/// bytes. Buffers are used again.
///
/// Note [Resend]: frames but acks and nacks are counted from 1 in each direction. Every header acknowledges all frames
/// up to `ack`. A payload with a wrong CRC is dropped and answered by a nack; the receiver then drops everything but
/// the frame that it misses, the sender starts again behind the ack. Three bad payloads in a row: kCorrupt.
///
/// Note [Resume]: a wrong header CRC leaves no way to find the next frame, and a connection may end under both sides.
/// Where its owner can make another one (OnBreak::kWait), the stream then waits for it, broken(). On every connection
/// but a side's first, that side begins with an ack and sends nothing else until it has heard the other's: then each
/// goes on behind what has arrived, and nothing is lost or comes twice. More than five breaks in a row, without a frame
/// that arrived in either direction in between, end it.
///
/// Note [Late acks]: the sender of a large frame waits for its ack, so that goes out at once, at the latest with the
/// next advance(). Nobody waits for the ack of a small frame, whose payload is a copy: it rides on the next frame of
/// the other direction. Where none goes there, it is sent alone after kLateAckFrames frames or kLateAckLooks idle
/// looks; a sender that needs it for its next message gets it soon, whichever comes first.
///
/// Threading: one thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/transport/wire.h"
#include "rondo/comm/env.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

struct FramedStreamOptions {
  std::string peer_name;    // in every message: "rank 1 at tcp:127.0.0.1:4711"
  Where where;              // rank and peer, in every error
  uint64_t group = 0;       // in every header sent; another one received is kMismatch
  uint32_t generation = 0;  // likewise
  uint32_t max_payload_bytes = kMaxPayloadBytes;
  size_t early_bytes = size_t{4} << 20;  // payload kept for receives that are not posted yet
  /// kWait: whoever owns the stream attaches another connection when this one breaks, see Note [Resume].
  enum class OnBreak : uint8_t { kFail, kWait } on_break = OnBreak::kFail;
};

class FramedStream {
 public:
  /// Payloads up to here are copied when they are queued: cheaper than waiting for the peer.
  static constexpr size_t kCopiedBytes = 16 * 1024;

  /// Without a connection yet: frames may be queued already.
  explicit FramedStream(FramedStreamOptions options);
  FramedStream(std::unique_ptr<Stream> stream, FramedStreamOptions options);
  /// The first connection, or with OnBreak::kWait the next one.
  void attach(std::unique_ptr<Stream> stream);
  bool attached() const { return stream_ != nullptr; }
  /// Why the last connection ended, while there is no next one; else ok. With OnBreak::kWait only.
  const Status& broken() const { return broken_; }
  /// No other connection will come.
  void give_up(const Status& why);

  // --- sending.

  /// Queues a frame; returns its number, from 1. Of `header`: type, sequence, segment, hop and weight count. `payload`
  /// is borrowed until frames_released() reaches the number.
  Result<uint64_t> send(const FrameHeader& header, std::span<const std::byte> payload);
  /// The same, but keeps the payload itself.
  Result<uint64_t> send_owned(const FrameHeader& header, std::vector<std::byte> payload);
  /// The last frame of this direction: this side leaves in order. Idempotent.
  void send_goodbye();
  uint64_t frames_acked() const { return acked_; }
  /// Frames up to here need their sender no more: acknowledged, or a copy that the operating system has taken whole and
  /// that this stream would send again by itself.
  uint64_t frames_released() const { return released_; }
  /// Every frame was handed to the operating system, and all but a goodbye were acknowledged.
  bool flushed() const;
  /// As flushed(), but copies may still be unacknowledged: their acks come late when the peer is busy elsewhere.
  bool released() const;
  /// flushed(), and the goodbye has arrived too: so the peer has every acknowledgement that it waits for.
  bool goodbye_arrived() const { return goodbye_queued_ && queue_.empty() && flushed(); }
  /// How many frames were sent again.
  uint64_t resends() const { return resends_; }
  /// How many payloads came here with a wrong CRC.
  uint64_t bad_payloads() const { return bad_payloads_; }
  /// How many connections ended before the peer left; of these, by a header with a wrong CRC that came here.
  uint64_t breaks() const { return breaks_; }
  uint64_t bad_headers() const { return bad_headers_; }

  // --- receiving.

  /// The header of the next frame, as soon as it is here; its payload may still be on the way.
  std::optional<FrameHeader> peek() const;
  /// The next frame, payload in `into`. Empty: not all there; call again with the same `into`, which belongs to this
  /// stream until the frame is returned, forget() is called or the stream is gone. kMismatch for another length.
  /// After the last frame: kClosed when the peer left in order, else why the stream failed.
  Result<std::optional<FrameHeader>> receive(std::span<std::byte> into);
  /// Lets go of a posted `into` without touching it; the frame that was on its way into it is lost.
  void forget();
  bool peer_left() const { return peer_left_; }
  /// The peer left and closed: nothing more goes in either direction.
  bool ended() const { return finished_; }

  // --- life.

  /// Moves about `budget` bytes at most. kProgressed: did something; kDone: the peer left and closed; kFailed:
  /// status().
  Progress advance(size_t budget);
  const Status& status() const { return status_; }
  /// An idle thread's wait; handle -1 when waiting is of no use: no connection, or a receive must be posted first.
  WaitHandle wait_handle() const;

 private:
  struct Outgoing {
    FrameHeader header;
    std::span<const std::byte> payload;
    std::vector<std::byte> owned;
    enum class Crc : uint8_t { kMissing, kKnown } crc = Crc::kMissing;  // of the payload, in the header
    bool is_own() const { return payload.empty() || !owned.empty(); }
  };
  struct Arrived {
    FrameHeader header;
    std::vector<std::byte> payload;
  };
  enum class Into : uint8_t {
    kNowhere,    // not decided yet
    kPosted,     // the caller's memory
    kEarly,      // a buffer of this stream
    kForgotten,  // nowhere, but counted: the caller lost interest
    kDropped,    // nowhere: it will be sent again
  };

  Result<uint64_t> queue(Outgoing frame);
  bool write_some(size_t& budget);
  bool fill_batch();
  void append(FrameHeader header);
  void count_written();
  void release_copies();
  bool read_some(size_t& budget);
  bool fill_staging();
  void take_header();
  Status take_ack(const FrameHeader& header);
  bool choose_destination();
  bool read_payload(size_t& budget);
  void take_payload_bytes(std::span<const std::byte> bytes);
  void finish_frame();
  void accept_frame();
  void end_of_stream(const std::string& why);
  void end_connection(const Status& why);
  void fail(Code code, const std::string& what);
  std::vector<std::byte> take_buffer(size_t byte_count);
  void recycle(std::vector<std::byte> buffer);
  std::span<std::byte> rest_of_payload();
  bool has_room_for(size_t byte_count) const { return arrived_bytes_ + byte_count <= options_.early_bytes; }

  const FramedStreamOptions options_;
  std::unique_ptr<Stream> stream_;
  Status status_;
  bool finished_ = false;  // end of stream after a goodbye
  Status broken_;
  bool was_attached_ = false;
  bool awaits_peer_ = false;  // a new connection: what has arrived there is not known yet
  uint64_t breaks_ = 0;
  uint64_t bad_headers_ = 0;
  int breaks_in_a_row_ = 0;

  // Sending. queue_[0] is frame number acked_ + 1.
  std::deque<Outgoing> queue_;
  uint64_t acked_ = 0;
  size_t next_ = 0;          // in queue_: to be written next, or being written
  size_t written_once_ = 0;  // in queue_: how many were written whole at least once
  bool rewind_ = false;      // a nack came: start again at queue_[0]
  uint64_t released_ = 0;
  bool goodbye_queued_ = false;
  bool nack_owed_ = false;
  enum class Ack : uint8_t { kNone, kLate, kNow } ack_owed_ = Ack::kNone;  // see Note [Late acks]
  int late_acks_ = 0;
  int quiet_looks_ = 0;
  // What is being written: headers and small payloads one after the other, then at most one large payload from where
  // it lies. Empty: nothing.
  std::vector<std::byte> batch_;
  std::span<const std::byte> batch_body_;
  size_t batch_frames_ = 0;  // in queue_ from next_: not written whole yet
  size_t batch_begin_ = 0;   // where the frame next_ begins in the batch
  size_t batch_done_ = 0;    // bytes written, of both
  int write_error_ = 0;
  uint64_t resends_ = 0;

  // Receiving.
  std::array<std::byte, kCopiedBytes + 4 * kFrameHeaderBytes> staging_{};
  size_t staging_begin_ = 0;
  size_t staging_end_ = 0;
  bool drained_ = false;                 // a read of this advance() brought less than it had room for
  std::optional<FrameHeader> incoming_;  // header of the frame whose payload is being read
  Into into_ = Into::kNowhere;
  size_t in_done_ = 0;
  uint32_t in_crc_ = 0;
  bool held_ = false;             // gave the caller one chance to post a receive
  std::vector<std::byte> early_;  // of the incoming frame
  std::span<std::byte> posted_;
  bool is_posted_ = false;
  std::optional<FrameHeader> in_place_;  // a frame that is whole in posted_
  std::deque<Arrived> arrived_;
  size_t arrived_bytes_ = 0;
  std::vector<std::vector<std::byte>> spare_;
  uint64_t received_ = 0;
  bool missing_ = false;  // a nack is out: only frame received_ + 1 counts
  int bad_in_a_row_ = 0;
  uint64_t bad_payloads_ = 0;
  bool peer_left_ = false;
};

}  // namespace rondo::comm
