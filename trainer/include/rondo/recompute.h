/// Activation checkpointing: memory for time. What a part of the forward leaves for backward is thrown away and
/// computed again when backward needs it. LibTorch has no counterpart of Python's torch.utils.checkpoint.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace rondo {

using ForwardPart = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs)>;

/// run(inputs); gradients flow to `inputs` and to the parameters that `run` uses, also when no input needs one. `run`
/// is called a second time, inside backward, with LibTorch's default generator and autocast as they were: dropout draws
/// the same numbers. What it refers to must stay alive until backward ends. Without grad mode: just run(inputs).
std::vector<at::Tensor> checkpoint(const ForwardPart& run, const std::vector<at::Tensor>& inputs);
at::Tensor checkpoint(const std::function<at::Tensor(const at::Tensor& input)>& run, const at::Tensor& input);

}  // namespace rondo
