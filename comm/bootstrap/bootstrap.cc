#include "rondo/comm/bootstrap.h"

#include <cstdlib>
#include <limits>
#include <string_view>

#include "comm/bootstrap/launchers.h"
#include "comm/bootstrap/meeting.h"
#include "comm/bootstrap/variables.h"

namespace rondo::comm {
namespace {

constexpr int64_t kMostDescriptor = 1 << 20;
constexpr Range kRestarts{0, std::numeric_limits<uint32_t>::max()};

Status wrong(Code code, std::string message) { return {code, std::move(message), {.operation = "bootstrap"}}; }

Status check_flag(const char* flag, std::optional<int> value, Range range) {
  if (!value || (*value >= range.least && *value <= range.most)) return {};
  return wrong(Code::kInvalidArgument, std::string(flag) + " is " + std::to_string(*value) + "; expected " +
                                           std::to_string(range.least) + " to " + std::to_string(range.most));
}

/// A flag, else the variable, else an error.
Result<int> flag_or_variable(std::optional<int> flag, const char* flag_name, const Environment& environment,
                             const char* variable, Range range, const std::string& because) {
  if (flag) {
    RONDO_TRY(check_flag(flag_name, flag, range));
    return *flag;
  }
  const auto number = need_number(environment, variable, range, because + " (or give " + flag_name + ")");
  RONDO_TRY(number);
  return static_cast<int>(*number);
}

/// Rank, size, local rank and local size. Without local ones all ranks are taken to be on this host.
Status read_position(const BootstrapFlags& flags, const Environment& environment, const std::string& because,
                     Bootstrap& result) {
  const auto world =
      flag_or_variable(flags.world_size, "--world-size", environment, "WORLD_SIZE", {1, kMostRanks}, because);
  RONDO_TRY(world);
  const auto rank = flag_or_variable(flags.rank, "--rank", environment, "RANK", {0, *world - 1}, because);
  RONDO_TRY(rank);
  result.at = {.rank = *rank, .world_size = *world};

  std::optional<int> local_world = flags.local_world_size, local_rank = flags.local_rank;
  if (!local_world) {
    const auto number = read_number(environment, "LOCAL_WORLD_SIZE", {1, *world});
    RONDO_TRY(number);
    if (*number) local_world = static_cast<int>(**number);
  }
  RONDO_TRY(check_flag("--local-world-size", local_world, {1, *world}));
  result.local_world_size = local_world.value_or(*world);
  const Range local_range{0, result.local_world_size - 1};
  if (!local_rank) {
    const auto number = read_number(environment, "LOCAL_RANK", local_range);
    RONDO_TRY(number);
    if (*number) local_rank = static_cast<int>(**number);
  }
  RONDO_TRY(check_flag("--local-rank", local_rank, local_range));
  if (!local_rank && result.local_world_size != *world)
    return wrong(Code::kInvalidArgument, "LOCAL_RANK is not set; with " + std::to_string(result.local_world_size) +
                                             " of " + std::to_string(*world) +
                                             " ranks on this host it cannot be told from RANK");
  result.local_rank = local_rank.value_or(*rank);
  return {};
}

Status check_endpoint(const std::string& name, const std::string& text) {
  if (text.starts_with("tcp:") || text.starts_with("unix:@") || text.starts_with("sim:")) return {};
  return bad_variable(name, text, "an address such as tcp:127.0.0.1:4711 or unix:@name");
}

Status read_flags(const BootstrapFlags& flags, const Environment& environment, Bootstrap& result) {
  result.source = Source::kFlags;
  RONDO_TRY(read_position(flags, environment, "--rank, --world-size and --endpoint place a rank together", result));
  if (result.at.world_size == 1 && !flags.endpoint) return {};
  if (!flags.endpoint)
    return wrong(Code::kInvalidArgument, "--endpoint is missing: rank " + std::to_string(result.at.rank) + " of " +
                                             std::to_string(result.at.world_size) +
                                             " needs the address where rank 0 is met, e.g. --endpoint unix:@my-job");
  RONDO_TRY(check_endpoint("--endpoint", *flags.endpoint));
  RONDO_TRY(need_secret_across_hosts(result));
  if (!result.on_one_host() && !flags.endpoint->starts_with("tcp:"))
    return wrong(Code::kInvalidArgument, "--endpoint " + *flags.endpoint +
                                             " cannot be reached from other hosts: name an address of rank 0's host, "
                                             "such as tcp:10.0.0.1:4711");
  result.store = Address{*flags.endpoint};
  result.serve_store = result.at.rank == 0;
  result.job = job_of("flags " + *flags.endpoint);
  result.peer_credentials = result.secret_file.empty();
  if (result.peer_credentials && !flags.endpoint->starts_with("unix:@"))
    return wrong(Code::kUnauthenticated,
                 "--endpoint " + *flags.endpoint +
                     " is no Unix socket, so the ranks need a secret to know each other "
                     "by: name a file with 64 hexadecimal digits in --secret-file or RONDO_SECRET_FILE, or meet at "
                     "--endpoint unix:@some-name");
  return {};
}

Result<int> read_descriptor_number(const Environment& environment, const std::string& name) {
  const auto number = read_number(environment, name, {0, kMostDescriptor});
  RONDO_TRY(number);
  return number->has_value() ? static_cast<int>(**number) : -1;
}

Status read_agent(const Environment& environment, Bootstrap& result) {
  result.source = Source::kAgent;
  RONDO_TRY(read_position({}, environment, "RONDO_STORE says that an agent started this process", result));
  const std::string store = read_text(environment, "RONDO_STORE");
  RONDO_TRY(check_endpoint("RONDO_STORE", store));
  result.store = Address{store};
  const std::string job = read_text(environment, "RONDO_JOB");
  const auto id = JobId::parse(job);
  if (!id.ok()) return bad_variable("RONDO_JOB", job, "32 hexadecimal digits from the agent");
  result.job = *id;
  const auto generation = read_number(environment, "RONDO_GENERATION", kRestarts);
  RONDO_TRY(generation);
  result.generation = static_cast<uint32_t>(generation->value_or(0));
  const auto secret = read_descriptor_number(environment, "RONDO_SECRET_FD");
  RONDO_TRY(secret);
  result.secret_descriptor = *secret;
  const auto control = read_descriptor_number(environment, "RONDO_CONTROL_FD");
  RONDO_TRY(control);
  result.control_descriptor = *control;
  const auto messages = read_descriptor_number(environment, "RONDO_MESSAGES_FD");
  RONDO_TRY(messages);
  result.messages_descriptor = *messages;
  const auto flight = read_descriptor_number(environment, "RONDO_FLIGHT_FD");
  RONDO_TRY(flight);
  result.flight_descriptor = *flight;
  if (result.secret_descriptor < 0 && result.secret_file.empty())
    return wrong(Code::kUnauthenticated,
                 "RONDO_STORE is set, but neither RONDO_SECRET_FD nor RONDO_SECRET_FILE: the "
                 "store asks for the job's secret. Start the program by `rondo run`");
  return {};
}

Status read_torchrun(const Environment& environment, Bootstrap& result) {
  result.source = Source::kTorchrun;
  RONDO_TRY(read_position({}, environment, "RANK and WORLD_SIZE place a rank together", result));
  const auto restarts = read_number(environment, "TORCHELASTIC_RESTART_COUNT", kRestarts);
  RONDO_TRY(restarts);
  result.generation = static_cast<uint32_t>(restarts->value_or(0));
  const auto port = read_number(environment, "MASTER_PORT", {1, 65535});
  RONDO_TRY(port);
  RONDO_TRY(need_secret_across_hosts(result));
  if (result.at.world_size == 1) return {};
  const std::string address = read_text(environment, "MASTER_ADDR");
  if (address.empty() || !port->has_value())
    return wrong(Code::kInvalidArgument, std::string(address.empty() ? "MASTER_ADDR" : "MASTER_PORT") +
                                             " is not set; rank " + std::to_string(result.at.rank) + " of " +
                                             std::to_string(result.at.world_size) +
                                             " needs it to find the others: all ranks get the same, e.g. "
                                             "MASTER_ADDR=127.0.0.1 MASTER_PORT=29500");
  const std::string place = address + "-" + std::to_string(**port);
  result.job = job_of("torchrun " + read_text(environment, "TORCHELASTIC_RUN_ID") + " " + place + " " +
                      std::to_string(result.generation));
  if (result.on_one_host()) {
    meet_on_this_host(place, result);
    return {};
  }
  const auto beside = port_beside(**port);
  RONDO_TRY(beside);
  meet_across_hosts(address, *beside, result);
  return {};
}

/// RANK and WORLD_SIZE, which must not contradict another launcher. torchrun's own may: it gives each rank another
/// place than the srun or mpirun that started torchrun itself.
Status read_ranks(const Environment& environment, Bootstrap& result) {
  RONDO_TRY(read_torchrun(environment, result));
  if (!read_text(environment, "TORCHELASTIC_RUN_ID").empty()) return {};
  const auto others = read_placements(environment);
  if (!others.ok() && others.status().code() == Code::kUnsupported) return {};  // PMIX_RANK alone
  RONDO_TRY(others);
  const Placement chosen{
      .source = Source::kTorchrun, .at = result.at, .rank_variable = "RANK", .size_variable = "WORLD_SIZE"};
  return check_agreement(chosen, *others);
}

/// The variables of other launchers, or none: alone.
Status read_launchers(const Environment& environment, Bootstrap& result) {
  const auto placements = read_placements(environment);
  RONDO_TRY(placements);
  if (placements->empty()) {
    result.warning = outside_of_srun(environment);
    return {};
  }
  RONDO_TRY(check_agreement(placements->front(), *placements));
  return follow(placements->front(), environment, result);
}

}  // namespace

std::string_view name(Source source) {
  switch (source) {
    case Source::kFlags:
      return "flags";
    case Source::kAgent:
      return "agent";
    case Source::kTorchrun:
      return "torchrun";
    case Source::kSlurm:
      return "slurm";
    case Source::kOpenMpi:
      return "openmpi";
    case Source::kPmi:
      return "pmi";
    case Source::kHorovod:
      return "horovod";
    case Source::kSingle:
      return "single";
  }
  return "unknown source";
}

std::string Bootstrap::describe() const {
  std::string text = "rank " + std::to_string(at.rank) + " of " + std::to_string(at.world_size) + " (local rank " +
                     std::to_string(local_rank) + " of " + std::to_string(local_world_size) + "), ";
  switch (source) {
    case Source::kFlags:
      return text + "placed by flags";
    case Source::kAgent:
      return text + "started by rondo run";
    case Source::kTorchrun:
      return text + "placed by torchrun's variables";
    case Source::kSlurm:
      return text + "started by Slurm's srun";
    case Source::kOpenMpi:
      return text + "started by Open MPI's mpirun" + (meets_by_mpi ? ", met by MPI" : "");
    case Source::kPmi:
      return text + "started by an mpiexec that speaks PMI (MPICH and its kin)" + (meets_by_mpi ? ", met by MPI" : "");
    case Source::kHorovod:
      return text + "placed by Horovod's variables";
    case Source::kSingle:
      return text + "started alone";
  }
  return text;
}

std::string transport_wish(const BootstrapFlags& flags, const Environment& environment) {
  return flags.transport.value_or(read_text(environment, "RONDO_TRANSPORT"));
}

/// Without a wish: memory where ranks share it, tcp between the others.
Result<TransportKind> read_transport(const BootstrapFlags& flags, const Environment& environment,
                                     const Bootstrap& place) {
  const bool by_flag = flags.transport.has_value();
  const std::string wish = transport_wish(flags, environment);
  if (wish.empty() || wish == "auto") return TransportKind::kShm;
  if (wish == "tcp") return TransportKind::kTcp;
  if (place.links_by_mpi) {
    if (place.at.world_size > 1 && !place.meets_by_mpi)
      return Status(Code::kUnsupported, "transport " + wish + " needs ranks that an MPI's launcher started, and " +
                                            place.describe() + ": start the program by mpirun or mpiexec");
    return wish == "mpi" && place.at.world_size > 1 ? TransportKind::kMpi : TransportKind::kShm;
  }
  if (wish != "shm")
    return bad_variable(by_flag ? "--transport" : "RONDO_TRANSPORT", wish, "auto, shm, tcp, mpi or shm+mpi");
  if (place.on_one_host()) return TransportKind::kShm;
  return Status(Code::kUnsupported, "transport shm needs all ranks on one host, and only " +
                                        std::to_string(place.local_world_size) + " of " +
                                        std::to_string(place.at.world_size) + " are on this one: use auto or tcp");
}

/// Probe or DataThread.
template <class Wish>
Result<Wish> read_wish(const Environment& environment, const std::string& variable) {
  const std::string wish = read_text(environment, variable);
  if (wish.empty() || wish == "auto") return Wish::kAuto;
  if (wish == "off") return Wish::kOff;
  if (wish == "always") return Wish::kAlways;
  return bad_variable(variable, wish, "auto, off or always");
}

Result<Bootstrap> read_bootstrap(const BootstrapFlags& flags, const Environment& environment) {
  Bootstrap result;
  result.secret_file = flags.secret_file.value_or(read_text(environment, "RONDO_SECRET_FILE"));
  result.run_directory = read_text(environment, "RONDO_RUN_DIR");
  result.interface = flags.interface.value_or(read_text(environment, "RONDO_INTERFACE"));
  result.host_id = read_text(environment, "RONDO_HOST_ID");
  result.mpi_library = read_text(environment, "RONDO_MPI_LIBRARY");
  const std::string wish = transport_wish(flags, environment);
  result.links_by_mpi = wish == "mpi" || wish == "shm+mpi";
  const auto set = [&](const char* variable) { return !read_text(environment, variable).empty(); };
  Status status;
  if (flags.rank || flags.world_size || flags.local_rank || flags.local_world_size || flags.endpoint) {
    status = read_flags(flags, environment, result);
  } else if (set("RONDO_STORE")) {
    status = read_agent(environment, result);
  } else if (set("RANK") || set("WORLD_SIZE") || set("LOCAL_RANK") || set("LOCAL_WORLD_SIZE")) {
    status = read_ranks(environment, result);
  } else {
    status = read_launchers(environment, result);
  }
  RONDO_TRY(status);
  auto transport = read_transport(flags, environment, result);
  RONDO_TRY(transport);
  result.transport = *transport;
  const auto probe = read_wish<EndpointOptions::Probe>(environment, "RONDO_PROBE");
  RONDO_TRY(probe);
  result.probe = *probe;
  const auto data_thread = read_wish<EndpointOptions::DataThread>(environment, "RONDO_DATA_THREAD");
  RONDO_TRY(data_thread);
  result.data_thread = *data_thread;
  return result;
}

Environment process_environment() {
  return [](const std::string& variable) -> std::optional<std::string> {
    const char* value = std::getenv(variable.c_str());  // NOLINT(concurrency-mt-unsafe): nobody sets variables
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  };
}

}  // namespace rondo::comm
