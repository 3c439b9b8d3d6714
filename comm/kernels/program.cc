#include "comm/kernels/program.h"

namespace rondo::comm {

// A binary counter over positions: bit k of `index` says that a subtree over 2^k positions is waiting, bit k of
// `filled` that it holds an operand. Counting up joins equal subtrees; what waits at the end is folded from the right.
std::span<const Leaf> plan_tree(std::span<const std::byte* const> operands, std::span<Leaf> leaves) {
  size_t used = 0;
  uint64_t filled = 0;
  for (uint64_t index = 0; index < operands.size(); ++index) {
    bool carry = operands[index] != nullptr;
    if (carry) leaves[used++] = {.data = operands[index]};
    int level = 0;
    for (; (index >> level & 1) != 0; ++level) {
      const bool left = (filled >> level & 1) != 0;
      if (left && carry) ++leaves[used - 1].joins;
      carry = carry || left;
      filled &= ~(uint64_t{1} << level);
    }
    if (carry) filled |= uint64_t{1} << level;
  }
  // Each waiting subtree with an operand is one more join, but for the first.
  for (; (filled & (filled - 1)) != 0; filled &= filled - 1) ++leaves[used - 1].joins;
  return leaves.first(used);
}

}  // namespace rondo::comm
