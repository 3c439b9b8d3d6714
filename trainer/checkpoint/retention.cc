#include "trainer/checkpoint/retention.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <system_error>

#include "rondo/error.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/durable_file.h"

namespace rondo::trainer {
namespace {

using Condition = StoredCheckpoint::Condition;

bool better(double candidate, double than, KeepRules::Better rule) {
  return rule == KeepRules::Better::kLower ? candidate < than : candidate > than;
}

/// What was written before `written` was verified then; a damage since is looked for by size, because a removal must
/// not cost reading all of them. Higher steps are left from before a resume and get a closer look: if they were taken
/// for valid, an older one that is needed might be removed.
StoredCheckpoint look_at(const CheckpointFolder& folder, int64_t written, const KeepRules& rules) {
  StoredCheckpoint stored{.step = folder.step};
  try {
    const Manifest manifest =
        open_checkpoint(folder.path, folder.step > written ? Scrutiny::kHashes : Scrutiny::kSizes).manifest;
    if (const auto metric = manifest.metrics.find(rules.best_metric); metric != manifest.metrics.end())
      stored.metric = metric->second;
  } catch (const Error&) {
    stored.condition = Condition::kDamaged;
  }
  return stored;
}

void point_to_best(const std::filesystem::path& checkpoints, int64_t best) {
  const std::filesystem::path link = checkpoints / kBestLink;
  const std::filesystem::path fresh = checkpoints / (std::string(kTemporaryPrefix) + kBestLink);
  std::error_code error;
  if (std::filesystem::read_symlink(link, error) == checkpoint_name(best)) return;
  // A link cannot be overwritten in place; a rename can.
  std::filesystem::remove(fresh, error);
  std::filesystem::create_directory_symlink(checkpoint_name(best), fresh, error);
  if (!error) std::filesystem::rename(fresh, link, error);
  if (error) throw Error("the checkpoint is written, but cannot point " + link.string() + " to it: " + error.message());
}

/// Out of sight first: a crash in the middle of removing leaves no half checkpoint.
void remove_checkpoint(const std::filesystem::path& checkpoints, int64_t step) {
  const std::filesystem::path folder = checkpoints / checkpoint_name(step);
  const std::filesystem::path hidden = checkpoints / (kTemporaryPrefix + checkpoint_name(step));
  std::error_code error;
  std::filesystem::remove_all(hidden, error);
  if (!error) std::filesystem::rename(folder, hidden, error);
  if (!error) std::filesystem::remove_all(hidden, error);
  if (error)
    throw Error("the checkpoint is written, but cannot remove " + folder.string() +
                ", which need not stay: " + error.message());
}

}  // namespace

Retention decide_retention(const std::vector<StoredCheckpoint>& stored, int64_t written, const KeepRules& rules) {
  std::vector<StoredCheckpoint> valid;
  for (const StoredCheckpoint& one : stored) {
    if (one.condition == Condition::kValid) valid.push_back(one);
  }
  std::ranges::sort(valid, {}, &StoredCheckpoint::step);

  Retention retention;
  double best = 0;
  for (const StoredCheckpoint& one : valid) {
    if (rules.best_metric.empty() || !one.metric || std::isnan(*one.metric)) continue;
    if (retention.best && !better(*one.metric, best, rules.better)) continue;
    retention.best = one.step;
    best = *one.metric;
  }
  if (rules.newest <= 0 || valid.size() <= static_cast<size_t>(rules.newest)) return retention;
  const int64_t oldest = valid[valid.size() - static_cast<size_t>(rules.newest)].step;
  for (const StoredCheckpoint& one : stored) {
    if (one.step < oldest && one.step != written && one.step != retention.best) retention.remove.push_back(one.step);
  }
  return retention;
}

void apply_keep_rules(const std::filesystem::path& checkpoints, int64_t written, const KeepRules& rules) {
  if (rules.newest <= 0 && rules.best_metric.empty()) return;
  std::vector<StoredCheckpoint> stored;
  for (const CheckpointFolder& folder : checkpoint_folders(checkpoints))
    stored.push_back(look_at(folder, written, rules));
  const Retention retention = decide_retention(stored, written, rules);
  if (retention.best) point_to_best(checkpoints, *retention.best);
  for (const int64_t step : retention.remove) remove_checkpoint(checkpoints, step);
  sync_folder(checkpoints);
}

}  // namespace rondo::trainer
