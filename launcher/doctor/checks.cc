#include "launcher/doctor/checks.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

constexpr uint64_t kGiB = 1ull << 30;
constexpr uint64_t kFewOpenFiles = 1024, kEnoughOpenFiles = 4096;

std::string in_gib(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / static_cast<double>(kGiB));
  return text;
}

std::string listed(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

Diagnosis cpus(const HostFacts& facts) {
  const auto usable = static_cast<int>(facts.cpus.size());
  Diagnosis diagnosis{.subject = "cpus",
                      .text = counted(facts.cpus.size(), "cpu") + " of " + std::to_string(facts.cpus_of_machine) +
                              " usable, " + counted(static_cast<size_t>(count_cores(facts.cpus)), "core")};
  if (facts.cpu_quota && *facts.cpu_quota + 0.01 < usable) {
    char quota[32];
    std::snprintf(quota, sizeof quota, "%.1f", *facts.cpu_quota);
    diagnosis.verdict = Grade::kWarning;
    diagnosis.text += ", but the cgroup grants the time of " + std::string(quota);
    diagnosis.cure =
        "start no more ranks x threads than that, or raise the container's cpu limit: ranks that wait in turn slow all "
        "others";
  } else if (usable < facts.cpus_of_machine) {
    diagnosis.verdict = Grade::kNote;
    diagnosis.text += "; the others are outside this process's affinity mask (taskset, cpuset, or an MPI that binds)";
  }
  return diagnosis;
}

Diagnosis threads(const HostFacts& facts) {
  if (!facts.omp_num_threads)
    return {.subject = "threads", .text = "OMP_NUM_THREADS is not set: every rank gets its share of the cores"};
  const int wanted = std::atoi(facts.omp_num_threads->c_str());
  const int cores = count_cores(facts.cpus);
  Diagnosis diagnosis{.subject = "threads", .text = "OMP_NUM_THREADS=" + *facts.omp_num_threads + " for every rank"};
  if (wanted < 1 || wanted > cores) {
    diagnosis.verdict = Grade::kWarning;
    diagnosis.text += ", and there are " + counted(static_cast<size_t>(cores), "core");
    diagnosis.cure = "unset OMP_NUM_THREADS: `rondo run` gives each rank cores / ranks threads";
  }
  return diagnosis;
}

Diagnosis memory(const HostFacts& facts) {
  const uint64_t usable = facts.memory_limit_bytes.value_or(facts.memory_bytes);
  Diagnosis diagnosis{.subject = "memory", .text = in_gib(facts.memory_bytes)};
  if (facts.memory_limit_bytes) diagnosis.text += ", the cgroup allows " + in_gib(*facts.memory_limit_bytes);
  if (usable < 2 * kGiB) {
    diagnosis.verdict = Grade::kWarning;
    diagnosis.cure =
        "a rank with LibTorch takes about half a GiB before its model: start fewer ranks, or raise the limit";
  }
  return diagnosis;
}

Diagnosis open_files(const HostFacts& facts) {
  Diagnosis diagnosis{.subject = "open files", .text = std::to_string(facts.open_files)};
  if (facts.open_files >= kEnoughOpenFiles) return diagnosis;
  diagnosis.verdict = facts.open_files < kFewOpenFiles ? Grade::kBad : Grade::kWarning;
  diagnosis.text += "; the launcher needs about 8 for each rank, a rank 2 for each other rank";
  diagnosis.cure = facts.open_files_hard >= kEnoughOpenFiles
                       ? "ulimit -n " + std::to_string(kEnoughOpenFiles)
                       : "have the hard limit raised (/etc/security/limits.conf: nofile)";
  return diagnosis;
}

Diagnosis locked_memory(const HostFacts& facts) {
  const bool unlimited = facts.locked_bytes == UINT64_MAX;
  return {.subject = "locked memory",
          .text = unlimited ? "no limit" : std::to_string(facts.locked_bytes / 1024) + " KiB; Rondo locks none"};
}

Diagnosis network(const HostFacts& facts) {
  if (!facts.loopback_up)
    return {.subject = "network",
            .verdict = Grade::kBad,
            .text = "the loopback interface is down, and the ranks of a host meet there",
            .cure = "ip link set lo up"};
  if (facts.loopback_problem)
    return {.subject = "network",
            .verdict = Grade::kBad,
            .text = *facts.loopback_problem,
            .cure = "see ip addr show lo, and net.ipv4.ip_local_port_range for free ports"};
  Diagnosis diagnosis{.subject = "network",
                      .text = "loopback is up and has free ports; other interfaces: " +
                              (facts.interfaces.empty() ? "none" : listed(facts.interfaces))};
  if (!facts.taken_ports.empty()) {
    diagnosis.verdict = Grade::kNote;
    diagnosis.text +=
        "; somebody listens at " + listed(facts.taken_ports) +
        ", where torchrun's rules have jobs meet (29400 --rdzv-endpoint, 29500 MASTER_PORT): name another";
  }
  return diagnosis;
}

Diagnosis host_name(const HostFacts& facts) {
  const auto loops = [](const std::string& address) { return address.starts_with("127.") || address == "::1"; };
  if (facts.name_addresses.empty())
    return {.subject = "host name",
            .verdict = Grade::kWarning,
            .text = facts.name + " leads to no address",
            .cure = "on one host it does not matter; for several put the name and its address into /etc/hosts or DNS"};
  if (std::ranges::all_of(facts.name_addresses, loops))
    return {.subject = "host name",
            .verdict = Grade::kNote,
            .text = facts.name + " leads to " + listed(facts.name_addresses) +
                    ": other hosts cannot reach a rank 0 that is told by this name; give MASTER_ADDR as an address"};
  return {.subject = "host name", .text = facts.name + " leads to " + listed(facts.name_addresses)};
}

Diagnosis part(const HostFacts::Part& part) {
  if (part.problem.empty()) return {.subject = part.name, .text = part.path};
  const bool needed = part.name == "rondo-exec";
  return {.subject = part.name,
          .verdict = needed ? Grade::kBad : Grade::kWarning,
          .text = part.problem,
          .cure = needed                       ? "build or install again: without it nothing is started"
                  : part.name == "rondo-train" ? "`./dev setup` and `./dev build`: without it there is no `rondo train`"
                                               : "build or install again: without it there is no `rondo bench`"};
}

Diagnosis run_folder(const HostFacts& facts) {
  if (facts.folder_problem)
    return {.subject = "run folder",
            .verdict = Grade::kBad,
            .text = *facts.folder_problem,
            .cure = "start from a folder that you may write to, or name one with --run-dir"};
  Diagnosis diagnosis{.subject = "run folder", .text = in_gib(facts.disk_free_bytes) + " free where runs/ is written"};
  if (facts.disk_free_bytes < kGiB) {
    diagnosis.verdict = Grade::kWarning;
    diagnosis.cure = "make room: logs and checkpoints go there; --run-dir names another place";
  }
  return diagnosis;
}

Diagnosis libtorch(const HostFacts& facts) {
  return {.subject = "LibTorch", .text = facts.libtorch.value_or("not seen (rondo-train is not there)")};
}

Diagnosis blas(const HostFacts& facts) {
  if (!facts.blas) return {.subject = "BLAS", .text = "not seen (LibTorch did not say)"};
  if (!facts.blas->empty()) return {.subject = "BLAS", .text = *facts.blas};
  return {.subject = "BLAS",
          .verdict = Grade::kWarning,
          .text = "this LibTorch was built without one: products of matrices are many times slower",
          .cure = "take a LibTorch with MKL or OpenBLAS (RONDO_LIBTORCH, or `./dev setup`, which brings one)"};
}

Diagnosis openmp(const HostFacts& facts) {
  if (facts.openmp_copies.size() < 2)
    return {.subject = "OpenMP",
            .text = facts.openmp_copies.empty() ? "no copy seen (rondo-train is not there, or static)"
                                                : facts.openmp_copies[0]};
  return {.subject = "OpenMP",
          .verdict = Grade::kWarning,
          .text = counted(facts.openmp_copies.size(), "runtime") + " in one program: " + listed(facts.openmp_copies),
          .cure = "link the program to LibTorch's own copy only: two thread pools compete for the same cores"};
}

Diagnosis other_launchers(const HostFacts& facts) {
  std::vector<std::string> seen;
  if (facts.mpirun) seen.push_back("mpirun at " + *facts.mpirun);
  if (facts.srun) seen.push_back("srun at " + *facts.srun);
  Diagnosis diagnosis{.subject = "other launchers", .text = seen.empty() ? "none" : listed(seen)};
  diagnosis.text += facts.mpi_components.empty() ? "; Rondo was built without MPI: under mpirun ranks need MASTER_ADDR"
                                                 : "; ranks meet by MPI of " + listed(facts.mpi_components);
  if (!facts.launchers.empty()) {
    diagnosis.verdict = Grade::kNote;
    diagnosis.text += "; variables of one are set here: " + listed(facts.launchers) +
                      ". `rondo run` gives its ranks their own; inside an allocation it starts on this host only";
  }
  return diagnosis;
}

Diagnosis gpus(const HostFacts& facts) {
  if (facts.gpus == 0) return {.subject = "GPUs", .text = "none"};
  return {.subject = "GPUs",
          .verdict = Grade::kNote,
          .text = counted(static_cast<size_t>(facts.gpus), "GPU") + "; Rondo trains on the CPU and does not use them"};
}

}  // namespace

std::vector<Diagnosis> check_host(const HostFacts& facts) {
  std::vector<Diagnosis> diagnoses{{.subject = "Rondo", .text = facts.rondo},
                                   cpus(facts),
                                   threads(facts),
                                   memory(facts),
                                   open_files(facts),
                                   locked_memory(facts),
                                   network(facts),
                                   host_name(facts),
                                   run_folder(facts)};
  for (const HostFacts::Part& of : facts.parts) diagnoses.push_back(part(of));
  for (Diagnosis& diagnosis :
       std::vector<Diagnosis>{libtorch(facts), blas(facts), openmp(facts), other_launchers(facts), gpus(facts)})
    diagnoses.push_back(std::move(diagnosis));
  return diagnoses;
}

}  // namespace rondo::launcher
