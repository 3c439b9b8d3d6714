#include "comm/group/host_relay.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "comm/base/little_endian.h"
#include "comm/watch/keeper.h"

namespace rondo::comm {
namespace {

using namespace std::chrono_literals;

// The links are those of a group of their own, which no user's group has.
constexpr uint64_t kRelayGroup = ~uint64_t{0};
constexpr size_t kRelaysPerHost = 2;  // one may die
constexpr Duration kBeat = 100ms;
// Who died is known on its own host within a beat of the keepers there, and here within one of ours.
constexpr Duration kBetterReason = 100ms;
constexpr Duration kLeaveLimit = 200ms;
constexpr size_t kMostUnreleased = 32;  // of a link that stands still; beats are left out then

// A letter is of one size: kind, count, then either an abort (group, generation, code, culprit, reporter, length, text)
// or the states of up to kStates ranks (rank, pid, reached, silence in ms).
constexpr size_t kLetterBytes = 1024;
constexpr uint32_t kAbortLetter = 1, kBeatLetter = 2;
constexpr size_t kBodyAt = 8, kTextAt = 40, kStateBytes = 24;
constexpr size_t kStates = (kLetterBytes - kBodyAt) / kStateBytes;
static_assert(kTextAt + 900 <= kLetterBytes);

std::vector<std::byte> letter_of(uint32_t kind, uint32_t count) {
  std::vector<std::byte> letter(kLetterBytes);
  put_le(letter.data(), kind);
  put_le(letter.data() + 4, count);
  return letter;
}

std::vector<std::byte> abort_letter(const AbortReason& reason) {
  const size_t text_bytes = std::min(reason.text.size(), kLetterBytes - kTextAt);
  auto letter = letter_of(kAbortLetter, static_cast<uint32_t>(text_bytes));
  put_le(letter.data() + 8, reason.group);
  put_le(letter.data() + 16, reason.generation);
  put_le(letter.data() + 20, static_cast<uint32_t>(reason.code));
  put_le(letter.data() + 24, static_cast<uint32_t>(reason.culprit));
  put_le(letter.data() + 28, static_cast<uint32_t>(reason.reporter));
  std::memcpy(letter.data() + kTextAt, reason.text.data(), text_bytes);
  return letter;
}

AbortReason abort_in(const std::vector<std::byte>& letter) {
  const size_t text_bytes = std::min<size_t>(get_le<uint32_t>(letter.data() + 4), kLetterBytes - kTextAt);
  return {.group = get_le<uint64_t>(letter.data() + 8),
          .generation = get_le<uint32_t>(letter.data() + 16),
          .code = static_cast<Code>(get_le<uint32_t>(letter.data() + 20)),
          .culprit = static_cast<int>(get_le<uint32_t>(letter.data() + 24)),
          .reporter = static_cast<int>(get_le<uint32_t>(letter.data() + 28)),
          .text = std::string(reinterpret_cast<const char*>(letter.data() + kTextAt), text_bytes)};
}

uint64_t nanoseconds(TimePoint at) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count());
}

}  // namespace

std::vector<int> relay_peers(const Hosts& hosts, int rank) {
  std::vector<int> peers;
  const auto relay = [](const std::vector<int>& host, size_t nth) { return host[std::min(nth, host.size() - 1)]; };
  for (const auto& own : hosts) {
    if (std::ranges::find(own, rank) == own.end()) continue;
    for (const auto& other : hosts) {
      if (&other == &own) continue;
      for (size_t nth = 0; nth < kRelaysPerHost; ++nth) {
        const int peer = relay(other, nth);
        if (relay(own, nth) == rank && std::ranges::find(peers, peer) == peers.end()) peers.push_back(peer);
      }
    }
  }
  return peers;
}

Result<std::shared_ptr<HostRelay>> HostRelay::create(HostRelayOptions options) {
  TcpTransportOptions tcp{
      .port = options.port, .group = kRelayGroup, .job_ranks = {}, .rank = options.rank, .addresses = {}};
  for (size_t rank = 0; rank < options.contacts.size(); ++rank) {
    tcp.job_ranks.push_back(static_cast<int>(rank));
    tcp.addresses.push_back(options.contacts[rank].addresses);
  }
  auto links = make_tcp_transport(options.env, std::move(tcp));
  RONDO_TRY(links);
  const int ranks = static_cast<int>(options.contacts.size());
  auto peers = relay_peers(hosts_of(options.host_of_rank, ranks), options.rank);
  return std::shared_ptr<HostRelay>(new HostRelay(std::move(options), std::move(peers), *std::move(links)));
}

HostRelay::HostRelay(HostRelayOptions options, std::vector<int> peers, std::unique_ptr<Transport> links)
    : options_(std::move(options)), links_(std::move(links)), peers_(peers.size()), met_(peers.size()) {
  for (size_t i = 0; i < peers.size(); ++i) {
    peers_[i].rank = peers[i];
    peers_[i].arriving.resize(kLetterBytes);
  }
}

std::vector<int> HostRelay::unmet() const {
  std::vector<int> ranks;
  for (size_t i = 0; i < peers_.size(); ++i) {
    if (!met_[i].load(std::memory_order_acquire)) ranks.push_back(peers_[i].rank);
  }
  return ranks;
}

bool HostRelay::is_mine(int rank) const {
  const auto& hosts = options_.host_of_rank;
  return rank < 0 || static_cast<size_t>(rank) >= hosts.size() ||
         hosts[static_cast<size_t>(rank)] == hosts[static_cast<size_t>(options_.rank)];
}

