/// The ranks of one job on several hosts of a test: real processes, placed by torchrun's variables, with a secret in a
/// file that all of them read.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/hosts.h"
#include "tests/support/process.h"

namespace rondo::test {

class JobOverHosts {
 public:
  struct Options {
    std::string program;
    std::vector<std::string> arguments;
    int ranks_per_host = 2;
    std::string master;                              // an address of the first host
    std::map<std::string, std::string> environment;  // on top of what places the ranks
    int special = -1;                                // this rank gets one more argument
    std::string special_argument;
  };
  /// Rank r runs on host r / ranks_per_host. Each host says its own RONDO_HOST_ID.
  JobOverHosts(const Hosts& hosts, const Options& options);
  ~JobOverHosts();
  JobOverHosts(const JobOverHosts&) = delete;
  JobOverHosts& operator=(const JobOverHosts&) = delete;

  int rank_count() const { return static_cast<int>(ranks_.size()); }
  int host_of(int rank) const { return rank / ranks_per_host_; }
  Process& of(int rank) { return ranks_[static_cast<size_t>(rank)]; }
  void signal_all(int number);
  /// Waits until every rank has stopped itself; false at the deadline.
  bool all_stopped(std::chrono::milliseconds deadline = std::chrono::seconds(20)) const;
  std::vector<std::pair<int, pid_t>> hosts_and_processes() const;

 private:
  const int ranks_per_host_;
  std::filesystem::path secret_;
  std::vector<Process> ranks_;
};

}  // namespace rondo::test
