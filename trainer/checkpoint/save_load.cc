// rondo::save and rondo::load: checkpoints of a program of one's own.
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <string>

#include "rondo/checkpoint.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/init/job_state.h"

namespace rondo {
namespace {

using trainer::Checkpoint;
using trainer::Manifest;

/// Runs `action` on rank 0. When it throws there, every rank throws: none goes on alone.
template <typename Action>
void on_rank_zero(const Job& job, const std::string& what, const Action& action) {
  std::exception_ptr error;
  if (job.rank == 0) {
    try {
      action();
    } catch (const std::exception&) {
      error = std::current_exception();
    }
  }
  const bool failed = job.sum(int64_t{error ? 1 : 0}) != 0;
  if (error) std::rethrow_exception(error);
  if (failed) throw Error("rank 0 could not " + what + "; its own message says why", Error::Details{.culprit_rank = 0});
}

std::string fact(const Checkpoint& checkpoint, const std::string& name) {
  const auto found = checkpoint.manifest.facts.find(name);
  if (found != checkpoint.manifest.facts.end()) return found->second;
  throw Error(
      (checkpoint.folder / trainer::kManifestFile).string() + " was not written by rondo::save: it has no " + name,
      ExitCode::kUsage);
}

/// Where this rank's sampler goes on. A rank may have one sample less than rank 0, whose position was saved.
SamplerPosition sampler_position(const Checkpoint& checkpoint, const Job& job, const Sampler& sampler) {
  const auto size = static_cast<int64_t>(sampler.size());
  SamplerPosition at{.seed = checkpoint.manifest.seed,
                     .epoch = std::stoll(fact(checkpoint, "sampler_epoch")),
                     .position = std::stoll(fact(checkpoint, "sampler_position"))};
  const bool finished = at.position >= std::stoll(fact(checkpoint, "sampler_size"));
  const bool inside = at.epoch >= 0 && at.position > 0 && !finished;
  if (inside && checkpoint.manifest.world_size != job.world_size) {
    throw Error(checkpoint.folder.string() + " was written inside an epoch by " +
                    std::to_string(checkpoint.manifest.world_size) +
                    " ranks; go on with as many, or from a checkpoint at the end of an epoch",
                ExitCode::kUsage);
  }
  at.position = finished ? size : std::min(at.position, size);
  return at;
}

}  // namespace

void save(const Job& job, const std::string& run, torch::nn::Module& module, torch::optim::Optimizer& optimizer,
          const Sampler& sampler) {
  on_rank_zero(job, "save a checkpoint", [&] {
    const SamplerPosition at = sampler.position();
    trainer::ModuleState model = trainer::encode_module(module);
    Manifest manifest;
    manifest.step = job.state()->steps_done();
    manifest.cursor = {.epoch = std::max<int64_t>(at.epoch, 0), .step = 0};
    manifest.seed = at.seed;
    manifest.world_size = job.world_size;
    manifest.facts = {{"sampler_epoch", std::to_string(at.epoch)},
                      {"sampler_position", std::to_string(at.position)},
                      {"sampler_size", std::to_string(sampler.size())}};
    manifest.aliases = std::move(model.aliases);
    manifest.params_hash = trainer::hash_parameters(module);
    trainer::write_checkpoint(std::filesystem::path(run) / "checkpoints", manifest,
                              {{trainer::kModelFile, std::move(model.content)},
                               {trainer::kOptimizerFile, trainer::encode_optimizer(module, optimizer)}});
  });
}

void load(const Job& job, const std::string& run, torch::nn::Module& module, torch::optim::Optimizer& optimizer,
          Sampler& sampler) {
  const std::filesystem::path checkpoints = std::filesystem::path(run) / "checkpoints";
  int64_t step = 0;
  on_rank_zero(job, "find a checkpoint", [&] {
    const trainer::FoundCheckpoint found = trainer::newest_valid_checkpoint(checkpoints);
    for (const std::string& why : found.skipped) job.state()->say("skipped: " + why);
    step = found.checkpoint.manifest.step;
  });
  step = job.sum(step);  // 0 on every other rank
  const Checkpoint checkpoint = trainer::open_checkpoint(checkpoints / trainer::checkpoint_name(step));
  const auto model_file = checkpoint.folder / trainer::kModelFile;
  const auto optimizer_file = checkpoint.folder / trainer::kOptimizerFile;
  const SamplerPosition position = sampler_position(checkpoint, job, sampler);
  trainer::decode_module(module, trainer::SafetensorsFile::read(model_file), model_file.string());
  trainer::decode_optimizer(module, optimizer, trainer::SafetensorsFile::read(optimizer_file), optimizer_file.string());
  sampler.restore(position);
  job.state()->set_steps_done(step);
}

}  // namespace rondo
