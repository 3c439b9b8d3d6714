#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "comm/base/hex.h"
#include "comm/bootstrap/meeting.h"
#include "comm/bootstrap/mpi_meeting.h"
#include "comm/bootstrap/place.h"
#include "rondo/comm/bootstrap.h"
#include "rondo/comm/flight.h"

namespace rondo::comm {
namespace {

// Note [Meeting by peer credentials]: all ranks run on one host and no secret was given. The store is met on a Unix
// socket whose two ends prove their user id through the kernel; the handshake there runs with a key that anyone could
// compute, so it proves nothing more. Rank 0 draws the real secret and puts it into that store; every data link is
// proven by it.
constexpr const char* kSecretKey = "bootstrap/secret";

Secret well_known_key(const Address& store) {
  constexpr std::string_view kLabel = "rondo meets by peer credentials";
  Digest label{};
  std::copy_n(std::as_bytes(std::span(kLabel)).begin(), std::min(kLabel.size(), label.size()), label.begin());
  const std::string place = std::to_string(::geteuid()) + " " + store.text;
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(place))};
  return Secret(hmac_sha256(Secret(label), parts));
}

/// The secret that was given, or none.
Result<Secret> given_secret(const Bootstrap& bootstrap) {
  if (bootstrap.secret_descriptor >= 0) return Secret::read_descriptor(bootstrap.secret_descriptor);
  if (!bootstrap.secret_file.empty()) return Secret::read_file(bootstrap.secret_file);
  return Secret();
}

/// Rank 0's secret, through a store that only this user reaches.
Result<Secret> exchange_secret(const Bootstrap& bootstrap, Store& store, Env& env, Deadline deadline) {
  if (bootstrap.serve_store) {
    Secret drawn = Secret::draw(env);
    RONDO_TRY(store_set(store, env, kSecretKey, to_hex(drawn.bytes()), deadline));
    return drawn;
  }
  const auto got = store_get(store, env, {kSecretKey}, deadline);
  RONDO_TRY(got);
  Digest bytes{};
  if (!from_hex(got->front(), bytes))
    return Status(Code::kCorrupt, "rank 0 put no secret under the store's key 'bootstrap/secret'");
  return Secret(bytes);
}

struct Meeting {
  std::unique_ptr<StoreServer> server;
  std::shared_ptr<Store> store;
  Secret secret;
  JobId job;
  std::shared_ptr<Mpi> mpi;  // null unless links go by it
};

Result<Meeting> meet(const Bootstrap& bootstrap, const std::shared_ptr<Env>& env, const LogSink& log,
                     Deadline deadline) {
  Meeting meeting;
  auto secret = given_secret(bootstrap);
  RONDO_TRY(secret);
  meeting.secret = *secret;
  meeting.job = bootstrap.job;
  if (bootstrap.meets_by_mpi) {
    auto met = meet_by_mpi(bootstrap, env, *secret, log, deadline);
    RONDO_TRY(met);
    return Meeting{.server = std::move(met->server),
                   .store = std::move(met->store),
                   .secret = met->secret,
                   .job = met->job,
                   .mpi = std::move(met->mpi)};
  }
  if (!bootstrap.store) {
    meeting.store = in_process_store();
    if (meeting.secret.empty()) meeting.secret = Secret::draw(*env);
    return meeting;
  }
  const auto place = resolve(*bootstrap.store);
  RONDO_TRY(place);
  const Secret store_key = bootstrap.peer_credentials ? well_known_key(*bootstrap.store) : meeting.secret;
  if (bootstrap.serve_store) {
    StoreServerOptions options;
    options.listen = *place;
    options.job = bootstrap.job;
    options.secret = store_key;
    options.same_user_only = bootstrap.peer_credentials;
    if (log)
      options.on_refused = [log](const Status& why) {
        log(LogLevel::kWarning, "the store refused a connection: " + why.text());
      };
    auto server = serve_store(env, std::move(options));
    if (!server.ok())
      return Status(server.status().code(), server.status().message() +
                                                "; is another job of this user running with the same "
                                                "MASTER_ADDR and MASTER_PORT, or --endpoint?");
    meeting.server = *std::move(server);
  }
  StoreClientOptions options;
  options.server = meeting.server ? meeting.server->address() : *place;
  options.job = bootstrap.job;
  options.secret = store_key;
  options.rank = bootstrap.at.rank;
  options.server_rank = bootstrap.source == Source::kAgent ? -1 : 0;
  options.same_user_only = bootstrap.peer_credentials;
  auto store = connect_store(env, options, deadline);
  RONDO_TRY(store);
  meeting.store = *std::move(store);
  if (bootstrap.peer_credentials) {
    auto exchanged = exchange_secret(bootstrap, *meeting.store, *env, deadline);
    RONDO_TRY(exchanged);
    meeting.secret = *exchanged;
  }
  return meeting;
}

