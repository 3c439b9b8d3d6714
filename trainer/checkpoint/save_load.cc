// rondo::load: a checkpoint back into a program of one's own.
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "rondo/checkpoint.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/checkpoint/part_file.h"
#include "trainer/checkpoint/together.h"
#include "trainer/init/job_state.h"

namespace rondo {
namespace {

namespace fs = std::filesystem;
using trainer::Checkpoint;

constexpr const char* kSampler = "sampler";

std::string fact(const Checkpoint& checkpoint, const std::string& name) {
  const auto found = checkpoint.manifest.facts.find(name);
  if (found != checkpoint.manifest.facts.end()) return found->second;
  throw Error((checkpoint.folder / trainer::kManifestFile).string() + " holds no position of a sampler: it has no " +
                  name + " (LoadOptions::without = {\"sampler\"} begins the data anew)",
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

std::string quoted_list(const std::set<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "\"" : ", \"") + name + "\"";
  return text;
}

/// Nothing may be forgotten in silence: the parts of the program are those of the checkpoint, but for `without`.
void check_parts(const Checkpoint& checkpoint, const Job& job, const TrainingState& state,
                 const std::set<std::string>& without) {
  std::set<std::string> missing, unexpected;
  for (const auto& [name, files] : checkpoint.manifest.parts) {
    if (!without.contains(name)) unexpected.insert(name);
  }
  for (const Part& part : state.parts()) {
    if (without.contains(part.name)) continue;
    const auto found = checkpoint.manifest.parts.find(part.name);
    if (found == checkpoint.manifest.parts.end()) {
      missing.insert(part.name);
      continue;
    }
    unexpected.erase(part.name);
    const int wanted = part.kept == Part::Kept::kPerRank ? job.world_size : 0;
    if (found->second == wanted) continue;
    const auto ranks = [](int files) {
      return files == 0 ? "for all ranks as one" : "by each of " + std::to_string(files);
    };
    throw Error(checkpoint.folder.string() + ": part \"" + part.name + "\" was kept " + ranks(found->second) +
                    ", and this job wants it " + ranks(wanted) +
                    "; go on with as many ranks, or leave it out by LoadOptions::without",
                ExitCode::kUsage);
  }
  if (missing.empty() && unexpected.empty()) return;
  std::string message = checkpoint.folder.string() + " and this program have different parts:";
  if (!missing.empty()) message += " the checkpoint has no " + quoted_list(missing) + ";";
  if (!unexpected.empty()) message += " the program did not add " + quoted_list(unexpected) + " to its TrainingState;";
  throw Error(message + " LoadOptions::without leaves parts alone", ExitCode::kUsage);
}

/// The step that `which` names. Rank 0 says it to all: a checkpoint may be written meanwhile.
int64_t choose_step(const Job& job, const fs::path& checkpoints, const std::string& which) {
  int64_t step = 0;
  trainer::on_rank_zero(job, "find a checkpoint", [&] {
    if (which == "newest") {
      const trainer::FoundCheckpoint found = trainer::newest_valid_checkpoint(checkpoints);
      for (const std::string& why : found.skipped) job.state()->say("skipped: " + why);
      step = found.checkpoint.manifest.step;
      return;
    }
    std::error_code absent;
    const fs::path folder = fs::canonical(checkpoints / which, absent);
    for (const trainer::CheckpointFolder& known : trainer::checkpoint_folders(checkpoints)) {
      if (absent || folder.filename() != known.path.filename()) continue;
      step = known.step;
      return;
    }
    throw Error("there is no checkpoint " + (checkpoints / which).string() + "; newest, best and names such as " +
                    trainer::checkpoint_name(1407) + " can be asked for",
                ExitCode::kPreflight);
  });
  return job.sum(step);  // 0 on every other rank
}

}  // namespace

void save(const Job& job, const std::string& run, torch::nn::Module& module, torch::optim::Optimizer& optimizer,
          const Sampler& sampler) {
  save(job, run, TrainingState(module, optimizer, sampler));
}

LoadedCheckpoint load(const Job& job, const std::string& run, const TrainingState& state, const LoadOptions& options) {
  const fs::path checkpoints = fs::path(run) / "checkpoints";
  const int64_t step = choose_step(job, checkpoints, options.which);
  Checkpoint checkpoint;
  std::optional<SamplerPosition> position;
  trainer::on_every_rank(job, "read a checkpoint", [&] {
    checkpoint = trainer::open_checkpoint(checkpoints / trainer::checkpoint_name(step));
    check_parts(checkpoint, job, state, options.without);
    if (state.sampler() && !options.without.contains(kSampler))
      position = sampler_position(checkpoint, job, *state.sampler());
  });
  trainer::on_every_rank(job, "load a checkpoint", [&] {
    const auto read = [&](const std::string& name) { return trainer::SafetensorsFile::read(checkpoint.folder / name); };
    const auto path = [&](const std::string& name) { return (checkpoint.folder / name).string(); };
    trainer::decode_module(state.module(), read(trainer::kModelFile), path(trainer::kModelFile));
    trainer::decode_optimizer(state.module(), state.optimizer(), read(trainer::kOptimizerFile),
                              path(trainer::kOptimizerFile));
    for (const Part& part : state.parts()) {
      if (options.without.contains(part.name)) continue;
      const auto rank = part.kept == Part::Kept::kPerRank ? std::optional(job.rank) : std::nullopt;
      part.load(trainer::decode_part(read(trainer::part_file_name(part.name, rank))));
    }
    if (position) Sampler(*state.sampler()).restore(*position);
  });
  job.state()->set_steps_done(step);
  return {.folder = checkpoint.folder,
          .step = step,
          .config = checkpoint.manifest.config,
          .metrics = checkpoint.manifest.metrics};
}

LoadedCheckpoint load(const Job& job, const std::string& run, torch::nn::Module& module,
                      torch::optim::Optimizer& optimizer, Sampler& sampler) {
  return load(job, run, TrainingState(module, optimizer, sampler));
}

}  // namespace rondo
