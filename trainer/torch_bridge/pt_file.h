/// `.pt` files: named tensors as Python's torch.save writes a state_dict (a zip of one pickle and raw storages).
///
/// Written by LibTorch's own pickler and zip writer, whose interfaces may change with its version (checked against
/// 2.11); read by ours.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace rondo::trainer {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// The content of a file that Python's torch.load takes with weights_only=True: a dict of str to tensor, in this order.
/// A tensor that is given under two names is stored once, and both share it in Python, too.
std::vector<std::byte> encode_pt(const NamedTensors& tensors);

/// The tensors of a dict in `file`, or of the dict under its key `entry`, on the CPU. No code of the file is run.
/// Throws rondo::Error, kCorrupt, saying what the file holds instead.
NamedTensors read_pt(const std::string& file, const std::string& entry);

}  // namespace rondo::trainer
