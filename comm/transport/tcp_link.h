/// One pair's link of a tcp transport, from the first message to its end, over as many connections as it takes.
///
/// Of a pair the lower rank dials, at all addresses of the other (route.h), again when a connection broke; the higher
/// one takes what its port has accepted, and meanwhile knocks at the other's port to see whether its process is still
/// there. A peer whose port refuses for a while is lost, and one that the transport's owner knows to be gone is lost at
/// once; one that is there but does not answer is waited for as long as the caller waits. Messages may be queued all
/// the time; see Note [Resume] in framed_stream.h for what happens to them. Threading: its transport's.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/transport/framed_stream.h"
#include "comm/transport/handshake.h"
#include "comm/transport/route.h"
#include "comm/transport/tcp.h"

namespace rondo::comm {

class TcpLink {
 public:
  /// `options` are the transport's and outlive the link. `peer`: in the group.
  TcpLink(std::shared_ptr<Env> env, const TcpTransportOptions& options, int peer);

  FramedStream& frames() { return frames_; }
  const FramedStream& frames() const { return frames_; }
  /// Why nothing goes over it any more.
  const Status& status() const { return frames_.status(); }
  Where where() const;

  /// Somebody sends or receives over it.
  void want() { wanted_ = true; }
  /// Waits for the peer to dial.
  bool expects_a_caller() const { return wanted_ && status().ok() && !dials() && !frames_.attached(); }
  /// Goes on: connects, and moves about `budget` bytes in each direction. True when anything moved.
  bool advance(TimePoint now, size_t budget);
  LinkStatistics statistics() const;
  void add_wait_handles(std::vector<WaitHandle>& handles) const;
  /// Says goodbye behind what is queued. True when nothing is left to do: all has arrived, goodbye included, or is out
  /// and the peer too busy to take it, or never will arrive.
  bool leave(TimePoint now);

 private:
  bool dials() const { return options_.rank < peer_; }
  bool was_connected() const { return !frames_.broken().ok(); }
  int job_peer() const { return options_.job_ranks[static_cast<size_t>(peer_)]; }
  bool connect(TimePoint now);
  bool claim();
  bool dial(TimePoint now);
  bool knock(TimePoint now);
  std::unique_ptr<Stream> reach(TimePoint now);
  void attach(std::unique_ptr<Stream> stream);
  void handshake_failed(const Status& why, TimePoint now);
  void refused(const std::string& why, TimePoint now);
  void try_again_later(TimePoint now);
  void look_after_break(TimePoint now);
  void lose_peer();
  void warn(std::string_view last);
  HandshakeOptions handshake_options() const;

  const std::shared_ptr<Env> env_;
  const TcpTransportOptions& options_;
  const int peer_;
  Route route_;
  FramedStream frames_;
  bool wanted_ = true;
  std::optional<TimePoint> leaving_since_, broken_since_;
  uint64_t reconnects_ = 0;
  uint64_t next_warning_ = 1;
  // While there is no connection.
  std::unique_ptr<Stream> reaching_;
  std::unique_ptr<Handshake> dialing_;
  std::optional<TimePoint> refused_since_;
  std::optional<TimePoint> next_try_;
  Duration pause_;
  int refusals_ = 0;
};

}  // namespace rondo::comm
