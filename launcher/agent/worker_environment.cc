#include "launcher/agent/worker_environment.h"

#include <unistd.h>

#include <algorithm>
#include <map>

namespace rondo::launcher {

std::vector<std::string> worker_environment(const std::vector<std::string>& inherited, const WorkerPlace& place) {
  std::map<std::string, std::string> variables;
  for (const std::string& entry : inherited) {
    const size_t equals = entry.find('=');
    if (equals != std::string::npos) variables[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  const std::string rank = std::to_string(place.rank), world_size = std::to_string(place.world_size);
  const std::string generation = std::to_string(place.generation);
  const std::map<std::string, std::string> ours{
      {"RANK", rank},
      {"LOCAL_RANK", std::to_string(place.local_rank)},
      {"WORLD_SIZE", world_size},
      {"LOCAL_WORLD_SIZE", std::to_string(place.local_world_size)},
      {"GROUP_RANK", std::to_string(place.node_rank)},
      {"GROUP_WORLD_SIZE", std::to_string(place.nodes)},
      {"ROLE_RANK", rank},
      {"ROLE_WORLD_SIZE", world_size},
      {"ROLE_NAME", place.role},
      {"MASTER_ADDR", place.master_addr},
      {"MASTER_PORT", std::to_string(place.master_port)},
      {"TORCHELASTIC_RUN_ID", place.run_id.empty() ? place.job : place.run_id},
      {"TORCHELASTIC_RESTART_COUNT", generation},
      {"TORCHELASTIC_MAX_RESTARTS", std::to_string(place.max_restarts)},
      {"TORCHELASTIC_USE_AGENT_STORE", "False"},  // rank 0 serves what torch.distributed meets at
      {"TORCHELASTIC_ERROR_FILE", place.error_file},
      {"RONDO_STORE", place.store},
      {"RONDO_JOB", place.job},
      {"RONDO_GENERATION", generation},
      {"RONDO_RUN_DIR", place.run_directory},
      {"RONDO_SECRET_FD", std::to_string(kSecretDescriptor)},
      {"RONDO_CONTROL_FD", std::to_string(kControlDescriptor)},
      {"RONDO_MESSAGES_FD", std::to_string(kMessagesDescriptor)},
      {"RONDO_FLIGHT_FD", std::to_string(kFlightDescriptor)},
  };
  for (const auto& [name, value] : ours) variables[name] = value;
  variables.emplace("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1");  // as torchrun: a lost peer must not hang the others
  variables.emplace("OMP_NUM_THREADS", std::to_string(place.threads));

  std::vector<std::string> entries;
  for (const auto& [name, value] : variables) entries.push_back(name + "=" + value);
  return entries;
}

std::vector<std::string> own_environment() {
  std::vector<std::string> entries;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) entries.emplace_back(*entry);
  return entries;
}

}  // namespace rondo::launcher
