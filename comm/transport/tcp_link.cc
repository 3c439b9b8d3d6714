#include "comm/transport/tcp_link.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

constexpr int kRefusalsAllowed = 2;  // a peer that dies in a handshake, and a changed byte, look like one that refuses
constexpr Duration kFirstPause = 5ms;
constexpr Duration kLongestPause = 200ms;
constexpr Duration kKnockAfter = 20ms;  // most breaks are over by then
// A rank that leaves waits this long for acks of what peers may have taken and not acknowledged yet, because they are
// busy elsewhere: without it a payload that was damaged on its last way could not be sent again, nor a last ack.
constexpr Duration kLateAckGrace = 100ms;
// The same for a link that is broken: the peer may have left too, and its goodbye may be lost.
constexpr Duration kBrokenGrace = 1s;

FramedStreamOptions stream_options(const TcpTransportOptions& options, int peer) {
  const auto index = static_cast<size_t>(peer);
  FramedStreamOptions how;
  how.peer_name = "rank " + std::to_string(options.job_ranks[index]) + " at " + text_of(options.addresses[index]);
  how.where = {.rank = options.job_ranks[static_cast<size_t>(options.rank)], .peer = options.job_ranks[index]};
  how.group = options.group;
  how.generation = options.port->options().generation;
  how.on_break = FramedStreamOptions::OnBreak::kWait;
  return how;
}

}  // namespace

TcpLink::TcpLink(std::shared_ptr<Env> env, const TcpTransportOptions& options, int peer)
    : env_(std::move(env)),
      options_(options),
      peer_(peer),
      route_(options.addresses[static_cast<size_t>(peer)]),
      frames_(stream_options(options, peer)),
      pause_(kFirstPause) {}

Where TcpLink::where() const {
  return {.rank = options_.job_ranks[static_cast<size_t>(options_.rank)], .peer = job_peer()};
}

bool TcpLink::advance(TimePoint now, size_t budget) {
  if (!wanted_ || !status().ok()) return false;
  bool moved = !frames_.attached() && connect(now);
  moved |= status().ok() && frames_.advance(budget) == Progress::kProgressed;
  warn("a payload failed its CRC32C");
  if (was_connected()) look_after_break(now);
  return moved;
}

LinkStatistics TcpLink::statistics() const {
  return {.peer = peer_,
          .address = route_.text(),
          .bad_payloads = frames_.bad_payloads(),
          .bad_headers = frames_.bad_headers(),
          .reconnects = reconnects_,
          .frames_resent = frames_.resends()};
}

/// At the 1st, 10th, 100th, ... fault.
void TcpLink::warn(std::string_view last) {
  const uint64_t damaged = frames_.bad_payloads();
  const uint64_t faults = damaged + reconnects_;
  if (faults < next_warning_) return;
  while (next_warning_ <= faults) next_warning_ *= 10;
  const LogSink& log = options_.port->options().log;
  if (!log) return;
  log(LogLevel::kWarning,
      "the link from rank " + std::to_string(job_peer()) + " at " + route_.text() + " to rank " +
          std::to_string(where().rank) + " at " + text_of(options_.addresses[static_cast<size_t>(options_.rank)]) +
          " had " + std::to_string(faults) + (faults == 1 ? " fault" : " faults") +
          " so far: " + std::to_string(damaged) + " damaged payloads, sent again, and " + std::to_string(reconnects_) +
          " broken connections, made again; the last one: " + std::string(last) +
          ". Results are right; look for a faulty network or memory between the two");
}

void TcpLink::look_after_break(TimePoint now) {
  if (!broken_since_) {
    broken_since_ = now;
    if (!dials()) next_try_ = now + kKnockAfter;
    if (options_.is_gone && options_.is_gone(job_peer())) return lose_peer();
  }
  if (leaving_since_ && now - std::max(*leaving_since_, *broken_since_) >= kBrokenGrace) {
    frames_.give_up(frames_.broken());
  }
}

bool TcpLink::connect(TimePoint now) {
  if (dials()) return dial(now);
  return claim() || (was_connected() && knock(now));
}

void TcpLink::attach(std::unique_ptr<Stream> stream) {
  const Status broken = frames_.broken();
  frames_.attach(std::move(stream));
  if (!broken.ok()) {
    ++reconnects_;
    warn(broken.message());
  }
  broken_since_.reset();
  refused_since_.reset();
  next_try_.reset();
  pause_ = kFirstPause;
  refusals_ = 0;
  reaching_.reset();
}

bool TcpLink::claim() {
  std::unique_ptr<Stream> stream = options_.port->claim(options_.group, job_peer());
  if (!stream) return false;
  attach(std::move(stream));
  return true;
}

