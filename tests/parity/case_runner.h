/// Trains what a parity case says, by Rondo, and gives back what PyTorch's DistributedDataParallel computed for it.
///
/// A case is one safetensors file that oracle/ddp_side.py wrote. Its metadata "case" is a JSON object: what to train.
/// Its tensors, by name:
///   initial.NAME                  parameters and buffers before the first step; only rank 0 loads them
///   input.S.M.R, target.S.M.R     micro-batch M of step S for rank R; a rank that ran out of data has none
///   reload.S.NAME                 where the case says "reload": parameters that step S starts from
///   expect.*                      what PyTorch computed: loss, parameter.NAME, buffer.NAME, gradient.S.NAME
#pragma once

#include <ATen/core/Tensor.h>
#include <rondo/job.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "trainer/checkpoint/safetensors.h"

namespace rondo::test {

using Tensors = std::map<std::string, at::Tensor>;

struct ParityCase {
  std::string settings;  // JSON
  Tensors tensors;
};
/// Throws rondo::Error, kCorrupt, for a file that is none.
ParityCase read_parity_case(const std::filesystem::path& file);
/// World size that the case is for.
int world_size_of(const ParityCase& parity_case);
void write_tensors(const std::filesystem::path& file, const Tensors& tensors);

/// What PyTorch has under "expect.", as Rondo computes it, on every rank, and "replicas_equal": 1 when the parameters
/// of all ranks have the same bits. Losses: (steps, micro-batches, ranks), NaN where a rank had no data. Collective.
/// Throws rondo::Error, kUsage, when the case asks for something that Rondo does not have.
Tensors run_parity_case(const Job& job, const ParityCase& parity_case);

/// Empty when each expected tensor is there, has its shape, and differs in norm by at most `bound` times its own norm;
/// else the first that does not, with the distance. Where PyTorch had the whole batch in one process, losses of the
/// ranks are averaged by the sizes of their batches first.
std::string difference_from_expected(const ParityCase& parity_case, const Tensors& computed, double bound);

}  // namespace rondo::test
