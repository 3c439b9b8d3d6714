/// A reduction made ready for the vector loops: which operands are there, and how the tree over them is walked.
///
/// The loops know no tree. They push one small subtree after the other on a stack and, after each, join the two topmost
/// ones as often as the step says. Seven operands: push (a b)(c d), push (e f) g, join. Two, three or four are one
/// step, so that nothing but operands is read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "comm/kernels/kernels.h"

namespace rondo::comm {

/// A subtree of 1 to 4 operands that are there, and how many joins follow it: a, (a b), (a b) c or (a b)(c d).
struct Step {
  std::array<const std::byte*, 4> operands;
  uint32_t operand_count;
  uint32_t joins;
};

/// Most subtrees that can lie on the stack: one for each bit of the number of positions.
inline constexpr size_t kDeepestStack = 32;

/// The canonical tree over `operands` without those that are null. `steps` has room for as many; the used part is
/// returned.
std::span<const Step> plan_tree(std::span<const std::byte* const> operands, std::span<Step> steps);

/// What happens to a sum before it is stored. A reciprocal that is exact gives the same bits as the division.
enum class Scaling : uint8_t { kNone, kMultiply, kDivide };

struct Program {
  ReduceOp op = ReduceOp::kSum;
  std::span<const Step> steps;  // at least one
  Scaling scaling = Scaling::kNone;
  double factor = 1;
  std::span<std::byte* const> outputs;
  size_t element_count = 0;
  size_t streamed = 0;  // of the outputs the first so many, past the caches
};

/// The loops, by type. `program.op` is one that supports() knows for the type; kWeightedMean is a sum with a factor.
void run_floating(DType type, const Program& program);
void run_half(DType type, const Program& program);
void run_integer(DType type, const Program& program);

}  // namespace rondo::comm
