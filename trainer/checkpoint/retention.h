/// Which checkpoints of a run stay: the decision, and carrying it out. No LibTorch here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "rondo/keep_rules.h"

namespace rondo::trainer {

struct StoredCheckpoint {
  int64_t step = 0;
  enum class Condition : uint8_t { kValid, kDamaged } condition = Condition::kValid;
  std::optional<double> metric;  // of KeepRules::best_metric
};

struct Retention {
  std::vector<int64_t> remove;  // steps
  std::optional<int64_t> best;
};

/// `newest` valid ones from the highest step down stay, and so do the best valid one (of equals the earliest; a NaN
/// never is) and `written`. Damaged ones stay as long as they are newer than the oldest that stays: somebody may want
/// to look.
Retention decide_retention(const std::vector<StoredCheckpoint>& stored, int64_t written, const KeepRules& rules);

/// After `written` was written there: points the link `best` and removes what need not stay. A crash at any moment
/// leaves whole checkpoints. Throws rondo::Error naming what could not be removed or linked.
void apply_keep_rules(const std::filesystem::path& checkpoints, int64_t written, const KeepRules& rules);

inline constexpr const char* kBestLink = "best";

}  // namespace rondo::trainer
