#include "launcher/agent/job_plan.h"

#include <cstdio>

namespace rondo::launcher {

HostPlace expected_place(const JobRequest& request) {
  const int nodes = request.hosts ? request.hosts->most : 1;
  const int node_rank = request.hosts ? request.hosts->node_rank.value_or(0) : 0;
  return {.node_rank = node_rank,
          .nodes = nodes,
          .first_rank = node_rank * request.ranks,
          .world_size = nodes * request.ranks};
}

std::vector<RankPlan> plan_ranks(const JobRequest& request, const HostPlace& host, const HostCpus& cpus) {
  std::vector<RankPlan> plans;
  const auto allowed = cpus.limit ? std::optional(*cpus.limit / request.ranks) : std::nullopt;
  for (CoreShare& share : share_cores(cpus.places, request.ranks, request.binding)) {
    share.threads = within_limit(share.threads, allowed);
    const int local_rank = static_cast<int>(plans.size());
    plans.push_back({.rank = host.first_rank + local_rank, .local_rank = local_rank, .share = std::move(share)});
  }
  return plans;
}

WorkerPlace place_of(const JobRequest& request, const RankPlan& plan, const JobFacts& facts) {
  return {.rank = plan.rank,
          .world_size = facts.host.world_size,
          .local_rank = plan.local_rank,
          .local_world_size = request.ranks,
          .node_rank = facts.host.node_rank,
          .nodes = facts.host.nodes,
          .threads = plan.share.threads,
          .generation = facts.generation,
          .max_restarts = request.max_restarts,
          .role = request.role,
          .run_id = request.run_id,
          .master_addr = facts.master.address,
          .master_port = facts.master.port,
          .error_file = error_file_of(facts.run_directory, facts.generation, plan.rank),
          .store = facts.store,
          .job = facts.job,
          .run_directory = facts.run_directory};
}

std::string error_file_of(const std::string& run_directory, int generation, int rank) {
  char name[32];
  std::snprintf(name, sizeof name, "rank-%04d.json", rank);
  return run_directory + "/errors/" + (generation == 0 ? "" : "attempt-" + std::to_string(generation) + "/") + name;
}

}  // namespace rondo::launcher
