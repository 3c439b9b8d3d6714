#include "launcher/agent/job_plan.h"

#include <cstdio>

namespace rondo::launcher {

std::vector<RankPlan> plan_ranks(const JobRequest& request, const std::vector<CpuPlace>& machine) {
  std::vector<RankPlan> plans;
  for (CoreShare& share : share_cores(machine, request.ranks, request.binding))
    plans.push_back({.rank = static_cast<int>(plans.size()), .share = std::move(share)});
  return plans;
}

WorkerPlace place_of(const JobRequest& request, const RankPlan& plan, const JobFacts& facts) {
  return {.rank = plan.rank,
          .world_size = request.ranks,
          .threads = plan.share.threads,
          .generation = facts.generation,
          .max_restarts = request.max_restarts,
          .role = request.role,
          .run_id = request.run_id,
          .master_addr = request.master.address,
          .master_port = facts.master_port,
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
