#include "comm/sim/sim_env.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "comm/sim/stream_faults.h"

namespace rondo::comm {
namespace {

/// Bytes on their way in one direction.
struct Pipe {
  struct Piece {
    TimePoint arrives;
    std::vector<std::byte> bytes;
    size_t taken = 0;
  };
  std::deque<Piece> pieces;
  size_t byte_count = 0;
  bool writer_closed = false;
  bool reader_closed = false;
  // When the other end learns of a close: after all that was written before it.
  TimePoint end_arrives{};
  TimePoint refusal_arrives{};
  bool ends_in_reset = false;  // as the kernel ends a stream whose closer left bytes unread
  bool reset = false;
};

/// Both directions; shared by the two streams at its ends.
struct Connection {
  Pipe from_dialer;
  Pipe from_acceptor;
  std::string dialer;
  std::string acceptor;

  /// As the kernel resets it: at both ends, with all that was under way.
  void reset() {
    for (Pipe* pipe : {&from_dialer, &from_acceptor}) {
      pipe->reset = true;
      pipe->pieces.clear();
      pipe->byte_count = 0;
    }
  }
};

struct Port {
  std::string owner;
  int rank = -1;
  std::deque<std::unique_ptr<Stream>> waiting;
};

class World final : public SimWorld, public std::enable_shared_from_this<World> {
 public:
  explicit World(SimOptions options) : options_(std::move(options)), random_(options_.seed) {}

  std::shared_ptr<Env> env(const std::string& name, int rank) override;
  TimePoint now() const override { return now_; }
  void advance(Duration by) override {
    now_ += std::max(by, Duration::zero());
    note(Event::kTime, {static_cast<uint64_t>(by.count())});
  }
  void kill(const std::string& name) override;

  const SimOptions& options() const { return options_; }
  uint64_t draw(uint64_t below) { return below <= 1 ? 0 : random_() % below; }
  bool blocks_now() { return draw(100) < static_cast<uint64_t>(options_.would_block_percent); }
  size_t draw_bytes(size_t at_most) {
    return 1 + static_cast<size_t>(draw(std::min(at_most, options_.most_bytes_per_call)));
  }
  Duration draw_latency() {
    const auto spread = (options_.latency_max - options_.latency_min).count();
    return options_.latency_min + Duration(spread > 0 ? static_cast<int64_t>(draw(static_cast<uint64_t>(spread))) : 0);
  }

  void note(Event event, std::initializer_list<uint64_t> words) {
    if (options_.trace) options_.trace->note(event, words);
  }
  /// How often `pair` did this before.
  uint64_t count(std::map<std::pair<int, int>, uint64_t>& counts, std::pair<int, int> pair) { return counts[pair]++; }

  std::map<std::string, std::shared_ptr<Port>> ports;  // shared with their listeners
  std::vector<std::weak_ptr<Connection>> connections;
  int ports_named = 0;
  std::map<std::pair<int, int>, uint64_t> dials, connected;  // by ranks: from, to

 private:
  const SimOptions options_;
  std::mt19937_64 random_;
  TimePoint now_{std::chrono::hours(1)};
};

/// One end of a connection: who holds it, and who the other is.
struct End {
  std::string owner;
  int rank = -1;
  int peer = -1;
  enum class Side : uint8_t { kDialer, kAcceptor } side = Side::kDialer;
  uint64_t nth = 0;  // connection of this pair
};

class SimStream final : public Stream {
 public:
  SimStream(std::shared_ptr<World> world, std::shared_ptr<Connection> connection, const End& end)
      : world_(std::move(world)),
        connection_(std::move(connection)),
        end_(end),
        in_(end.side == End::Side::kDialer ? connection_->from_acceptor : connection_->from_dialer),
        out_(end.side == End::Side::kDialer ? connection_->from_dialer : connection_->from_acceptor),
        reading_(faults(), {.rank = end.rank, .peer = end.peer, .act = Act::kRead, .sequence = end.nth}),
        writing_(faults(), {.rank = end.rank, .peer = end.peer, .act = Act::kWrite, .sequence = end.nth}) {}
  ~SimStream() override { close(); }
  SimStream(const SimStream&) = delete;
  SimStream& operator=(const SimStream&) = delete;

