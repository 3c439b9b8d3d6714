#include "comm/bench/rondo_contender.h"

#include <array>
#include <cstring>
#include <utility>

#include "comm/group/endpoint_state.h"

namespace rondo::bench {
namespace {

using comm::Result;
using comm::Status;

constexpr double kJoinSeconds = 60;

/// Groups that are broken on purpose make their links complain: of those only errors are shown.
comm::LogSink log_sink(const Request& request) {
  const auto least = request.operation == "mismatch" ? comm::LogLevel::kError : comm::LogLevel::kWarning;
  return [least](comm::LogLevel level, std::string_view line) {
    if (level < least) return;
    std::fprintf(stderr, "rondo bench: %.*s\n", static_cast<int>(line.size()), line.data());
  };
}

}  // namespace

Result<comm::Bootstrap> find_place(const Request& request) {
  comm::BootstrapFlags flags = request.place;
  if (!request.transport.empty()) flags.transport = request.transport;
  return comm::read_bootstrap(flags, comm::process_environment());
}

Result<comm::Joined> join_job(const comm::Bootstrap& place, const Request& request, const WrapStore& wrap_store) {
  auto joined = comm::join(place, log_sink(request), comm::in_seconds(kJoinSeconds));
  RONDO_TRY(joined);
  if (!wrap_store) return joined;
  comm::EndpointOptions options = joined->endpoint.state()->options();
  options.store = wrap_store(options.store);
  auto endpoint = comm::Endpoint::create(std::move(options));
  RONDO_TRY(endpoint);
  joined->endpoint = *std::move(endpoint);
  return joined;
}

Result<std::unique_ptr<RondoContender>> RondoContender::create(const comm::Endpoint& endpoint, const Options& options) {
  comm::GroupOptions group_options;
  group_options.name = "bench";
  group_options.algorithm = options.algorithm;
  auto group = comm::Group::create(endpoint, group_options, comm::in_seconds(kJoinSeconds));
  RONDO_TRY(group);
  return std::unique_ptr<RondoContender>(new RondoContender(endpoint, *std::move(group), options.memory));
}

comm::Position RondoContender::at() const { return {.rank = group_.rank(), .world_size = group_.world_size()}; }

Label RondoContender::label() const {
  // "ring over tcp, order by chunk": the algorithm stands first.
  const std::string description = group_.description();
  return {.contender = "rondo",
          .algorithm = description.substr(0, description.find(" over ")),
          .transport = std::string(name(endpoint_.state()->options().transport)),
          .memory = kind_};
}

Result<Ticket> RondoContender::share(const Ticket& ticket) {
  Ticket shared = ticket;
  std::array<uint8_t, sizeof shared> bytes;
  std::memcpy(bytes.data(), &shared, sizeof shared);
  RONDO_TRY(broadcast(group_, comm::view(bytes), {.rank = 0}, {.tag = "ticket", .weight = 1}).wait());
  std::memcpy(&shared, bytes.data(), sizeof shared);
  return shared;
}

Result<std::span<std::byte>> RondoContender::memory(size_t byte_count) {
  if (byte_count == 0) return std::span<std::byte>();
  if (kind_ == Label::Memory::kOrdinary) {
    auto memory = OrdinaryMemory::allocate(byte_count);
    RONDO_TRY(memory);
    ordinary_ = *std::move(memory);
    return ordinary_.bytes();
  }
  auto region = group_.allocate(byte_count, "bench");
  RONDO_TRY(region);
  region_ = *std::move(region);
  return region_.bytes().first(byte_count);
}

Status RondoContender::prepare(const Collective&, const Call&) { return {}; }

Status RondoContender::run(const Collective& collective, const Call& call) {
  return collective.launch(group_, call).wait();
}

}  // namespace rondo::bench
