/// Checkpoints of a user's program.
#pragma once

#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "rondo/job.h"
#include "rondo/keep_rules.h"
#include "rondo/sampler.h"
#include "rondo/training_state.h"

namespace rondo {

struct SaveOptions {
  std::map<std::string, std::string> config = {};  // what the program was started with, to be shown and read back
  std::map<std::string, double> metrics = {};      // of this moment
  KeepRules keep = {};
};

/// Writes a checkpoint of this moment to run/checkpoints/step-.../, atomically, and returns on every rank when it is
/// complete. Collective; rank 0 writes. `run` is a run's folder. Throws on every rank when it could not be written;
/// then the earlier ones are as they were.
void save(const Job& job, const std::string& run, const TrainingState& state, const SaveOptions& options = {});
void save(const Job& job, const std::string& run, torch::nn::Module& module, torch::optim::Optimizer& optimizer,
          const Sampler& sampler);

struct LoadOptions {
  std::string which = "newest";        // valid one, "best", or a name such as "step-00001407"
  std::set<std::string> without = {};  // parts of the program or of the checkpoint that are left alone
};

struct LoadedCheckpoint {
  std::filesystem::path folder;
  int64_t step = 0;  // optimizer updates done
  std::map<std::string, std::string> config;
  std::map<std::string, double> metrics;
};

/// Loads a checkpoint of `run` in place. Collective; every rank reads it. Throws ExitCode::kPreflight when there is
/// none, kCorrupt, naming the files, when all are damaged, kUsage naming parts that only the program or only the
/// checkpoint has; until then nothing is changed.
LoadedCheckpoint load(const Job& job, const std::string& run, const TrainingState& state,
                      const LoadOptions& options = {});
LoadedCheckpoint load(const Job& job, const std::string& run, torch::nn::Module& module,
                      torch::optim::Optimizer& optimizer, Sampler& sampler);

}  // namespace rondo
