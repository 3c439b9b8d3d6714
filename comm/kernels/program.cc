#include "comm/kernels/program.h"

namespace rondo::comm {
namespace {

// Joins the last two steps into one where the loops have a shape for it. (A right step with joins was refused here
// before, for reasons that have not changed.)
bool merge(Step& left, const Step& right) {
  if (left.joins != 0) return false;
  const uint32_t before = left.operand_count;
  const bool has_shape = right.operand_count == before ? before <= 2 : before == 2 && right.operand_count == 1;
  if (!has_shape) return false;
  for (uint32_t i = 0; i < right.operand_count; ++i) left.operands[left.operand_count++] = right.operands[i];
  return true;
}

}  // namespace

// A binary counter over positions: bit k of `index` says that a subtree over 2^k positions is waiting, bit k of
// `filled` that it holds an operand. Counting up joins equal subtrees; what waits at the end is folded from the right.
std::span<const Step> plan_tree(std::span<const std::byte* const> operands, std::span<Step> steps) {
  size_t used = 0;
  const auto join = [&] {
    if (merge(steps[used - 2], steps[used - 1])) {
      --used;
    } else {
      ++steps[used - 1].joins;
    }
  };
  uint64_t filled = 0;
  for (uint64_t index = 0; index < operands.size(); ++index) {
    bool carry = operands[index] != nullptr;
    if (carry) steps[used++] = {.operands = {operands[index]}, .operand_count = 1, .joins = 0};
    int level = 0;
    for (; (index >> level & 1) != 0; ++level) {
      const bool left = (filled >> level & 1) != 0;
      if (left && carry) join();
      carry = carry || left;
      filled &= ~(uint64_t{1} << level);
    }
    if (carry) filled |= uint64_t{1} << level;
  }
  // Each waiting subtree with an operand is one more join, but for the first.
  for (; (filled & (filled - 1)) != 0; filled &= filled - 1) join();
  return steps.first(used);
}

}  // namespace rondo::comm
