/// What a job will be, before anything is started: which rank runs where, and with what. A pure function of the request
/// and the machine. The agent carries it out, `--dry-run` prints it.
#pragma once

#include <string>
#include <vector>

#include "launcher/agent/core_map.h"
#include "launcher/agent/job_request.h"
#include "launcher/agent/worker_environment.h"

namespace rondo::launcher {

/// Where a host stands in its job. Hosts are numbered in the order of their ranks.
struct HostPlace {
  int node_rank = 0, nodes = 1;
  int first_rank = 0, world_size = 1;
};
/// Before hosts have met: as if all come, each with as many ranks as this one, in the order of their node ranks.
HostPlace expected_place(const JobRequest& request);

struct RankPlan {
  int rank = 0, local_rank = 0;
  CoreShare share;
};
/// Threads are cores for each rank, and no more than its share of the time that the cgroup's cpu limit allows.
std::vector<RankPlan> plan_ranks(const JobRequest& request, const HostPlace& host, const HostCpus& cpus);

/// What every rank of a host is told alike.
struct JobFacts {
  HostPlace host;
  int generation = 0;
  MeetingPoint::Master master;
  std::string store, job, run_directory;
};
WorkerPlace place_of(const JobRequest& request, const RankPlan& plan, const JobFacts& facts);

/// "<run>/errors/rank-0001.json"; of later generations "<run>/errors/attempt-1/rank-0001.json".
std::string error_file_of(const std::string& run_directory, int generation, int rank);

}  // namespace rondo::launcher
