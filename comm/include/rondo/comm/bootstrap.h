/// Who am I? Rank, size and meeting point from flags, from our own agent, from the variables of torchrun, Slurm, Open
/// MPI, MPICH or Horovod, or single.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "rondo/comm/endpoint.h"
#include "rondo/comm/group.h"
#include "rondo/comm/secret.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// First match wins, and is printed. kTorchrun: RANK and WORLD_SIZE, whoever set them; kSlurm: a step of srun; kPmi:
/// the mpiexec of MPICH, Intel MPI and MVAPICH. An mpirun or mpiexec in a Slurm job comes before the step that it runs
/// in.
enum class Source : uint8_t { kFlags, kAgent, kTorchrun, kSlurm, kOpenMpi, kPmi, kHorovod, kSingle };
std::string_view name(Source source);

/// Explicit flags of a program, if it has them: --rank --world-size --local-rank --local-world-size --endpoint
/// --transport --interface.
struct BootstrapFlags {
  std::optional<int> rank, world_size, local_rank, local_world_size;
  std::optional<std::string> endpoint;     // the store's Address
  std::optional<std::string> secret_file;  // also RONDO_SECRET_FILE
  std::optional<std::string> transport;    // "auto", "shm", "tcp", "mpi", "shm+mpi"; also RONDO_TRANSPORT
  std::optional<std::string> interface;    // names, separated by commas; also RONDO_INTERFACE
};

/// What the environment said, checked: a pure function of flags and variables. Nothing is opened yet.
struct Bootstrap {
  Source source = Source::kSingle;
  Position at;
  int local_rank = 0;
  int local_world_size = 1;
  std::optional<Address> store;  // empty: single, pmi_descriptor is set, or MPI brings it
  bool serve_store = false;      // rank 0 without an agent serves it
  JobId job;
  uint32_t generation = 0;  // restarts: TORCHELASTIC_RESTART_COUNT, RONDO_GENERATION
  int secret_descriptor = -1, control_descriptor = -1, messages_descriptor = -1, flight_descriptor = -1;
  std::string secret_file;
  bool peer_credentials = false;  // all ranks on one host and no secret given: Unix sockets with SO_PEERCRED
  std::string interface;          // where data links are accepted if ranks are on several hosts; empty: everywhere
  std::string host_id;            // RONDO_HOST_ID: splits one machine into several hosts; never joins machines
  TransportKind transport = TransportKind::kShm;
  bool meets_by_mpi = false;  // MPI brings what is not known here: the secret, the store's address, the job's id
  bool links_by_mpi = false;  // messages go by MPI: all if transport is kMpi, else those between hosts
  std::string mpi_library;    // RONDO_MPI_LIBRARY; empty: it is looked for
  EndpointOptions::Probe probe = EndpointOptions::Probe::kAuto;                  // RONDO_PROBE
  EndpointOptions::DataThread data_thread = EndpointOptions::DataThread::kAuto;  // RONDO_DATA_THREAD
  int pmi_descriptor = -1;    // PMI_FD, where only its maker tells MPICH's jobs apart; stays MPI's
  std::string warning;        // what the user should hear; may be empty
  std::string run_directory;  // RONDO_RUN_DIR, may be empty; without flight_descriptor flight/ in it is written

  /// All ranks share this machine's loopback.
  bool on_one_host() const { return local_world_size == at.world_size; }
  /// "rank 1 of 2 (local rank 1 of 2), started by rondo run".
  std::string describe() const;
};
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
/// Errors name the variable, its value and what was expected; two launchers that disagree are an error that names both.
Result<Bootstrap> read_bootstrap(const BootstrapFlags& flags, const Environment& environment);
/// Reads this process's environment.
Environment process_environment();

/// Opens what `bootstrap` names: the secret, the store (serving it when told), the endpoint; logs its warning. The
/// store served by this process lives as long as the Joined.
struct Joined {
  std::unique_ptr<StoreServer> server;
  Endpoint endpoint;
};
Result<Joined> join(const Bootstrap& bootstrap, LogSink log, Deadline deadline);

}  // namespace rondo::comm
