/// `rondo-train ckpt ...`: what `rondo ckpt` asks about checkpoints. The launcher has checked the words and knows no
/// tensors.
#pragma once

#include <string>
#include <vector>

namespace rondo::trainer {

/// VERB PLACE [FILE] [--which W] [--part P] [--format F] [--json]. Prints the answer and returns the exit code: 0, or
/// that of corrupt data when a checkpoint is damaged. Throws rondo::Error.
int run_checkpoint_tool(const std::vector<std::string>& arguments);

}  // namespace rondo::trainer
