/// A check without a loss to try out: what the program's own backwards have shown takes its place.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "rondo/check.h"
#include "trainer/gradient/replica.h"

namespace rondo::trainer {

/// Collective, at a step point. `reached`: parameters that got gradients on this rank, in the order of the last
/// backward. `subject` has no loss.
Findings look_at(Replica& replica, const CheckSubject& subject, const std::vector<at::Tensor>& reached);

}  // namespace rondo::trainer