  IoResult read(std::span<std::byte> into) override {
    if (in_.reader_closed) return {IoResult::State::kFailed, 0, EBADF};
    if (in_.reset) return {IoResult::State::kFailed, 0, ECONNRESET};
    if (into.empty()) return {};
    if (in_.pieces.empty()) {
      if (!in_.writer_closed || world_->now() < in_.end_arrives) return {IoResult::State::kWouldBlock};
      return in_.ends_in_reset ? IoResult{IoResult::State::kFailed, 0, ECONNRESET} : IoResult{IoResult::State::kClosed};
    }
    if (in_.pieces.front().arrives > world_->now() || world_->blocks_now()) return {IoResult::State::kWouldBlock};
    const StreamFaults::Verdict verdict = reading_.look(bytes_read_, std::min(into.size(), in_.byte_count));
    if (verdict.call == StreamFaults::Verdict::Call::kBlocks) return {IoResult::State::kWouldBlock};
    const size_t most = std::min(verdict.byte_most, world_->draw_bytes(into.size()));
    size_t count = 0;
    while (count < most && !in_.pieces.empty() && in_.pieces.front().arrives <= world_->now()) {
      Pipe::Piece& piece = in_.pieces.front();
      const size_t part = std::min(most - count, piece.bytes.size() - piece.taken);
      std::copy_n(piece.bytes.begin() + static_cast<std::ptrdiff_t>(piece.taken), part,
                  into.begin() + static_cast<std::ptrdiff_t>(count));
      count += part;
      piece.taken += part;
      if (piece.taken == piece.bytes.size()) in_.pieces.pop_front();
    }
    in_.byte_count -= count;
    bytes_read_ += count;
    note(Event::kBytesRead, count);
    return {IoResult::State::kDone, count};
  }

  IoResult write(std::span<const std::byte> head, std::span<const std::byte> body) override {
    if (out_.writer_closed) return {IoResult::State::kFailed, 0, EBADF};
    if (out_.reset) return {IoResult::State::kFailed, 0, ECONNRESET};
    const size_t all = head.size() + body.size();
    if (out_.reader_closed) {  // nobody will read it, but that is not known yet
      if (world_->now() < out_.refusal_arrives) return {IoResult::State::kDone, all};
      return {IoResult::State::kFailed, 0, EPIPE};
    }
    if (all == 0) return {};
    const size_t room = world_->options().stream_bytes - std::min(world_->options().stream_bytes, out_.byte_count);
    if (room == 0 || world_->blocks_now()) return {IoResult::State::kWouldBlock};
    const StreamFaults::Verdict verdict = writing_.look(bytes_written_, std::min(all, room));
    if (verdict.call == StreamFaults::Verdict::Call::kBlocks) return {IoResult::State::kWouldBlock};
    if (verdict.call != StreamFaults::Verdict::Call::kGoes) return broken(verdict.call);
    const size_t count = std::min(verdict.byte_most, world_->draw_bytes(std::min(all, room)));
    Pipe::Piece piece;
    piece.arrives = arrival(verdict.delay);
    const size_t of_head = std::min(count, head.size());
    piece.bytes.assign(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(of_head));
    piece.bytes.insert(piece.bytes.end(), body.begin(), body.begin() + static_cast<std::ptrdiff_t>(count - of_head));
    writing_.change(bytes_written_, piece.bytes);
    bytes_written_ += count;
    note(Event::kBytesWritten, count);
    if (writing_.muted()) return {IoResult::State::kDone, count};
    out_.byte_count += count;
    out_.pieces.push_back(std::move(piece));
    return {IoResult::State::kDone, count};
  }

  void close() override {
    if (out_.writer_closed) return;
    in_.reader_closed = true;
    out_.writer_closed = true;
    out_.ends_in_reset = !in_.pieces.empty();
    out_.end_arrives = in_.refusal_arrives = arrival(Duration(0));
  }
  int handle() const override { return -1; }

 private:
  std::shared_ptr<Injector> faults() const {
    return end_.rank >= 0 && end_.peer >= 0 ? world_->options().injector : nullptr;
  }
  /// When what is sent now is there: after all that was sent before.
  TimePoint arrival(Duration delay) {
    const TimePoint at = world_->now() + world_->draw_latency() + delay;
    return out_.pieces.empty() ? at : std::max(at, out_.pieces.back().arrives);
  }
  IoResult broken(StreamFaults::Verdict::Call call) {
    if (call == StreamFaults::Verdict::Call::kKills) {
      world_->kill(end_.owner);
      world_->options().injector->kill(end_.rank);
    } else {
      connection_->reset();
    }
    return {IoResult::State::kFailed, 0, ECONNRESET};
  }
  void note(Event event, size_t byte_count) {
    world_->note(event, {static_cast<uint64_t>(end_.rank), static_cast<uint64_t>(end_.peer), byte_count});
  }

