#include "comm/transport/handshake.h"

#include <array>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

namespace rondo::comm {
namespace {

using Side = HandshakeOptions::Side;

constexpr std::string_view kDialerLabel = "rondo handshake 1: dialer";
constexpr std::string_view kAcceptorLabel = "rondo handshake 1: acceptor";
constexpr int kSteps = 4;

std::string rank_text(int rank) { return rank < 0 ? std::string("a client") : "rank " + std::to_string(rank); }

std::string_view role_text(Role role) {
  switch (role) {
    case Role::kData:
      return "data link";
    case Role::kControl:
      return "control link";
    case Role::kStore:
      return "store";
  }
  return "unknown";
}

std::string seconds_text(Duration duration) {
  const auto tenths = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count() / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

}  // namespace

Handshake::Handshake(Env& env, std::unique_ptr<Stream> stream, HandshakeOptions options)
    : options_(std::move(options)), stream_(std::move(stream)) {
  env.random(options_.mine.nonce);
  if (dialing()) my_hello_ = encode(options_.mine);
}

WaitHandle Handshake::wait_handle() const {
  if (!stream_) return {};
  const Step now = step();
  return {stream_->handle(), now == Step::kSendHello || now == Step::kSendProof};
}

Progress Handshake::advance(TimePoint now) {
  if (!status_.ok()) return Progress::kFailed;
  if (steps_done_ == kSteps) return Progress::kDone;
  if (options_.secret.empty()) {
    return fail({Code::kUnauthenticated,
                 "no handshake with " + other() +
                     ": this side holds no secret; start every rank with `rondo run`, or give all of them the same "
                     "--secret-file (RONDO_SECRET_FILE)"});
  }
  if (!started_) {
    started_ = true;
    start_ = now;
  }
  const int steps_before = steps_done_;
  const size_t bytes_before = bytes_done_;
  for (;;) {
    const Progress moved = move_bytes(now);
    if (moved == Progress::kProgressed) continue;
    if (moved != Progress::kBlocked) return moved;
    if (now - start_ >= options_.limit) {
      return fail({Code::kTimeout, "the handshake with " + other() + " was not finished within " +
                                       seconds_text(options_.limit) +
                                       ": the other side is stopped, overloaded, or no Rondo program"});
    }
    return steps_done_ != steps_before || bytes_done_ != bytes_before ? Progress::kProgressed : Progress::kBlocked;
  }
}

Handshake::Step Handshake::step() const {
  constexpr std::array kDialer{Step::kSendHello, Step::kReadHello, Step::kSendProof, Step::kReadProof};
  constexpr std::array kAcceptor{Step::kReadHello, Step::kSendHello, Step::kReadProof, Step::kSendProof};
  const auto at = static_cast<size_t>(steps_done_ < kSteps ? steps_done_ : kSteps - 1);
  return dialing() ? kDialer[at] : kAcceptor[at];
}

std::span<std::byte> Handshake::bytes_of_step() {
  switch (step()) {
    case Step::kSendHello:
      return my_hello_;
    case Step::kReadHello:
      return peer_hello_;
    case Step::kSendProof:
      return my_proof_;
    case Step::kReadProof:
      return peer_proof_;
  }
  return {};
}

Progress Handshake::move_bytes(TimePoint now) {
  const bool sending = step() == Step::kSendHello || step() == Step::kSendProof;
  const auto all = bytes_of_step();
  const auto left = all.subspan(bytes_done_);
  const IoResult result = sending ? stream_->write(left, {}) : stream_->read(left);
  if (result.state == IoResult::State::kWouldBlock) return Progress::kBlocked;
  if (result.state != IoResult::State::kDone) return broken(result, now);
  bytes_done_ += result.bytes;
  if (bytes_done_ < all.size()) return Progress::kProgressed;
  return finish_step();
}

Progress Handshake::finish_step() {
  const Step finished = step();
  bytes_done_ = 0;
  ++steps_done_;
  if (finished == Step::kReadHello) {
    Result<Hello> hello = decode_hello(peer_hello_);
    if (!hello.ok() && (dialing() || hello.status().code() == Code::kCorrupt)) {
      return fail({hello.status().code(), "handshake with " + other() + ": " + hello.status().message()});
    }
    if (hello.ok()) peer_ = *hello;
    const Status verdict = hello.ok() ? judge(peer_) : hello.status();
    if (dialing()) {
      if (!verdict.ok()) return fail(verdict);
      my_proof_ = proof_of(Side::kDialer);
      return Progress::kProgressed;
    }
    verdict_ = verdict;  // told after our hello went out
    options_.mine.to_rank = peer_.from_rank;
    options_.mine.group = peer_.group;
    options_.mine.channel = peer_.channel;
    my_hello_ = encode(options_.mine);
  }
  if (finished == Step::kSendHello && !verdict_.ok()) return fail(verdict_);
  if (finished == Step::kReadProof) {
    if (!equal_digests(peer_proof_, proof_of(dialing() ? Side::kAcceptor : Side::kDialer))) {
      return fail({Code::kUnauthenticated,
                   other() + " did not prove that it holds this job's secret: it was started with another one, or is "
                             "not part of this job"});
    }
    if (!dialing()) my_proof_ = proof_of(Side::kAcceptor);
  }
  return steps_done_ == kSteps ? Progress::kDone : Progress::kProgressed;
}

Status Handshake::judge(const Hello& peer) const {
  const Hello& mine = options_.mine;
  const auto differs = [&](const std::string& what, const std::string& theirs, const std::string& ours,
                           const std::string& hint) {
    return Status(Code::kMismatch, other() + " is in " + what + " " + theirs + ", this side in " + ours + ": " + hint);
  };
  if (peer.role != mine.role) {
    return {Code::kMismatch, other() + " wants a " + std::string(role_text(peer.role)) + ", this side a " +
                                 std::string(role_text(mine.role)) + ": one of the addresses is wrong"};
  }
  if (peer.job != mine.job) {
    return differs("job", peer.job.hex(), mine.job.hex(), "two jobs use the same address; give one another port");
  }
  if (dialing() && peer.generation > mine.generation) {
    return {Code::kEvicted, other() + " is in generation " + std::to_string(peer.generation) +
                                " of the job, this side in " + std::to_string(mine.generation) +
                                ": the job went on without this process, which was taken for lost; end it"};
  }
  if (peer.generation != mine.generation) {
    return differs("generation", std::to_string(peer.generation), std::to_string(mine.generation),
                   "a process of an earlier start is still alive, or one was not restarted");
  }
  if (peer.to_rank != -1 && peer.to_rank != mine.from_rank) {
    return {Code::kMismatch, other() + " means to talk to " + rank_text(peer.to_rank) + ", but this is " +
                                 rank_text(mine.from_rank) + ": an old address is in use"};
  }
  if (!dialing()) return options_.accept ? options_.accept(peer) : Status();
  if (mine.to_rank != -1 && peer.from_rank != mine.to_rank) {
    return {Code::kMismatch, "expected " + rank_text(mine.to_rank) + " at " + options_.peer_address.text + ", found " +
                                 rank_text(peer.from_rank) + ": an old address is in use"};
  }
  if (peer.group != mine.group || peer.channel != mine.channel) {
    return {Code::kMismatch, other() + " answered for another group or channel than it was asked for"};
  }
  return {};
}

Digest Handshake::proof_of(Side side) const {
  const std::string_view label = side == Side::kDialer ? kDialerLabel : kAcceptorLabel;
  const std::array<std::span<const std::byte>, 3> parts{
      std::as_bytes(std::span(label)), dialing() ? my_hello_ : peer_hello_, dialing() ? peer_hello_ : my_hello_};
  return hmac_sha256(options_.secret, parts);
}

Progress Handshake::broken(const IoResult& result, TimePoint now) {
  const bool failed = result.state == IoResult::State::kFailed;
  const std::string why = failed ? std::generic_category().message(result.error) : "closed by the other side";
  if (!dialing() || steps_done_ < 2) {  // an acceptor, or a dialer that has seen no answer yet
    return fail({Code::kPeerLost, "the connection with " + other() + " broke during the handshake: " + why});
  }
  if (now - start_ >= kHandshakeLimit) {
    return fail({Code::kTimeout, other() + " closed the connection after " + seconds_text(now - start_) +
                                     " of handshake: one of the two sides was too slow"});
  }
  return fail({Code::kUnauthenticated,
               "the other side, " + other() +
                   ", closed during the handshake: it probably does not hold this job's secret; start both from one "
                   "`rondo run`, or with the same --secret-file"});
}

Progress Handshake::fail(const Status& status) {
  const int peer = dialing() ? options_.mine.to_rank : peer_.from_rank;
  status_ = status.at({.rank = options_.mine.from_rank, .peer = peer, .phase = "handshake"});
  if (stream_) stream_->close();
  stream_.reset();
  return Progress::kFailed;
}

std::string Handshake::other() const {
  std::string text;
  if (dialing()) {
    text = options_.mine.role == Role::kStore ? "the store" : rank_text(options_.mine.to_rank);
  } else {
    const bool known = steps_done_ > 0;
    text = known ? rank_text(peer_.from_rank) : "a caller";
  }
  return options_.peer_address.text.empty() ? text : text + " at " + options_.peer_address.text;
}

}  // namespace rondo::comm
