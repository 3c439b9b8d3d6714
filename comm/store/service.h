/// The served store as a state machine: accepts, runs handshakes, answers requests, parks those that wait for a key.
/// StoreServer runs it in a thread; under test it runs in one thread with its clients, in simulated time.
///
/// Threading: one thread at a time.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "comm/store/content.h"
#include "comm/store/frame_reader.h"
#include "comm/store/messages.h"
#include "comm/transport/framed_stream.h"
#include "comm/transport/handshake.h"
#include "rondo/comm/store.h"

namespace rondo::comm {

class StoreService {
 public:
  /// Listens. kUnauthenticated without a secret.
  static Result<std::unique_ptr<StoreService>> open(std::shared_ptr<Env> env, StoreServerOptions options);

  std::vector<Address> addresses() const;
  /// Does what can be done; kProgressed or kBlocked. A client's fault ends that client's connection only.
  Progress advance(TimePoint now);
  std::vector<WaitHandle> wait_handles() const;
  size_t client_count() const { return clients_.size(); }
  size_t parked_count() const;

 private:
  /// A proven connection.
  struct Client {
    Client(std::unique_ptr<Stream> stream, FramedStreamOptions options)
        : frames(std::move(stream), std::move(options)) {}
    FramedStream frames;
    FrameReader reader;
    uint64_t last_reply = 0;                  // frame number
    std::map<uint64_t, StoreRequest> parked;  // by sequence number: kGets that lack a key
    uint64_t seen_version = 0;                // of the content, when `parked` was last tried
  };

  StoreService(std::shared_ptr<Env> env, std::vector<std::unique_ptr<Listener>> listeners, StoreServerOptions options)
      : env_(std::move(env)), listeners_(std::move(listeners)), options_(std::move(options)) {}
  bool accept_callers();
  bool advance_handshakes(TimePoint now);
  /// False when the client is to be dropped.
  bool serve(Client& client, bool& moved);
  Status obey(Client& client, const FrameReader::Frame& frame);
  Status answer_parked(Client& client);
  Status answer(Client& client, uint64_t sequence, const StoreReply& reply);
  void refused(const Status& status) const;

  const std::shared_ptr<Env> env_;
  const std::vector<std::unique_ptr<Listener>> listeners_;  // at least one
  const StoreServerOptions options_;
  StoreContent content_;
  std::list<Handshake> in_handshake_;
  std::list<Client> clients_;
};

}  // namespace rondo::comm
