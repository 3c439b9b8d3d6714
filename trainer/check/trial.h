/// One forward and backward of a user's loss that leaves nothing behind: no wrapper reduces, and gradients, buffers and
/// the default generator are put back. Threading: the thread that trains; hooks of the trial run there, too.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "trainer/init/job_state.h"

namespace torch::nn {
class Module;
}

namespace rondo::trainer {

struct Trial {
  std::string failure;                  // what the loss or backward threw; empty: nothing
  bool finite = true;                   // the loss
  bool drew = false;                    // from the default generator
  std::vector<at::Tensor> leaves = {};  // that the loss depends on
  std::vector<size_t> arrivals = {};    // indices of `parameters` that got a gradient, in that order
};

/// `parameters` need gradients. Throws when another wrapper's exclusive() scope lives.
struct TrialOf {
  const torch::nn::Module& module;
  const std::vector<at::Tensor>& parameters;
  const std::function<at::Tensor()>& loss;
};
Trial try_out(JobState& job, const TrialOf& of);

}  // namespace rondo::trainer