/// A job runs without a recorder, too: what is in its way is only said.
std::shared_ptr<FlightRecorder> open_flight(const Bootstrap& bootstrap, const JobId& job, const LogSink& log) {
  // Stacks are written where somebody can read them afterwards; else the signals keep their meaning.
  const bool outlives = bootstrap.flight_descriptor >= 0 || !bootstrap.run_directory.empty();
  auto recorder = open_flight_recorder({.at = bootstrap.at,
                                        .generation = bootstrap.generation,
                                        .job = job,
                                        .descriptor = bootstrap.flight_descriptor,
                                        .run_directory = bootstrap.run_directory,
                                        .stacks = outlives ? FlightOptions::Stacks::kOn : FlightOptions::Stacks::kOff});
  if (recorder.ok()) return *std::move(recorder);
  if (log) log(LogLevel::kWarning, "no flight recorder: " + recorder.status().text());
  return nullptr;
}

}  // namespace

Result<Joined> join(const Bootstrap& bootstrap, LogSink log, Deadline deadline) {
  const Where where{.rank = bootstrap.at.rank, .operation = "joining the job"};
  if (bootstrap.pmi_descriptor >= 0) {
    const auto placed = meet_by_launcher(bootstrap);
    if (!placed.ok()) return placed.status().at(where);
    return join(*placed, std::move(log), deadline);
  }
  if (log && !bootstrap.warning.empty()) log(LogLevel::kWarning, bootstrap.warning);
  const auto env = real_env();
  // Processes that this one starts must not hold the agent's connections open.
  for (const int descriptor :
       {bootstrap.control_descriptor, bootstrap.messages_descriptor, bootstrap.flight_descriptor})
    if (descriptor >= 0) (void)::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  auto meeting = meet(bootstrap, env, log, deadline);
  if (!meeting.ok()) return meeting.status().at(where);
  auto listen = data_addresses(bootstrap, *env);
  if (!listen.ok()) return listen.status().at(where);
  EndpointOptions options;
  options.at = bootstrap.at;
  options.local_rank = bootstrap.local_rank;
  options.job = meeting->job == JobId{} ? JobId::draw(*env) : meeting->job;
  options.mpi = meeting->mpi;
  options.secret = meeting->secret;
  options.generation = bootstrap.generation;
  options.env = env;
  options.store = meeting->store;
  options.transport = bootstrap.transport;
  options.probe = bootstrap.probe;
  options.data_thread = bootstrap.data_thread;
  options.listen = *std::move(listen);
  if (!bootstrap.on_one_host() || !bootstrap.host_id.empty()) options.host = host_text(bootstrap.host_id);
  options.control_descriptor = bootstrap.control_descriptor;
  options.flight = open_flight(bootstrap, options.job, log);
  options.log = std::move(log);
  auto endpoint = Endpoint::create(std::move(options));
  if (!endpoint.ok()) return endpoint.status().at(where);
  return Joined{.server = std::move(meeting->server), .endpoint = *std::move(endpoint)};
}

}  // namespace rondo::comm
