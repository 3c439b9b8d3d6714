/// What `rondo doctor` reads from this host. Plain facts, so that the checks are pure functions of them.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launcher/agent/topology.h"
#include "rondo/comm/status.h"

namespace rondo::launcher {

struct HostFacts {
  std::string name;
  std::string rondo;                        // this build
  std::optional<std::string> libtorch;      // the version that rondo-train would load
  std::optional<std::string> blas;          // what that one multiplies matrices with; empty: with loops of its own
  std::vector<std::string> cpu_features;    // vector instructions: "avx2"
  std::vector<std::string> name_addresses;  // what the host's own name leads to; empty: nowhere
  std::vector<CpuPlace> cpus;               // those this process may use
  int cpus_of_machine = 0;
  std::optional<double> cpu_quota;  // of the cgroup, in cpus
  std::optional<std::string> omp_num_threads;
  uint64_t memory_bytes = 0;
  std::optional<uint64_t> memory_limit_bytes;  // of the cgroup
  uint64_t open_files = 0, locked_bytes = 0;   // the soft limits; UINT64_MAX: none
  uint64_t open_files_hard = 0;
  bool loopback_up = false;
  std::vector<std::string> interfaces;          // up, other than loopback: "eth0 (10.0.0.5)"
  std::set<int> packet_bytes;                   // MTUs of those
  std::optional<std::string> loopback_problem;  // why no port of 127.0.0.1 can be had
  std::vector<std::string> taken_ports;         // of those that torchrun's rules name: "29500"
  struct Part {
    std::string name, path, problem;
  };
  std::vector<Part> parts;                    // Rondo's own programs
  std::optional<std::string> folder_problem;  // why runs/ cannot be written
  uint64_t disk_free_bytes = 0;               // where runs/ is written
  std::vector<std::string> openmp_copies;     // OpenMP runtimes that rondo-train would load
  std::optional<std::string> mpirun, srun;    // paths
  std::vector<std::string> mpi_components;    // Rondo's, by family: "openmpi", "mpich"
  std::vector<std::string> launchers;         // variables of an outer launcher that are set
  int gpus = 0;
};
HostFacts read_host();

/// The BLAS that at::show_config() tells: "MKL 2024.2", "OpenBLAS"; empty: none. Nothing when it does not say. Pure.
std::optional<std::string> blas_in(const std::string& config);

}  // namespace rondo::launcher
