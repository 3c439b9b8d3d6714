/// The bytes of a checkpoint in memory: taken of a program's state, written later, perhaps by another thread.
#pragma once

#include <filesystem>
#include <vector>

#include "rondo/checkpoint.h"
#include "rondo/training_state.h"
#include "trainer/checkpoint/checkpoint.h"

namespace rondo::trainer {

/// Empty on all ranks but 0.
struct Snapshot {
  Manifest manifest;
  std::vector<CheckpointFile> files;
};

/// Collective. What training does to the state afterwards is not seen. Throws on every rank when one cannot.
Snapshot take_snapshot(const Job& job, const TrainingState& state, const SaveOptions& options);

/// Writes it into run/checkpoints and carries out `rules`. Touches no tensor and no rank: any thread.
void write_snapshot(const std::filesystem::path& run, const Snapshot& snapshot, const KeepRules& rules);

}  // namespace rondo::trainer
