/// The variables a worker starts with: the launcher's own environment with torchrun's variables and ours put in.
/// A pure function. The secret is in none of them: it comes by descriptor.
#pragma once

#include <string>
#include <vector>

namespace rondo::launcher {

/// Numbers that the inherited descriptors have in every worker.
inline constexpr int kSecretDescriptor = 3;
inline constexpr int kControlDescriptor = 4;
inline constexpr int kMessagesDescriptor = 5;
inline constexpr int kFlightDescriptor = 6;

struct WorkerPlace {
  int rank = 0;
  int world_size = 1;
  int local_rank = 0, local_world_size = 1;  // on its host
  int node_rank = 0, nodes = 1;              // of its host
  int threads = 1;                           // OMP_NUM_THREADS, unless the user set it
  int generation = 0;                        // how often the ranks were started again
  int max_restarts = 0;                      // how often they may be
  std::string role = "default", run_id;      // for programs that know torchrun's roles and run ids; empty id: the job's
  std::string master_addr = "127.0.0.1";
  int master_port = 0;        // a port of master_addr for programs that meet by torchrun's rules
  std::string error_file;     // where such a program leaves its exception, as JSON
  std::string store;          // address of the store that the launcher serves
  std::string job;            // 32 hexadecimal digits
  std::string run_directory;  // absolute
};

/// `inherited` and the result are lists of "NAME=value".
std::vector<std::string> worker_environment(const std::vector<std::string>& inherited, const WorkerPlace& place);

/// This process's environment.
std::vector<std::string> own_environment();

}  // namespace rondo::launcher
