/// Looks for the mistakes that make data-parallel training wrong or slow and that no error message would show.
///
///   const auto found = rondo::check(job, ddp, {.optimizers = {&optimizer}, .loss = [&] { return loss_of(batch); }});
///   if (job.rank == 0) std::cout << found.text();
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/optim/optimizer.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "rondo/distributed_data_parallel.h"
#include "rondo/findings.h"
#include "rondo/job.h"

namespace rondo {

class Sampler;  // sampler.h

/// All that a check can look at, besides the wrapped module. What is left out is not checked.
struct CheckSubject {
  std::vector<torch::optim::Optimizer*> optimizers = {};
  /// Forward and mean loss of a batch of this rank, without backward() and ddp.weigh().
  std::function<at::Tensor()> loss = {};
  const Sampler* sampler = nullptr;
  /// Further numbers of the program that must be equal on all ranks: {{"epoch", epoch}, {"seed", seed}}.
  std::vector<std::pair<std::string, int64_t>> equal = {};
  /// Networks with wrappers of their own that the loss or the optimizers also reach: a GAN's other half.
  std::vector<const torch::nn::Module*> other_modules = {};
};

/// Topics, of the optimizers:
///   stray-parameter     error    an optimizer steps a tensor that is not the module's: nothing averages it
///   stale-optimizer     error    it was built for tensors that the module has replaced since
///   stepped-twice       error    a parameter is in it twice, or in two
///   never-stepped       warning  a parameter that gets gradients is in none
/// of the graph of the loss, by one forward and backward that reduces nothing:
///   never-reached       note on some ranks, warning on all (an error for Unused::kRefused): no gradient arrives
///   unregistered        warning  the loss depends on a leaf that is neither the module's nor an optimizer's
///   loss-failed         error    it threw, or needs no gradient
///   loss-not-finite     error
///   compute-order       note     layers are registered in another order than they compute, and what that costs
///   arrival-order       note     gradients arrive in another order than on rank 0
///   same-random-numbers note     the loss draws from LibTorch's default generator, which is at the same place on all
/// of the module:
///   orphan              warning  a layer computes with another tensor than it has registered; error: with none that is
///   broken-tie          error    two names had one tensor, or one memory, when they were wrapped, and no longer have
///   changed-after-wrap  warning, error where ranks differ: storage, dtype, device, requires_grad, registration
///   self-overlap        error    elements of a parameter, buffer or gradient share an address: expand(), unfold()
///   shared-memory       error    two of them share memory and are not one tensor; of buffers a warning
/// of all ranks together:
///   state-differs       error    parameters, buffers or optimizer state
///   setting-differs     error    the sampler's seed and epoch, or CheckSubject::equal
///   sample-counts       note     ranks draw different numbers of samples
///
/// Collective, between two steps; also before the first. Leaves gradients, buffers, the default generator and the
/// reduction as they were. The same findings on every rank. Throws when another wrapper's exclusive() scope lives.
/// Limits: a leaf inside rondo::checkpoint() is seen only if it is the module's; a tie is known from wrap on.
/// Cost: a forward and a backward with gradients of their own, a hash of all state; for tensors whose strides do not
/// nest, a bit for each byte they span.
Findings check(const Job& job, const DistributedDataParallel& ddp, const CheckSubject& subject = {});

}  // namespace rondo
