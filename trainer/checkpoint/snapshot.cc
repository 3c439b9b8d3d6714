#include "trainer/checkpoint/snapshot.h"

#include <ATen/ops/scalar_tensor.h>

#include <algorithm>
#include <string>
#include <utility>

#include "rondo/comm/collectives.h"
#include "trainer/checkpoint/hash.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/checkpoint/part_file.h"
#include "trainer/checkpoint/retention.h"
#include "trainer/checkpoint/together.h"
#include "trainer/init/job_state.h"

namespace rondo::trainer {
namespace {

std::string parts_text(const TrainingState& state) {
  std::string text;
  for (const Part& part : state.parts()) {
    text += (text.empty() ? "" : ", ") + part.name + (part.kept == Part::Kept::kPerRank ? " (per rank)" : "");
  }
  return text.empty() ? "none" : text;
}

/// Parts are exchanged one after the other, so ranks with others would wait for each other in vain.
void check_same_parts(const Job& job, const TrainingState& state) {
  const std::string mine = parts_text(state);
  const auto hash = static_cast<int64_t>(std::hash<std::string>()(mine));
  const at::Tensor all = job.all_gather(at::scalar_tensor(hash, at::kLong));
  for (int rank = 0; rank < job.world_size; ++rank) {
    if (all[rank].item<int64_t>() == hash) continue;
    throw Error("cannot save a checkpoint: the parts added to the TrainingState of rank " + std::to_string(rank) +
                    " are not those of rank " + std::to_string(job.rank) + ": " + mine,
                Error::Details{.exit_code = ExitCode::kUsage, .culprit_rank = rank});
  }
}

comm::BufferView view_of_bytes(std::vector<std::byte>& bytes) {
  return {.data = bytes.data(), .element_count = static_cast<int64_t>(bytes.size()), .dtype = comm::DType::kUInt8};
}

/// Every rank's bytes on rank 0, in rank order; one after the other, so that no other rank holds more than its own. The
/// last may wait long for its turn.
std::vector<std::vector<std::byte>> gather_bytes(const Job& job, std::vector<std::byte> mine, const std::string& tag) {
  comm::Group& group = job.state()->patient_group();
  const std::string what = "gather part \"" + tag + "\" of a checkpoint";
  std::vector<int64_t> length{std::ssize(mine)}, lengths(static_cast<size_t>(job.world_size));
  wait_patiently(what, comm::all_gather(group, comm::view(length), comm::view(lengths), {.tag = tag}));
  if (job.rank != 0) {
    wait_patiently(what, comm::send(group, view_of_bytes(mine), {.rank = 0}, {.tag = tag}));
    return {};
  }
  std::vector<std::vector<std::byte>> all{std::move(mine)};
  for (int rank = 1; rank < job.world_size; ++rank) {
    std::vector<std::byte>& bytes = all.emplace_back(static_cast<size_t>(lengths[static_cast<size_t>(rank)]));
    wait_patiently(what, comm::receive(group, view_of_bytes(bytes), {.rank = rank}, {.tag = tag}));
  }
  return all;
}

void check_metrics(const SaveOptions& options) {
  const auto& metrics = options.metrics;
  if (options.keep.newest < 0) throw Error("KeepRules::newest is negative; 0 keeps all", ExitCode::kUsage);
  if (options.keep.best_metric.empty() || metrics.empty() || metrics.contains(options.keep.best_metric)) return;
  std::string names;
  for (const auto& [name, value] : metrics) names += (names.empty() ? "" : ", ") + name;
  throw Error("KeepRules::best_metric is \"" + options.keep.best_metric + "\", but the metrics saved are: " + names,
              ExitCode::kUsage);
}

/// What rank 0 knows by itself.
Snapshot own_snapshot(const Job& job, const TrainingState& state, const SaveOptions& options) {
  ModuleState model = encode_module(state.module());
  Snapshot snapshot;
  Manifest& manifest = snapshot.manifest;
  manifest.step = job.state()->steps_done();
  manifest.world_size = job.world_size;
  manifest.config = options.config;
  manifest.metrics = options.metrics;
  if (state.sampler()) {
    if (!state.sampler()->position_is_known()) {
      throw Error(
          "cannot save a checkpoint inside this epoch: the data loader has enforce_ordering(false), so which samples "
          "its "
          "workers have delivered is not known, and a resume would lose some. Give its options enforce_ordering(true) "
          "(LibTorch's default), or save at the end of an epoch",
          ExitCode::kUsage);
    }
    const SamplerPosition at = state.sampler()->position();
    manifest.cursor = {.epoch = std::max<int64_t>(at.epoch, 0), .step = 0};
    manifest.seed = at.seed;
    manifest.facts = {{"sampler_epoch", std::to_string(at.epoch)},
                      {"sampler_position", std::to_string(at.position)},
                      {"sampler_size", std::to_string(state.sampler()->size())}};
  }
  manifest.aliases = std::move(model.aliases);
  manifest.params_hash = hash_parameters(state.module());
  snapshot.files.push_back({kModelFile, std::move(model.content)});
  snapshot.files.push_back({kOptimizerFile, encode_optimizer(state.module(), state.optimizer())});
  return snapshot;
}

}  // namespace

Snapshot take_snapshot(const Job& job, const TrainingState& state, const SaveOptions& options) {
  check_same_parts(job, state);
  Snapshot snapshot;
  std::vector<std::vector<std::byte>> contents;
  on_every_rank(job, "take the state of a checkpoint", [&] {
    check_metrics(options);
    for (const Part& part : state.parts()) contents.push_back(encode_part(part.save()));
    if (job.rank == 0) snapshot = own_snapshot(job, state, options);
  });
  for (size_t i = 0; i < contents.size(); ++i) {
    const Part& part = state.parts()[i];
    const bool per_rank = part.kept == Part::Kept::kPerRank;
    std::vector<std::vector<std::byte>> files;
    if (per_rank) {
      files = gather_bytes(job, std::move(contents[i]), part.name);
    } else if (job.rank == 0) {
      files.push_back(std::move(contents[i]));
    }
    contents[i] = {};
    for (size_t rank = 0; rank < files.size(); ++rank) {
      const auto number = per_rank ? std::optional(static_cast<int>(rank)) : std::nullopt;
      snapshot.files.push_back({part_file_name(part.name, number), std::move(files[rank])});
    }
    if (job.rank == 0) snapshot.manifest.parts[part.name] = per_rank ? job.world_size : 0;
  }
  fail_together(job, "gather the parts of a checkpoint", nullptr);  // nobody trains on while rank 0 still receives
  return snapshot;
}

void write_snapshot(const std::filesystem::path& run, const Snapshot& snapshot, const KeepRules& rules) {
  const std::filesystem::path checkpoints = run / "checkpoints";
  write_checkpoint(checkpoints, snapshot.manifest, snapshot.files);
  apply_keep_rules(checkpoints, snapshot.manifest.step, rules);
}

}  // namespace rondo::trainer
