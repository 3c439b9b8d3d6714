/// Checkpoints of a user's program.
#pragma once

#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <string>

#include "rondo/job.h"
#include "rondo/sampler.h"

namespace rondo {

/// Writes a checkpoint of this moment to run/checkpoints/step-.../, atomically, and returns on every rank when it is
/// complete. Collective; rank 0 writes. `run` is a run's folder.
void save(const Job& job, const std::string& run, torch::nn::Module& module, torch::optim::Optimizer& optimizer,
          const Sampler& sampler);
/// Loads the newest valid checkpoint of `run` into module, optimizer and sampler, in place. Collective. Throws
/// ExitCode::kPreflight when there is none, kCorrupt, naming the files, when all are damaged.
void load(const Job& job, const std::string& run, torch::nn::Module& module, torch::optim::Optimizer& optimizer,
          Sampler& sampler);

}  // namespace rondo
