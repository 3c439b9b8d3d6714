#include "comm/store/service.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "comm/store/messages.h"

namespace rondo::comm {
namespace {

constexpr size_t kMostInHandshake = 64;
constexpr size_t kMostParkedPerClient = 1024;
// A client that does not read its replies is not asked for more requests.
constexpr uint64_t kMostUnreadReplies = 64;
constexpr size_t kBytesPerTurn = 256 * 1024;

std::string client_name(const Hello& hello) {
  return hello.from_rank < 0 ? "a store client" : "the store client of rank " + std::to_string(hello.from_rank);
}

}  // namespace

Result<std::unique_ptr<StoreService>> StoreService::open(std::shared_ptr<Env> env, StoreServerOptions options) {
  if (options.secret.empty())
    return Status(Code::kUnauthenticated, "a store cannot be served without a secret to know its clients by",
                  {.operation = "serving the store"});
  std::vector<Address> places{options.listen};
  places.insert(places.end(), options.also_listen.begin(), options.also_listen.end());
  std::vector<std::unique_ptr<Listener>> listeners;
  for (const Address& place : places) {
    auto listener = env->listen(place);
    if (!listener.ok()) return listener.status().at({.operation = "serving the store"});
    listeners.push_back(*std::move(listener));
  }
  return std::unique_ptr<StoreService>(new StoreService(std::move(env), std::move(listeners), std::move(options)));
}

std::vector<Address> StoreService::addresses() const {
  std::vector<Address> all;
  for (const auto& listener : listeners_) all.push_back(listener->address());
  return all;
}

std::vector<WaitHandle> StoreService::wait_handles() const {
  std::vector<WaitHandle> handles;
  for (const auto& listener : listeners_)
    if (in_handshake_.size() < kMostInHandshake) handles.push_back({.handle = listener->handle()});
  for (const Handshake& handshake : in_handshake_) handles.push_back(handshake.wait_handle());
  for (const Client& client : clients_) handles.push_back(client.frames.wait_handle());
  std::erase_if(handles, [](const WaitHandle& handle) { return handle.handle < 0; });
  return handles;
}

size_t StoreService::parked_count() const {
  size_t count = 0;
  for (const Client& client : clients_) count += client.parked.size();
  return count;
}

void StoreService::refused(const Status& status) const {
  if (options_.on_refused) options_.on_refused(status);
}

Progress StoreService::advance(TimePoint now) {
  bool moved = accept_callers();
  moved |= advance_handshakes(now);
  const uint64_t version = content_.version();
  std::erase_if(clients_, [&](Client& client) {
    if (serve(client, moved)) return false;
    return moved = true;
  });
  // What one client wrote may answer another that was looked at before.
  moved |= content_.version() != version;
  return moved ? Progress::kProgressed : Progress::kBlocked;
}

bool StoreService::accept_callers() {
  bool moved = false;
  for (const auto& listener : listeners_) {
    while (in_handshake_.size() < kMostInHandshake) {
      auto stream = listener->accept();
      if (!stream) break;
      moved = true;
      if (options_.same_user_only && stream->peer_uid() != static_cast<int64_t>(::geteuid())) {
        refused({Code::kUnauthenticated, "refused a store client of user " + std::to_string(stream->peer_uid()) +
                                             ": this store serves its own user only"});
        continue;
      }
      HandshakeOptions how;
      how.side = HandshakeOptions::Side::kAcceptor;
      how.mine.role = Role::kStore;
      how.mine.job = options_.job;
      how.secret = options_.secret;
      in_handshake_.emplace_back(*env_, std::move(stream), std::move(how));
    }
  }
  return moved;
}

bool StoreService::advance_handshakes(TimePoint now) {
  bool moved = false;
  for (auto at = in_handshake_.begin(); at != in_handshake_.end();) {
    const Progress progress = at->advance(now);
    moved |= progress != Progress::kBlocked;
    if (progress == Progress::kFailed) refused(at->status());
    if (progress == Progress::kDone) {
      FramedStreamOptions options;
      options.peer_name = client_name(at->peer());
      options.where.peer = at->peer().from_rank;
      options.max_payload_bytes = kMaxStoreFrameBytes;
      clients_.emplace_back(at->take_stream(), std::move(options));
    }
    at = progress == Progress::kDone || progress == Progress::kFailed ? in_handshake_.erase(at) : std::next(at);
  }
  return moved;
}

bool StoreService::serve(Client& client, bool& moved) {
  const Progress progress = client.frames.advance(kBytesPerTurn);
  moved |= progress == Progress::kProgressed;
  Status status = answer_parked(client);
  while (status.ok() &&
         client.last_reply - std::min(client.last_reply, client.frames.frames_acked()) < kMostUnreadReplies) {
    const auto frame = client.reader.next(client.frames);
    if (!frame) break;
    moved = true;
    status = obey(client, *frame);
  }
  if (!status.ok() && status.code() != Code::kClosed) refused(status);
  return status.ok() && progress != Progress::kDone && progress != Progress::kFailed && !client.frames.peer_left();
}

Status StoreService::obey(Client& client, const FrameReader::Frame& frame) {
  if (frame.header.type != FrameType::kStoreRequest)
    return {Code::kCorrupt, "a store client sent a " + std::string(name(frame.header.type)) + " frame"};
  auto message = decode_store_message(frame.payload);
  RONDO_TRY(message);
  const uint64_t sequence = frame.header.sequence;
  if (message->forget) {
    client.parked.erase(sequence);
    return {};
  }
  auto values = content_.apply(message->request);
  if (!values.ok()) return answer(client, sequence, {values.status(), {}});
  if (values->has_value()) return answer(client, sequence, {{}, **std::move(values)});
  if (client.parked.size() >= kMostParkedPerClient)
    return answer(client, sequence,
                  {{Code::kResource, "this client waits for " + std::to_string(kMostParkedPerClient) +
                                         " requests already (free 0, need 1)"},
                   {}});
  client.parked.emplace(sequence, std::move(message->request));
  return {};
}

Status StoreService::answer_parked(Client& client) {
  if (client.parked.empty() || client.seen_version == content_.version()) return {};
  client.seen_version = content_.version();
  for (auto at = client.parked.begin(); at != client.parked.end();) {
    auto values = content_.apply(at->second);
    if (values.ok() && !values->has_value()) {
      ++at;
      continue;
    }
    RONDO_TRY(
        answer(client, at->first, values.ok() ? StoreReply{{}, **std::move(values)} : StoreReply{values.status(), {}}));
    at = client.parked.erase(at);
  }
  return {};
}

Status StoreService::answer(Client& client, uint64_t sequence, const StoreReply& reply) {
  FrameHeader header;
  header.type = FrameType::kStoreReply;
  header.sequence = sequence;
  const auto number = client.frames.send_owned(header, encode(reply));
  RONDO_TRY(number);
  client.last_reply = *number;
  return {};
}

}  // namespace rondo::comm
