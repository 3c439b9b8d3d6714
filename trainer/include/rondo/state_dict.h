/// A module's tensors in the files that Python reads and writes.
///
/// Keys are those of Python's state_dict. Every rank may call these by itself; none is collective.
#pragma once

#include <torch/nn/module.h>

#include <string>

namespace rondo {

/// Writes `file` as torch.save(module.state_dict(), file) does: Python's torch.load(file) and
/// load_state_dict(strict=True) take it. Tied weights stand under each of their names and stay tied. Written beside,
/// then renamed.
void save_pt(const torch::nn::Module& module, const std::string& file);
/// Writes `file` as safetensors. It cannot say that tensors are tied: they stand under each of their names.
void save_safetensors(const torch::nn::Module& module, const std::string& file);

/// Reads what torch.save(module.state_dict(), file) wrote into `module`, in place, or, with `entry`, the state_dict
/// under that key of a saved dict. As load_state_dict(strict=True): throws rondo::Error, kCorrupt, naming all keys that
/// are missing, unexpected or of another shape, and changes nothing then; elements are converted to the module's
/// types. "module." before every key, from Python's DistributedDataParallel, is dropped. No code from the file is run.
void load_pt(torch::nn::Module& module, const std::string& file, const std::string& entry = "");
/// The same for a safetensors file. Of tied weights one name is enough.
void load_safetensors(torch::nn::Module& module, const std::string& file);

}  // namespace rondo