HandshakeOptions TcpLink::handshake_options() const {
  const TcpPortOptions& port = options_.port->options();
  HandshakeOptions how;
  how.side = HandshakeOptions::Side::kDialer;
  how.mine.role = Role::kData;
  how.mine.generation = port.generation;
  how.mine.group = options_.group;
  how.mine.from_rank = port.rank;
  how.mine.to_rank = job_peer();
  how.mine.job = port.job;
  how.secret = port.secret;
  how.peer_address = {route_.text()};
  how.limit = route_.patience();  // connected: the peer accepts when it comes to its own first message
  return how;
}

bool TcpLink::dial(TimePoint now) {
  if (!dialing_) {
    std::unique_ptr<Stream> stream = reach(now);
    if (!stream) return false;
    dialing_ = std::make_unique<Handshake>(*env_, std::move(stream), handshake_options());
  }
  const Progress progress = dialing_->advance(now);
  if (progress == Progress::kDone) attach(dialing_->take_stream());
  if (progress == Progress::kFailed) handshake_failed(dialing_->status(), now);
  if (progress == Progress::kDone || progress == Progress::kFailed) dialing_.reset();
  return progress != Progress::kBlocked;
}

/// Asks the peer's kernel whether its process still listens, and nothing else.
bool TcpLink::knock(TimePoint now) {
  if (!reach(now)) return false;
  refused_since_.reset();
  next_try_ = now + kLongestPause;
  return true;
}

/// A fresh connection to the peer's port once its kernel has taken it; null until then, and when it was refused.
std::unique_ptr<Stream> TcpLink::reach(TimePoint now) {
  if (!reaching_) {
    if (next_try_ && now < *next_try_) return nullptr;
    Result<std::unique_ptr<Stream>> stream = route_.dial(*env_);
    if (!stream.ok()) {
      frames_.give_up(stream.status().at(where()));
      return nullptr;
    }
    reaching_ = *std::move(stream);
  }
  const IoResult state = reaching_->read({});  // reads nothing, but tells how the dial went
  if (state.state == IoResult::State::kWouldBlock) return nullptr;
  std::unique_ptr<Stream> reached = std::exchange(reaching_, nullptr);
  if (state.state == IoResult::State::kDone) return reached;
  const bool nobody = state.error == ECONNREFUSED || state.error == ENOENT;
  if (nobody || !was_connected()) {
    refused(std::generic_category().message(state.error), now);
  } else {
    try_again_later(now);  // the way to it is broken, which says nothing about the peer
  }
  return nullptr;
}

/// Dials again after a pause, unless it is of no use.
void TcpLink::handshake_failed(const Status& why, TimePoint now) {
  if (route_.turned_back(why)) return;  // to another address at once
  const bool broke = why.code() == Code::kPeerLost;
  if (!broke && why.code() != Code::kTimeout && ++refusals_ > kRefusalsAllowed) return frames_.give_up(why);
  if (broke && !was_connected()) return refused(why.message(), now);
  refused_since_.reset();  // somebody was there
  try_again_later(now);
}

void TcpLink::refused(const std::string& why, TimePoint now) {
  if (!refused_since_) refused_since_ = now;
  const Duration limit = was_connected() ? options_.reconnect_timeout : options_.connect_timeout;
  if (was_connected() && options_.is_gone && options_.is_gone(job_peer())) return lose_peer();
  if (now - *refused_since_ < limit) return try_again_later(now);
  if (was_connected()) return lose_peer();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(limit).count();
  const Status lost(Code::kPeerLost,
                    "could not connect to rank " + std::to_string(job_peer()) + " at " + route_.text() + " for " +
                        std::to_string(seconds) + " s: its process is gone or left already, see its log (last: " + why +
                        ")",
                    where());
  frames_.give_up(lost.at({.phase = "connecting"}));
}

void TcpLink::try_again_later(TimePoint now) {
  next_try_ = now + pause_;
  pause_ = std::min(pause_ * 2, kLongestPause);
}

/// After a break, and nobody there any more.
void TcpLink::lose_peer() {
  const Status lost(Code::kPeerLost, frames_.broken().message() + "; its process probably died, see its log", where());
  frames_.give_up(lost.at({.phase = "connecting again"}));
}

void TcpLink::add_wait_handles(std::vector<WaitHandle>& handles) const {
  if (!wanted_) return;
  if (reaching_) handles.push_back({reaching_->handle(), true});
  if (dialing_) handles.push_back(dialing_->wait_handle());
  if (frames_.attached()) handles.push_back(frames_.wait_handle());
}

bool TcpLink::leave(TimePoint now) {
  if (!leaving_since_) leaving_since_ = now;
  frames_.forget();
  if (!wanted_ || !status().ok() || frames_.ended()) return true;
  if (!frames_.attached() && frames_.flushed()) {  // never connected, and nobody waits for anything on it
    dialing_.reset();
    reaching_.reset();
    wanted_ = false;
    return true;
  }
  frames_.send_goodbye();
  return frames_.goodbye_arrived() || (now - *leaving_since_ >= kLateAckGrace && frames_.released());
}

}  // namespace rondo::comm
