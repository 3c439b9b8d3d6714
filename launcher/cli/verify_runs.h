/// `rondo train --verify`: which trainings are compared, and how they are started, one after the other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo::launcher {

struct VerifyRequest {
  std::string trainer;  // the path of rondo-train
  std::string recipe;
  int ranks = 2;
  int64_t batch = 1;                  // of a rank, by the recipe's plan
  std::vector<std::string> settings;  // the user's key=value
  std::string folder;                 // where the runs go; empty: runs/<recipe>-verify-<date>-<pid>
  double grace_seconds = 10;
  bool json = false;
};

struct VerifyRun {
  std::string name;  // of its folder, and of its row in the table
  int ranks = 1;
  std::vector<std::string> settings;
};
/// First the one that all are compared with, then the one in one process with the same global batches, then those that
/// must give the same bits. Pure. Unless the user sets epochs or limit, a run has ten steps.
std::vector<VerifyRun> verify_runs(const VerifyRequest& request);

/// Trains them all and compares. The result is the exit code: 0, 7 when something differs, or that of the run that
/// failed.
int verify_recipe(const VerifyRequest& request);

}  // namespace rondo::launcher
