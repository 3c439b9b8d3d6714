/// Trains and evaluates the image recipes: what runs between joining the job and leaving it. LibTorch stays behind it.
#pragma once

#include <filesystem>
#include <string>

#include "trainer/observe/reporter.h"
#include "trainer/recipes/run_plan.h"

namespace rondo::trainer {

struct TrainingContext {
  int argc = 0;
  char** argv = nullptr;             // for rondo::init
  std::filesystem::path run_folder;  // empty: rank 0 makes one
  int default_threads = 1;
  /// How often all ranks were started again in the same run. A training then goes on from the run's newest checkpoint.
  int restarts = 0;
};

/// Returns when this rank has left the job in order; throws rondo::Error.
void run_image_recipe(const RunPlan& plan, const TrainingContext& context, Reporter& reporter);

/// The newest checkpoint's net on the first 64 test images: "inputs", "logits" and "labels" as safetensors in `file`.
/// For comparing with the same net in Python. No job.
void dump_outputs(const RunPlan& plan, const std::filesystem::path& file);

}  // namespace rondo::trainer
