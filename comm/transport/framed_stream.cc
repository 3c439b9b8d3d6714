#include "comm/transport/framed_stream.h"

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

namespace rondo::comm {
namespace {

constexpr int kBadPayloadsAllowed = 3;
constexpr int kBreaksAllowed = 5;
constexpr size_t kHoldAboveBytes = 4096;  // smaller payloads are copied at once
constexpr size_t kSpareBuffers = 16;
constexpr size_t kBatchBytes = 32 * 1024;  // headers and small payloads of one write
constexpr int kLateAckFrames = 4;
constexpr int kLateAckLooks = 8;

}  // namespace

FramedStream::FramedStream(FramedStreamOptions options) : options_(std::move(options)) {}

FramedStream::FramedStream(std::unique_ptr<Stream> stream, FramedStreamOptions options)
    : options_(std::move(options)), stream_(std::move(stream)) {}

void FramedStream::attach(std::unique_ptr<Stream> stream) {
  stream_ = std::move(stream);
  broken_ = {};
  if (options_.on_break == FramedStreamOptions::OnBreak::kWait) {
    ack_owed_ = Ack::kNow;  // the other side may be waiting for it
    awaits_peer_ = was_attached_;
  }
  was_attached_ = true;
}

// --- sending.

Result<uint64_t> FramedStream::send(const FrameHeader& header, std::span<const std::byte> payload) {
  Outgoing frame{header, payload, {}};
  if (!payload.empty() && payload.size() <= kCopiedBytes) {
    frame.owned = take_buffer(payload.size());
    std::copy(payload.begin(), payload.end(), frame.owned.begin());
    frame.payload = frame.owned;  // the vector's memory stays where it is when the frame moves
  }
  return queue(std::move(frame));
}

Result<uint64_t> FramedStream::send_owned(const FrameHeader& header, std::vector<std::byte> payload) {
  Outgoing frame{header, {}, std::move(payload)};
  frame.payload = frame.owned;
  return queue(std::move(frame));
}

Result<uint64_t> FramedStream::queue(Outgoing frame) {
  if (!status_.ok()) return status_;
  if (peer_left_) return Status(Code::kClosed, options_.peer_name + " left in order", options_.where);
  if (goodbye_queued_) return Status(Code::kClosed, "this side said goodbye to " + options_.peer_name, options_.where);
  if (frame.payload.size() > options_.max_payload_bytes) {
    return Status(Code::kInvalidArgument,
                  "a message of " + std::to_string(frame.payload.size()) + " bytes for " + options_.peer_name +
                      "; at most " + std::to_string(options_.max_payload_bytes) + " go in one: send it in parts",
                  options_.where);
  }
  frame.header.group = options_.group;
  frame.header.generation = options_.generation;
  frame.header.length = static_cast<uint32_t>(frame.payload.size());
  frame.header.number = static_cast<uint32_t>(acked_ + queue_.size() + 1);
  queue_.push_back(std::move(frame));
  return acked_ + queue_.size();
}

void FramedStream::send_goodbye() {
  if (goodbye_queued_ || !status_.ok()) return;
  FrameHeader header;
  header.type = FrameType::kGoodbye;
  if (!peer_left_) (void)queue({header, {}, {}});
  goodbye_queued_ = true;
}

bool FramedStream::flushed() const {
  if (!broken_.ok()) return false;  // the last acks may be lost with the connection
  if (!batch_.empty() || ack_owed_ != Ack::kNone || nack_owed_) return false;
  if (queue_.empty()) return true;
  return queue_.size() == 1 && queue_.front().header.type == FrameType::kGoodbye && written_once_ == 1;
}

bool FramedStream::released() const {
  if (!broken_.ok()) return false;
  if (!batch_.empty() || ack_owed_ != Ack::kNone || nack_owed_ || rewind_) return false;
  return released_ == acked_ + queue_.size();
}

void FramedStream::append(FrameHeader header) {
  header.ack = static_cast<uint32_t>(received_);
  const auto bytes = encode(header);
  batch_.insert(batch_.end(), bytes.begin(), bytes.end());
}

/// Decides what goes out next; false when there is nothing.
bool FramedStream::fill_batch() {
  if (rewind_) {
    next_ = 0;
    rewind_ = false;
  }
  const bool no_frame = next_ == queue_.size() || awaits_peer_;
  const bool control = nack_owed_ || (no_frame && ack_owed_ == Ack::kNow);
  if (!control && no_frame) return false;
  if (control) {
    FrameHeader header;
    header.type = nack_owed_ ? FrameType::kNack : FrameType::kAck;
    header.group = options_.group;
    header.generation = options_.generation;
    append(header);
  }
  batch_begin_ = batch_.size();
  batch_frames_ = 0;
  batch_done_ = 0;
  batch_body_ = {};
  while (!awaits_peer_ && next_ + batch_frames_ < queue_.size()) {
    Outgoing& frame = queue_[next_ + batch_frames_];
    const bool large = frame.payload.size() > kCopiedBytes;
    const size_t room = kFrameHeaderBytes + (large ? 0 : frame.payload.size());
    if (!batch_.empty() && batch_.size() + room > kBatchBytes) break;
    if (frame.crc == Outgoing::Crc::kMissing) {  // only now: the write that follows finds the bytes in the cache
      frame.header.payload_crc = crc32c(frame.payload);
      frame.crc = Outgoing::Crc::kKnown;
    }
    append(frame.header);
    ++batch_frames_;
    if (large) {
      batch_body_ = frame.payload;
      break;
    }
    batch_.insert(batch_.end(), frame.payload.begin(), frame.payload.end());
  }
  nack_owed_ = false;
  ack_owed_ = Ack::kNone;
  late_acks_ = 0;
  return true;
}

bool FramedStream::write_some(size_t& budget) {
  bool moved = false;
  while (budget > 0 && write_error_ == 0) {
    if (batch_.empty() && !fill_batch()) break;
    const auto head = std::span<const std::byte>(batch_).subspan(std::min(batch_done_, batch_.size()));
    auto body = batch_body_.subspan(batch_done_ > batch_.size() ? batch_done_ - batch_.size() : 0);
    body = body.first(std::min(body.size(), budget));
    const IoResult result = stream_->write(head, body);
    if (result.state == IoResult::State::kWouldBlock) break;
    if (result.state != IoResult::State::kDone) {
      write_error_ = result.error != 0 ? result.error : EPIPE;
      break;
    }
    moved = true;
    batch_done_ += result.bytes;
    budget -= std::min(budget, result.bytes);
    count_written();
  }
  return moved;
}

void FramedStream::count_written() {
  while (batch_frames_ > 0) {
    const size_t end = batch_begin_ + kFrameHeaderBytes + queue_[next_].payload.size();
    if (batch_done_ < end) return;
    batch_begin_ = end;
    --batch_frames_;
    resends_ += next_ < written_once_ ? 1 : 0;
    ++next_;
    written_once_ = std::max(written_once_, next_);
  }
  release_copies();
  if (batch_done_ == batch_.size() + batch_body_.size()) {
    batch_.clear();
    batch_body_ = {};
  }
}

void FramedStream::release_copies() {
  released_ = std::max(released_, acked_);
  while (released_ < acked_ + written_once_ && queue_[released_ - acked_].is_own()) ++released_;
}

Status FramedStream::take_ack(const FrameHeader& header) {
  const uint32_t newly = header.ack - static_cast<uint32_t>(acked_);
  // A frame that is being written, for the first time or again, cannot have arrived.
  const size_t whole = batch_frames_ > 0 ? std::min(written_once_, next_) : written_once_;
  if (newly > whole) return {Code::kCorrupt, options_.peer_name + " acknowledged a frame that was not sent yet"};
  for (uint32_t i = 0; i < newly; ++i) {
    auto& owned = queue_.front().owned;
    if (!owned.empty() && owned.size() <= kCopiedBytes) recycle(std::move(owned));
    queue_.pop_front();
  }
  acked_ += newly;
  if (newly > 0) breaks_in_a_row_ = 0;
  written_once_ -= newly;
  release_copies();
  next_ -= std::min<size_t>(next_, newly);
  if (header.type == FrameType::kNack) rewind_ = true;
  return {};
}

// --- receiving.

std::optional<FrameHeader> FramedStream::peek() const {
  if (in_place_) return in_place_;  // came before all of arrived_
  if (!arrived_.empty()) return arrived_.front().header;
  const bool goes_nowhere = into_ == Into::kDropped || into_ == Into::kForgotten;
  if (incoming_ && !goes_nowhere) return incoming_;
  return std::nullopt;
}

Result<std::optional<FrameHeader>> FramedStream::receive(std::span<std::byte> into) {
  const std::optional<FrameHeader> next = peek();
  if (next && next->length != into.size()) {
    return Status(Code::kMismatch,
                  options_.peer_name + " sent a " + std::string(name(next->type)) + " of " +
                      std::to_string(next->length) + " bytes (sequence " + std::to_string(next->sequence) +
                      ") where this side expects " + std::to_string(into.size()),
                  options_.where);
  }
  if (in_place_) {
    const FrameHeader header = *in_place_;
    in_place_.reset();
    is_posted_ = false;
    return std::optional(header);
  }
  if (!arrived_.empty()) {
    Arrived frame = std::move(arrived_.front());
    arrived_.pop_front();
    std::copy(frame.payload.begin(), frame.payload.end(), into.begin());
    arrived_bytes_ -= frame.payload.size();
    recycle(std::move(frame.payload));
    return std::optional(frame.header);
  }
  if (!status_.ok()) return status_;
  if (peer_left_) return Status(Code::kClosed, options_.peer_name + " left in order", options_.where);
  posted_ = into;
  is_posted_ = true;
  if (incoming_ && into_ == Into::kEarly) {  // the rest goes straight to its place
    std::copy_n(early_.begin(), in_done_, posted_.begin());
    recycle(std::move(early_));
    into_ = Into::kPosted;
  }
  return std::optional<FrameHeader>();
}

void FramedStream::forget() {
  if (incoming_ && into_ == Into::kPosted) into_ = Into::kForgotten;
  in_place_.reset();
  is_posted_ = false;
  posted_ = {};
}

bool FramedStream::read_some(size_t& budget) {
  bool moved = false;
  drained_ = false;
  while (stream_ && status_.ok() && !finished_ && budget > 0) {
    if (!incoming_) {
      if (staging_end_ - staging_begin_ < kFrameHeaderBytes) {
        if (!fill_staging()) break;
        moved = true;
        continue;
      }
      take_header();
      moved = true;
      budget -= std::min(budget, kFrameHeaderBytes);
      continue;
    }
    if (into_ == Into::kNowhere && !choose_destination()) break;
    const bool had_place = in_place_.has_value();
    if (!read_payload(budget)) break;
    moved = true;
    if (!had_place && in_place_) break;  // let the caller take it and post the next one
  }
  return moved;
}

/// Reads a little ahead, so that small frames cost one call. False: nothing came.
bool FramedStream::fill_staging() {
  std::copy(staging_.begin() + static_cast<std::ptrdiff_t>(staging_begin_),
            staging_.begin() + static_cast<std::ptrdiff_t>(staging_end_), staging_.begin());
  staging_end_ -= staging_begin_;
  staging_begin_ = 0;
  if (drained_) return false;
  const auto room = std::span(staging_).subspan(staging_end_);
  const IoResult result = stream_->read(room);
  if (result.state == IoResult::State::kDone) {
    drained_ = result.bytes < room.size();
    staging_end_ += result.bytes;
    return result.bytes > 0;
  }
  if (result.state == IoResult::State::kClosed) end_of_stream("it closed the connection");
  if (result.state == IoResult::State::kFailed) end_of_stream(std::generic_category().message(result.error));
  return false;
}

void FramedStream::take_header() {
  const auto bytes = std::span(staging_).subspan(staging_begin_).first<kFrameHeaderBytes>();
  Result<FrameHeader> header = decode_frame(bytes);
  staging_begin_ += kFrameHeaderBytes;
  if (!header.ok()) {
    const std::string what = "from " + options_.peer_name + ": " + header.status().message();
    if (peer_left_) return end_of_stream(what);
    ++bad_headers_;
    return end_connection({header.status().code(), what, options_.where});
  }
  awaits_peer_ = false;
  if (header->group != options_.group || header->generation != options_.generation) {
    return fail(Code::kMismatch, options_.peer_name + " sent a frame of group " + std::to_string(header->group) +
                                     ", generation " + std::to_string(header->generation) + "; this link is of group " +
                                     std::to_string(options_.group) + ", generation " +
                                     std::to_string(options_.generation));
  }
  if (header->length > options_.max_payload_bytes) {
    return fail(Code::kCorrupt, options_.peer_name + " announced " + std::to_string(header->length) +
                                    " bytes; at most " + std::to_string(options_.max_payload_bytes) + " are allowed");
  }
  if (const Status status = take_ack(*header); !status.ok()) return fail(status.code(), status.message());
  if (!is_counted(header->type)) return;
  const bool expected = header->number == static_cast<uint32_t>(received_ + 1);
  if (!expected && !missing_) {
    return fail(Code::kCorrupt, options_.peer_name + " sent frame " + std::to_string(header->number) + " where frame " +
                                    std::to_string(static_cast<uint32_t>(received_ + 1)) + " was due");
  }
  incoming_ = *header;
  into_ = expected ? Into::kNowhere : Into::kDropped;
  in_done_ = 0;
  in_crc_ = 0;
  held_ = false;
  if (incoming_->length == 0) {
    const bool in_line = expected && is_posted_ && posted_.empty() && !in_place_ && arrived_.empty();
    if (in_line) into_ = Into::kPosted;
    finish_frame();
  }
}

/// Where the payload goes. False: it has to wait.
bool FramedStream::choose_destination() {
  const size_t length = incoming_->length;
  const bool next_in_line = arrived_.empty() && !in_place_;
  if (next_in_line && is_posted_ && posted_.size() == length) {
    into_ = Into::kPosted;
    return true;
  }
  if (length > kHoldAboveBytes && !held_) {  // the caller is about to post a receive: spare the copy
    held_ = true;
    return false;
  }
  if (!has_room_for(length)) return false;
  early_ = take_buffer(length);
  into_ = Into::kEarly;
  return true;
}

std::span<std::byte> FramedStream::rest_of_payload() {
  const size_t left = incoming_->length - in_done_;
  if (into_ == Into::kPosted) return posted_.subspan(in_done_, left);
  if (into_ == Into::kEarly) return std::span(early_).subspan(in_done_, left);
  return {};
}

bool FramedStream::read_payload(size_t& budget) {
  const size_t left = incoming_->length - in_done_;
  const bool goes_nowhere = into_ == Into::kDropped || into_ == Into::kForgotten;
  if (goes_nowhere || staging_begin_ < staging_end_) {
    if (staging_begin_ == staging_end_ && !fill_staging()) return false;
    const auto bytes = std::span(staging_).subspan(staging_begin_, std::min(left, staging_end_ - staging_begin_));
    staging_begin_ += bytes.size();
    if (!goes_nowhere) std::copy(bytes.begin(), bytes.end(), rest_of_payload().begin());
    budget -= std::min(budget, bytes.size());
    take_payload_bytes(bytes);
    return true;
  }
  if (drained_) return false;
  const auto rest = rest_of_payload().first(std::min(left, budget));
  const IoResult result = stream_->read(rest);
  if (result.state == IoResult::State::kWouldBlock) return false;
  if (result.state == IoResult::State::kDone) {
    drained_ = result.bytes < rest.size();
    budget -= std::min(budget, result.bytes);
    take_payload_bytes(rest.first(result.bytes));
    return true;
  }
  const bool closed = result.state == IoResult::State::kClosed;
  end_of_stream(closed ? "it closed the connection" : std::generic_category().message(result.error));
  return false;
}

void FramedStream::take_payload_bytes(std::span<const std::byte> bytes) {
  if (into_ != Into::kDropped) in_crc_ = crc32c(bytes, in_crc_);
  in_done_ += bytes.size();
  if (in_done_ == incoming_->length) finish_frame();
}

void FramedStream::finish_frame() {
  if (into_ == Into::kDropped) {
    incoming_.reset();
    return;
  }
  if (in_crc_ == incoming_->payload_crc) {
    accept_frame();
    incoming_.reset();
    return;
  }
  ++bad_payloads_;
  if (into_ == Into::kEarly) recycle(std::move(early_));
  const FrameHeader bad = *incoming_;
  incoming_.reset();
  if (++bad_in_a_row_ == kBadPayloadsAllowed) {
    return fail(Code::kCorrupt, "a " + std::string(name(bad.type)) + " of " + std::to_string(bad.length) +
                                    " bytes from " + options_.peer_name + " (sequence " + std::to_string(bad.sequence) +
                                    ") failed its CRC32C " + std::to_string(kBadPayloadsAllowed) +
                                    " times in a row: faulty memory or network hardware between the two ranks, or the "
                                    "buffer was changed while it was being sent");
  }
  missing_ = true;
  nack_owed_ = true;
}

void FramedStream::accept_frame() {
  ++received_;
  bad_in_a_row_ = 0;
  breaks_in_a_row_ = 0;
  missing_ = false;
  const bool awaited = incoming_->length > kCopiedBytes || incoming_->type == FrameType::kGoodbye;
  ack_owed_ = awaited || ++late_acks_ >= kLateAckFrames || ack_owed_ == Ack::kNow ? Ack::kNow : Ack::kLate;
  quiet_looks_ = 0;
  if (incoming_->type == FrameType::kGoodbye) {
    peer_left_ = true;
    if (into_ == Into::kEarly) recycle(std::move(early_));
  } else if (into_ == Into::kPosted) {
    in_place_ = *incoming_;
  } else if (into_ != Into::kForgotten) {
    arrived_bytes_ += incoming_->length;
    arrived_.push_back({*incoming_, std::move(early_)});
    early_ = {};
  }
}

// --- life.

Progress FramedStream::advance(size_t budget) {
  if (!status_.ok()) return Progress::kFailed;
  if (finished_) return Progress::kDone;
  if (!stream_) return Progress::kBlocked;
  size_t to_write = budget;
  size_t to_read = budget;
  bool moved = write_some(to_write);
  moved |= read_some(to_read);
  if (!moved && ack_owed_ == Ack::kLate && ++quiet_looks_ >= kLateAckLooks) ack_owed_ = Ack::kNow;
  // The peer may be waiting for nothing else. Whoever finds a frame in its place is about to come back, perhaps with
  // one that carries the ack.
  const bool ack_now = ack_owed_ == Ack::kNow && !in_place_;
  if (stream_ && status_.ok() && !finished_ && (ack_now || nack_owed_ || rewind_)) {
    to_write = std::max(to_write, kFrameHeaderBytes);
    moved |= write_some(to_write);
  }
  if (stream_ && status_.ok() && !finished_ && write_error_ != 0 && !moved) {
    end_of_stream(std::generic_category().message(write_error_));
  }
  if (!status_.ok()) return Progress::kFailed;
  if (finished_) return Progress::kDone;
  return moved ? Progress::kProgressed : Progress::kBlocked;
}

void FramedStream::end_of_stream(const std::string& why) {
  const bool only_goodbye = queue_.empty() || (queue_.size() == 1 && queue_[0].header.type == FrameType::kGoodbye);
  // One that has taken this side's goodbye has nobody to say its own to.
  const bool goodbye_taken = goodbye_queued_ && queue_.empty();
  if ((peer_left_ && only_goodbye) || goodbye_taken) {
    finished_ = true;
    stream_->close();
    return;
  }
  if (peer_left_) {
    return fail(Code::kClosed, options_.peer_name + " left in order before it took " + std::to_string(queue_.size()) +
                                   " message(s) of this rank: the ranks did not issue the same operations");
  }
  std::string where_in;
  if (incoming_) {
    where_in = " in the middle of a message (" + std::to_string(in_done_) + " of " + std::to_string(incoming_->length) +
               " bytes had come)";
  }
  end_connection({Code::kPeerLost,
                  "lost the connection to " + options_.peer_name + where_in + " without a goodbye: " + why,
                  options_.where});
}

/// See Note [Resume]: fails, or forgets all that belongs to this connection and not to the frames.
void FramedStream::end_connection(const Status& why) {
  ++breaks_;
  if (options_.on_break == FramedStreamOptions::OnBreak::kFail) return give_up(why);
  if (++breaks_in_a_row_ > kBreaksAllowed) {
    return give_up(
        {why.code(), why.message() + " (" + std::to_string(breaks_in_a_row_) + " times in a row)", options_.where});
  }
  stream_->close();
  stream_.reset();
  broken_ = why;
  batch_.clear();
  batch_body_ = {};
  batch_frames_ = 0;
  nack_owed_ = false;
  write_error_ = 0;
  rewind_ = true;
  if (incoming_ && into_ == Into::kEarly) recycle(std::move(early_));
  incoming_.reset();
  staging_begin_ = staging_end_ = 0;
  missing_ = false;
}

void FramedStream::fail(Code code, const std::string& what) { give_up({code, what, options_.where}); }

void FramedStream::give_up(const Status& why) {
  status_ = why;
  broken_ = {};
  if (stream_) stream_->close();
}

WaitHandle FramedStream::wait_handle() const {
  if (!stream_ || finished_ || !status_.ok()) return {};
  const bool frames_wait = (next_ < queue_.size() || rewind_) && !awaits_peer_;
  const bool wants_write = !batch_.empty() || frames_wait || ack_owed_ != Ack::kNone || nack_owed_;
  const bool waits_for_a_receive = incoming_ && into_ == Into::kNowhere && held_ && !has_room_for(incoming_->length);
  if (waits_for_a_receive && !wants_write) return {};  // readable all the time, and of no use
  return {stream_->handle(), wants_write};
}

std::vector<std::byte> FramedStream::take_buffer(size_t byte_count) {
  std::vector<std::byte> buffer;
  if (!spare_.empty()) {
    buffer = std::move(spare_.back());
    spare_.pop_back();
  }
  buffer.resize(byte_count);
  return buffer;
}

void FramedStream::recycle(std::vector<std::byte> buffer) {
  if (spare_.size() < kSpareBuffers) spare_.push_back(std::move(buffer));
}

}  // namespace rondo::comm