void HostRelay::advance(TimePoint now) {
  if (peers_.empty()) return;
  (void)links_->progress(now);  // of a broken link receive() says why
  for (Peer& peer : peers_) receive(peer, now);
  pass_aborts_on();
  if (now >= next_beat_) {
    next_beat_ = now + kBeat;
    send_beats(now);
  }
  for (Peer& peer : peers_) report_broken(peer, now);
  (void)links_->progress(now);
}

void HostRelay::send(Peer& peer, std::vector<std::byte> letter) {
  if (peer.state != Peer::State::kOpen) return;
  while (!peer.unreleased.empty() && links_->sends_released(peer.rank) >= peer.unreleased.front().first)
    peer.unreleased.pop_front();
  const auto ticket = links_->send(peer.rank, {}, letter);
  if (ticket.ok()) peer.unreleased.emplace_back(*ticket, std::move(letter));
}

void HostRelay::pass_aborts_on() {
  for (const AbortReason& reason : options_.page->aborts_from(passed_on_)) {
    ++passed_on_;
    if (!is_mine(reason.reporter)) continue;  // it came from there
    for (Peer& peer : peers_) send(peer, abort_letter(reason));
  }
}

void HostRelay::send_beats(TimePoint now) {
  std::vector<int> present;
  for (size_t rank = 0; rank < options_.host_of_rank.size(); ++rank) {
    const auto number = static_cast<int>(rank);
    if (is_mine(number) && options_.page->membership(number) == Membership::kPresent) present.push_back(number);
  }
  for (size_t begin = 0; begin < present.size(); begin += kStates) {
    const size_t count = std::min(kStates, present.size() - begin);
    auto letter = letter_of(kBeatLetter, static_cast<uint32_t>(count));
    for (size_t i = 0; i < count; ++i) {
      const int rank = present[begin + i];
      const uint64_t last = options_.page->last_beat_ns(rank);
      const uint64_t silent_ns = last == 0 || last > nanoseconds(now) ? 0 : nanoseconds(now) - last;
      std::byte* at = letter.data() + kBodyAt + i * kStateBytes;
      put_le(at, static_cast<uint32_t>(rank));
      put_le(at + 4, static_cast<uint32_t>(options_.page->pid(rank)));
      put_le(at + 8, options_.page->reached(rank));
      put_le(at + 16, static_cast<uint32_t>(std::min<uint64_t>(silent_ns / 1'000'000, UINT32_MAX)));
    }
    for (Peer& peer : peers_) {
      if (peer.unreleased.size() < kMostUnreleased) send(peer, letter);
    }
  }
}

void HostRelay::receive(Peer& peer, TimePoint now) {
  while (peer.state == Peer::State::kOpen) {
    const auto got = links_->receive(peer.rank, peer.arriving);
    if (!got.ok()) {
      peer.state = got.status().code() == Code::kClosed ? Peer::State::kLeft : Peer::State::kBroken;
      peer.broken_since = now;
      peer.why = got.status().message();
      return;
    }
    if (!got->has_value()) return;
    met_[static_cast<size_t>(&peer - peers_.data())].store(true, std::memory_order_release);
    take(peer.arriving, now);
  }
}

void HostRelay::take(const std::vector<std::byte>& letter, TimePoint now) {
  if (get_le<uint32_t>(letter.data()) == kAbortLetter) {
    const AbortReason reason = abort_in(letter);
    if (!is_mine(reason.reporter)) options_.page->post_abort(reason);
    return;
  }
  const size_t count = std::min<size_t>(get_le<uint32_t>(letter.data() + 4), kStates);
  for (size_t i = 0; i < count; ++i) {
    const std::byte* at = letter.data() + kBodyAt + i * kStateBytes;
    const int rank = static_cast<int>(get_le<uint32_t>(at));
    if (rank < 0 || rank >= options_.page->rank_count() || is_mine(rank)) continue;
    const uint64_t silent_ns = uint64_t{get_le<uint32_t>(at + 16)} * 1'000'000;
    options_.page->mirror({.rank = rank,
                           .pid = static_cast<int>(get_le<uint32_t>(at + 4)),
                           .reached = get_le<uint64_t>(at + 8),
                           .last_beat_ns = nanoseconds(now) - std::min(silent_ns, nanoseconds(now))});
  }
}

void HostRelay::report_broken(Peer& peer, TimePoint now) {
  if (peer.state != Peer::State::kBroken || now - peer.broken_since < kBetterReason) return;
  peer.state = Peer::State::kReported;
  if (options_.page->abort_of(kWholeJob)) return;
  const std::string& host = options_.contacts[static_cast<size_t>(peer.rank)].host;
  options_.page->post_abort(
      {.group = kWholeJob,
       .generation = options_.port->options().generation,
       .code = Code::kPeerLost,
       .culprit = peer.rank,
       .reporter = options_.rank,
       .text = person(peer.rank, options_.page->pid(peer.rank)) + " on host " + host.substr(0, host.find('/')) +
               " is lost, with its host or alone: its control link ended without a goodbye (" + peer.why + ")"});
}

void HostRelay::leave() {
  if (peers_.empty()) return;
  pass_aborts_on();
  const Deadline deadline = after(kLeaveLimit);
  while (links_->goodbye(options_.env->now()).is_pending() && !deadline.passed(Clock::now()))
    options_.env->idle(links_->wait_handles(), 1ms);
}

}  // namespace rondo::comm
