#include "comm/bootstrap/launchers.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

#include "comm/base/hex.h"
#include "comm/bootstrap/meeting.h"
#include "comm/bootstrap/slurm.h"
#include "comm/bootstrap/variables.h"

namespace rondo::comm {
namespace {

constexpr Range kWorld{1, kMostRanks};
constexpr Range kAnyNumber{0, std::numeric_limits<uint32_t>::max()};
constexpr Range kAnyDescriptor{0, 1 << 20};

Status wrong(Code code, std::string message) { return {code, std::move(message), {.operation = "bootstrap"}}; }

bool is_set(const Environment& environment, const char* variable) { return !read_text(environment, variable).empty(); }

/// The first of two variables that is set, or the second.
const char* first_set(const Environment& environment, const char* first, const char* second) {
  return is_set(environment, first) ? first : second;
}

/// Four variables that mean the same under every launcher.
struct Names {
  Source source;
  const char *rank, *size, *local_rank, *local_size;
};
constexpr Names kOpenMpi{Source::kOpenMpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
                         "OMPI_COMM_WORLD_LOCAL_SIZE"};
constexpr Names kHydra{Source::kPmi, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};
constexpr Names kMvapich{Source::kPmi, "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK",
                         "MV2_COMM_WORLD_LOCAL_SIZE"};
constexpr Names kHorovod{Source::kHorovod, "HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE"};

/// Without the local ones all ranks are taken to be on this host, as with torchrun's variables.
Result<Placement> read_names(const Names& names, const Environment& environment) {
  Placement result{.source = names.source, .rank_variable = names.rank, .size_variable = names.size};
  const auto world = need_number(environment, names.size, kWorld, std::string(names.rank) + " is set");
  RONDO_TRY(world);
  const auto rank = need_number(environment, names.rank, {0, *world - 1}, std::string(names.size) + " is set");
  RONDO_TRY(rank);
  result.at = {.rank = static_cast<int>(*rank), .world_size = static_cast<int>(*world)};
  const auto local_world = read_number(environment, names.local_size, {1, *world});
  RONDO_TRY(local_world);
  result.local_world_size = static_cast<int>(local_world->value_or(*world));
  const auto local_rank = read_number(environment, names.local_rank, {0, result.local_world_size - 1});
  RONDO_TRY(local_rank);
  if (!local_rank->has_value() && result.local_world_size != *world)
    return wrong(Code::kInvalidArgument, std::string(names.local_rank) + " is not set; with " +
                                             std::to_string(result.local_world_size) + " of " + std::to_string(*world) +
                                             " ranks on this host it cannot be told from " + names.rank);
  result.local_rank = static_cast<int>(local_rank->value_or(*rank));
  return result;
}

/// A namespace may return after some 65000 jobs; the address of the daemon on this host tells such two apart.
Result<Placement> read_open_mpi(const Environment& environment) {
  auto result = read_names(kOpenMpi, environment);
  RONDO_TRY(result);
  const std::string space = read_text(environment, "PMIX_NAMESPACE");
  if (space.empty()) return result;
  const std::string daemon = read_text(environment, first_set(environment, "PMIX_SERVER_URI2", "PMIX_SERVER_URI4"));
  result->job = "openmpi-" + to_hex(job_of(space + " " + daemon).bytes);
  return result;
}

Result<Placement> read_pmi(const Names& names, const Environment& environment) {
  auto result = read_names(names, environment);
  RONDO_TRY(result);
  if (const std::string job = read_text(environment, "PMI_JOBID"); !job.empty()) result->job = "pmi-" + job;
  const auto descriptor = read_number(environment, "PMI_FD", kAnyDescriptor);
  RONDO_TRY(descriptor);
  result->pmi_descriptor = static_cast<int>(descriptor->value_or(-1));
  return result;
}

/// The rendezvous server of horovodrun has the address; rank 0 is on its host unless the user turned the hosts around.
Result<Placement> read_horovod(const Environment& environment) {
  auto result = read_names(kHorovod, environment);
  RONDO_TRY(result);
  const auto port = read_number(environment, "HOROVOD_GLOO_RENDEZVOUS_PORT", {1, 65534});
  RONDO_TRY(port);
  result->address = read_text(environment, "HOROVOD_GLOO_RENDEZVOUS_ADDR");
  if (result->address.empty() || !port->has_value()) {
    result->address.clear();
    return result;
  }
  result->port = **port + 1;
  result->job = "horovod-" + result->address + "-" + std::to_string(**port);
  return result;
}

/// The number of a step of srun. Batch scripts and interactive shells are steps, too, with numbers near 2^32.
Result<std::optional<int64_t>> slurm_step(const Environment& environment) {
  constexpr int64_t kFirstSpecial = 0xfffffff0;
  const char* const variable = first_set(environment, "SLURM_STEP_ID", "SLURM_STEPID");
  const auto step = read_number(environment, variable, kAnyNumber);
  RONDO_TRY(step);
  if (!step->has_value() || **step >= kFirstSpecial || !is_set(environment, "SLURM_PROCID"))
    return std::optional<int64_t>();
  return *step;
}

/// The last of these variables may describe the job where the one before describes the step.
const char* slurm_task_count(const Environment& environment) {
  return first_set(environment, "SLURM_STEP_NUM_TASKS", first_set(environment, "SLURM_NTASKS", "SLURM_NPROCS"));
}

Status read_slurm_hosts(const Environment& environment, Placement& result) {
  const char* const variable = first_set(environment, "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE");
  const std::string counts = read_text(environment, variable);
  const auto tasks = slurm_tasks_per_node(counts);
  if (!tasks.ok()) return bad_variable(variable, counts, "counts such as 2(x3),1");
  const auto node = need_number(environment, "SLURM_NODEID", {0, static_cast<int64_t>(tasks->size()) - 1},
                                "it finds this host's entry in " + std::string(variable) + " '" + counts + "'");
  RONDO_TRY(node);
  if (std::accumulate(tasks->begin(), tasks->end(), int64_t{0}) != result.at.world_size)
    return bad_variable(variable, counts,
                        "counts that add up to " + result.size_variable + ", " + std::to_string(result.at.world_size));
  result.local_world_size = (*tasks)[static_cast<size_t>(*node)];
  const auto local_rank =
      need_number(environment, "SLURM_LOCALID", {0, result.local_world_size - 1}, "SLURM_PROCID is set");
  RONDO_TRY(local_rank);
  result.local_rank = static_cast<int>(*local_rank);
  return {};
}

Result<Placement> read_slurm(const Environment& environment, int64_t step) {
  constexpr int64_t kFirstPort = 15'000, kPorts = 15'000;  // below those that the kernel gives out
  Placement result{.source = Source::kSlurm, .rank_variable = "SLURM_PROCID"};
  result.size_variable = slurm_task_count(environment);
  const auto world = need_number(environment, result.size_variable, kWorld, "SLURM_PROCID is set");
  RONDO_TRY(world);
  const auto rank = need_number(environment, "SLURM_PROCID", {0, *world - 1}, result.size_variable + " is set");
  RONDO_TRY(rank);
  result.at = {.rank = static_cast<int>(*rank), .world_size = static_cast<int>(*world)};
  RONDO_TRY(read_slurm_hosts(environment, result));
  const auto job = need_number(environment, first_set(environment, "SLURM_JOB_ID", "SLURM_JOBID"), kAnyNumber,
                               "SLURM_PROCID is set");
  RONDO_TRY(job);
  const auto restarts = read_number(environment, "SLURM_RESTART_COUNT", kAnyNumber);
  RONDO_TRY(restarts);
  result.restarts = static_cast<uint32_t>(restarts->value_or(0));
  result.job = "slurm-" + std::to_string(*job) + "." + std::to_string(step);
  const char* const variable = first_set(environment, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST");
  const auto hosts = slurm_hosts(read_text(environment, variable));
  if (!hosts.ok()) return bad_variable(variable, read_text(environment, variable), "hosts such as gpu[01-03,7],cpu2");
  result.address = hosts->front();
  result.port = kFirstPort + (*job + 97 * step) % kPorts;
  return result;
}

}  // namespace

std::string Placement::describe() const {
  return rank_variable + " is " + std::to_string(at.rank) + " of " + size_variable + " " +
         std::to_string(at.world_size);
}

Result<std::vector<Placement>> read_placements(const Environment& environment) {
  std::vector<Placement> found;
  const auto add = [&](Result<Placement> placement) -> Status {
    RONDO_TRY(placement);
    found.push_back(*std::move(placement));
    return {};
  };
  // Both start their daemons by srun where there is one, so Slurm's variables may be those of a daemon. (srun itself
  // sets PMI_RANK, too, but no MPI_LOCALRANKID.)
  const bool open_mpi = is_set(environment, kOpenMpi.rank);
  const bool hydra = is_set(environment, kHydra.rank) && is_set(environment, kHydra.local_rank);
  if (open_mpi) RONDO_TRY(add(read_open_mpi(environment)));
  if (hydra) RONDO_TRY(add(read_pmi(kHydra, environment)));
  const auto step = slurm_step(environment);
  RONDO_TRY(step);
  if (step->has_value() && !open_mpi && !hydra) RONDO_TRY(add(read_slurm(environment, **step)));
  if (is_set(environment, kHydra.rank) && !hydra) RONDO_TRY(add(read_pmi(kHydra, environment)));
  if (is_set(environment, kMvapich.rank)) RONDO_TRY(add(read_pmi(kMvapich, environment)));
  if (is_set(environment, kHorovod.rank)) RONDO_TRY(add(read_horovod(environment)));
  if (found.empty() && is_set(environment, "PMIX_RANK"))
    return wrong(Code::kUnsupported, "PMIX_RANK is " + read_text(environment, "PMIX_RANK") +
                                         ", but no variable says how many ranks there are: start the program by "
                                         "mpirun or srun, or set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT");
  std::stable_partition(found.begin(), found.end(), [](const Placement& one) { return one.at.world_size > 1; });
  return found;
}

Status check_agreement(const Placement& chosen, const std::vector<Placement>& placements) {
  for (const Placement& other : placements) {
    if (other.at.world_size == 1 || other.at == chosen.at) continue;
    return wrong(Code::kInvalidArgument,
                 "two launchers place this process differently: " + chosen.describe() + ", but " + other.describe() +
                     "; unset the variables of the one that does not start the ranks (a common cause: RANK was "
                     "exported once for all ranks instead of in each of them)");
  }
  return {};
}

std::string outside_of_srun(const Environment& environment) {
  const std::string job = read_text(environment, first_set(environment, "SLURM_JOB_ID", "SLURM_JOBID"));
  const auto step = slurm_step(environment);
  if (job.empty() || !step.ok() || step->has_value()) return {};
  const std::string tasks = read_text(environment, first_set(environment, "SLURM_NTASKS", "SLURM_NPROCS"));
  if (tasks.empty() || tasks == "1") return {};
  return "this process runs alone, in Slurm job " + job + " of " + tasks +
         " tasks: it was not started by srun. For one rank a task, `srun` goes before the program's name";
}

Status follow(const Placement& placement, const Environment& environment, Bootstrap& result) {
  result.source = placement.source;
  result.at = placement.at;
  result.local_rank = placement.local_rank;
  result.local_world_size = placement.local_world_size;
  result.generation = placement.restarts;
  if (result.at.world_size == 1) return {};
  const std::string address = read_text(environment, "MASTER_ADDR");
  const auto port = read_number(environment, "MASTER_PORT", {1, 65535});
  RONDO_TRY(port);
  const bool told = !address.empty() && port->has_value();
  const bool of_mpi = placement.source == Source::kOpenMpi || placement.source == Source::kPmi;
  const bool knows_all = told && !result.secret_file.empty();
  result.meets_by_mpi = result.links_by_mpi || (of_mpi && !result.on_one_host() && !knows_all);
  if (result.meets_by_mpi) {
    result.serve_store = result.at.rank == 0;
    if (!told || result.on_one_host()) return {};
    const auto beside = port_beside(**port);
    RONDO_TRY(beside);
    meet_across_hosts(address, *beside, result);
    return {};
  }
  RONDO_TRY(need_secret_across_hosts(result));
  const std::string where = address + "-" + std::to_string(port->value_or(0));
  const std::string place =
      placement.job.empty() && told ? std::string(name(result.source)) + "-" + where : placement.job;
  result.job = job_of(place + " " + std::to_string(result.generation));
  if (result.on_one_host()) {
    if (place.empty() && placement.pmi_descriptor >= 0) {
      result.pmi_descriptor = placement.pmi_descriptor;
      return {};
    }
    if (place.empty())
      return wrong(Code::kInvalidArgument, placement.describe() +
                                               ", but nothing names the job, and ranks of two jobs might meet: set "
                                               "MASTER_ADDR=127.0.0.1 and a MASTER_PORT of its own for each job");
    meet_on_this_host(place, result);
    return {};
  }
  if (told) {
    const auto beside = port_beside(**port);
    RONDO_TRY(beside);
    // The launcher's name of the job may be this host's alone.
    result.job = job_of(std::string(name(result.source)) + " " + where + " " + std::to_string(result.generation));
    meet_across_hosts(address, *beside, result);
    return {};
  }
  if (placement.address.empty())
    return wrong(Code::kInvalidArgument, placement.describe() +
                                             ", on several hosts, and no variable names one where "
                                             "they meet: set MASTER_ADDR to the host of rank 0 and "
                                             "MASTER_PORT to a free port there, for all ranks "
                                             "(mpirun -x MASTER_ADDR=node1 -x MASTER_PORT=29500)");
  meet_across_hosts(placement.address, placement.port, result);
  return {};
}

}  // namespace rondo::comm
