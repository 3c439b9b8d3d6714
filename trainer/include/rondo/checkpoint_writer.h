/// Checkpoints written while training goes on.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "rondo/checkpoint.h"
#include "rondo/job.h"
#include "rondo/training_state.h"

namespace rondo {

/// Copies the state, then writes the checkpoint on a thread of its own. One writer a run, and no rondo::save() beside
/// it. Threading: belongs to the thread that trains. Cost: while a checkpoint is being written, its bytes once more in
/// the memory of rank 0.
class CheckpointWriter {
 public:
  /// `run` is a run's folder.
  CheckpointWriter(const Job& job, std::string run);
  /// Finishes the write under way; it waits for no other rank. What fails then is logged: close() throws it.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Collective. Returns when the state is copied: what training does to it afterwards is not seen. Waits for the write
  /// before first, and throws on every rank what went wrong with it.
  void save(const TrainingState& state, const SaveOptions& options = {});
  /// Collective. Waits for the write under way and throws on every rank what went wrong with it, or that it takes
  /// longer than `timeout`. Afterwards save() may be called again.
  void close(std::chrono::milliseconds timeout = std::chrono::minutes(10));

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rondo
