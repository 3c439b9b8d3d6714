/// A reduction made ready for the vector loops: which operands are there, and how the tree over them is walked.
///
/// The loops know no tree. They push one leaf after the other on a stack and, after each, join the two topmost subtrees
/// as often as the leaf says. Five operands: push a, b, join, push c, d, join, join, push e, join.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "comm/kernels/kernels.h"

namespace rondo::comm {

/// An operand that is there, and how many joins follow it.
struct Leaf {
  const std::byte* data = nullptr;
  uint32_t joins = 0;
};

/// Most subtrees that can lie on the stack: one for each bit of the number of positions.
inline constexpr size_t kDeepestStack = 32;

/// The canonical tree over `operands` without those that are null. `leaves` has room for all; the used part is
/// returned.
std::span<const Leaf> plan_tree(std::span<const std::byte* const> operands, std::span<Leaf> leaves);

/// What happens to a sum before it is stored. A reciprocal that is exact gives the same bits as the division.
enum class Scaling : uint8_t { kNone, kMultiply, kDivide };

struct Program {
  ReduceOp op = ReduceOp::kSum;
  std::span<const Leaf> leaves;  // at least one
  Scaling scaling = Scaling::kNone;
  double factor = 1;
  std::span<std::byte* const> outputs;
  size_t element_count = 0;
  StoreKind stores = StoreKind::kPlain;
};

/// The loops, by type. `program.op` is one that supports() knows for the type; kWeightedMean is a sum with a factor.
void run_floating(DType type, const Program& program);
void run_half(DType type, const Program& program);
void run_integer(DType type, const Program& program);

}  // namespace rondo::comm