  std::shared_ptr<World> world_;
  std::shared_ptr<Connection> connection_;  // shared by both ends
  const End end_;
  Pipe& in_;
  Pipe& out_;
  StreamFaults reading_;
  StreamFaults writing_;
  uint64_t bytes_read_ = 0;
  uint64_t bytes_written_ = 0;
};

/// A dial that nobody answered.
class RefusedStream final : public Stream {
 public:
  IoResult read(std::span<std::byte>) override { return {IoResult::State::kFailed, 0, ECONNREFUSED}; }
  IoResult write(std::span<const std::byte>, std::span<const std::byte>) override {
    return {IoResult::State::kFailed, 0, ECONNREFUSED};
  }
  void close() override {}
  int handle() const override { return -1; }
};

class SimListener final : public Listener {
 public:
  SimListener(std::shared_ptr<World> world, std::shared_ptr<Port> port, Address address)
      : world_(std::move(world)), port_(std::move(port)), address_(std::move(address)) {}
  ~SimListener() override {
    const auto at = world_->ports.find(address_.text);
    if (at != world_->ports.end() && at->second == port_) world_->ports.erase(at);
  }
  SimListener(const SimListener&) = delete;
  SimListener& operator=(const SimListener&) = delete;

  std::unique_ptr<Stream> accept() override {
    if (port_->waiting.empty()) return nullptr;
    auto stream = std::move(port_->waiting.front());
    port_->waiting.pop_front();
    return stream;
  }
  Address address() const override { return address_; }
  int handle() const override { return -1; }

 private:
  std::shared_ptr<World> world_;
  std::shared_ptr<Port> port_;  // shared with the world's table
  Address address_;
};

class SimEnv final : public Env {
 public:
  SimEnv(std::shared_ptr<World> world, std::string name, int rank)
      : world_(std::move(world)), name_(std::move(name)), rank_(rank) {}

  TimePoint now() override { return world_->now(); }
  void random(std::span<std::byte> into) override {
    for (std::byte& byte : into) byte = static_cast<std::byte>(world_->draw(256));
  }

  Result<std::unique_ptr<Listener>> listen(const Address& address) override {
    Address place = address;
    if (place.text.rfind("sim:", 0) != 0 || place.text == "sim:*") {
      return Status(Code::kInvalidArgument,
                    "\"" + address.text + "\" is not an address of a simulated world: sim:NAME");
    }
    if (place.text == "sim:0") place.text = "sim:port-" + std::to_string(++world_->ports_named);
    if (world_->ports.count(place.text) != 0) {
      return Status(Code::kIo, "listen on " + place.text + ": Address already in use");
    }
    auto port = std::make_shared<Port>();
    port->owner = name_;
    port->rank = rank_;
    world_->ports[place.text] = port;
    return std::unique_ptr<Listener>(std::make_unique<SimListener>(world_, std::move(port), std::move(place)));
  }

  Result<std::unique_ptr<Stream>> dial(const Address& address) override {
    const auto at = world_->ports.find(address.text);
    if (at == world_->ports.end() || refused(at->second->rank)) {
      return std::unique_ptr<Stream>(std::make_unique<RefusedStream>());
    }
    Port& port = *at->second;
    auto connection = std::make_shared<Connection>();
    connection->dialer = name_;
    connection->acceptor = port.owner;
    world_->connections.push_back(connection);
    const uint64_t nth = world_->count(world_->connected, {rank_, port.rank});
    port.waiting.push_back(std::make_unique<SimStream>(
        world_, connection,
        End{.owner = port.owner, .rank = port.rank, .peer = rank_, .side = End::Side::kAcceptor, .nth = nth}));
    return std::unique_ptr<Stream>(std::make_unique<SimStream>(
        world_, connection, End{.owner = name_, .rank = rank_, .peer = port.rank, .nth = nth}));
  }

  void idle(std::span<const WaitHandle>, Duration at_most) override { world_->advance(at_most); }

 private:
  bool refused(int peer) {
    if (rank_ < 0 || peer < 0 || world_->options().injector == nullptr) return false;
    const uint64_t attempt = world_->count(world_->dials, {rank_, peer});
    return world_->options().injector->strikes(FaultKind::kRefuse,
                                               {.rank = rank_, .peer = peer, .act = Act::kDial, .nth = attempt});
  }

  std::shared_ptr<World> world_;
  std::string name_;
  int rank_;
};

std::shared_ptr<Env> World::env(const std::string& name, int rank) {
  return std::make_shared<SimEnv>(shared_from_this(), name, rank);
}

void World::kill(const std::string& name) {
  std::erase_if(ports, [&](auto& entry) {
    if (entry.second->owner == name) entry.second->waiting.clear();
    return entry.second->owner == name;
  });
  for (const auto& weak : connections) {
    const auto connection = weak.lock();
    if (!connection || (connection->dialer != name && connection->acceptor != name)) continue;
    connection->reset();
  }
  std::erase_if(connections, [](const auto& weak) { return weak.expired(); });
}

}  // namespace

std::shared_ptr<SimWorld> SimWorld::make(SimOptions options) { return std::make_shared<World>(std::move(options)); }

}  // namespace rondo::comm
