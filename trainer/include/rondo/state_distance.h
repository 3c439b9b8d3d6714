/// How far apart two trainings ended: every parameter, buffer and optimizer slot, bit for bit, in units in the last
/// place, and by norm.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace torch {
namespace nn {
class Module;
}
namespace optim {
class Optimizer;
}
}  // namespace torch

namespace rondo {

/// Of a NaN to a number.
inline constexpr uint64_t kNoUlpDistance = std::numeric_limits<uint64_t>::max();

/// How many steps from one number of the type to the next lead from `a` to `b`: 0 for equal ones (also +0 and -0, and
/// two NaNs), 1 for neighbours. Counts on across zero; infinity is the neighbour of the largest number.
uint64_t ulp_distance(float a, float b);
uint64_t ulp_distance(double a, double b);
uint64_t ulp_distance(c10::Half a, c10::Half b);
uint64_t ulp_distance(c10::BFloat16 a, c10::BFloat16 b);

/// A copy of what a training ended with, by the names of state_differences(): "parameter \"fc1.weight\"",
/// "exp_avg of \"fc1.weight\"". `values`: what is no tensor, such as "lr of group 0".
struct TrainedState {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> values;
};
TrainedState trained_state(const torch::nn::Module& module, const torch::optim::Optimizer& optimizer);

/// One slot of two trainings. Infinite `relative`: it is in one of them only, has another shape or type, holds a number
/// that is not finite where the other's is, or is no floating tensor and not equal.
struct SlotDistance {
  std::string slot;
  uint64_t ulp = 0;     // the largest of its elements
  int64_t element = 0;  // which one that is, in row-major order
  double relative = 0;  // 2-norm of the difference, in units of the slot's; see distances()
  double rounding = 0;  // what of it is_rounding() takes for rounding, by the slot's type
  bool same_bits = true;
  bool is_rounding() const { return relative <= rounding; }
};

/// Every slot of either, by name.
///
/// Note [Why a norm decides, and which]
/// A number that is a small difference of large ones may be many ulps off without a fault, so ulps are shown, and norms
/// decide. A sum in another order is off by some epsilons of its terms, each step passes that on to the next, and a
/// ReLU or a maximum that tips over makes single elements worse. A fault of data parallelism (a sample twice or never,
/// a wrong divisor, a weight ignored, a bucket not reduced) changes a gradient by its share of the batch: 1e-3 and
/// more. `rounding` lies between: 1024 epsilons, 1.2e-4 in float, 2.3e-13 in double, and 0.05 in 16 bits, where the two
/// can hardly be told apart. Train in double for a sharp answer. `relative` is in units of the slot's norm, or of a
/// hundredth of the norm of all slots of its kind together, if that is more: the gradient of a bias in front of
/// BatchNorm is nothing but rounding.
std::vector<SlotDistance> distances(const TrainedState& state, const TrainedState& reference);

/// The first slot that is not the same bit for bit; empty when all are.
std::string first_difference(const TrainedState& state, const TrainedState& reference);

}  // namespace rondo
