/// How many addresses a strided tensor has, and whether two tensors share one: exact for all sizes and strides.
///
/// LibTorch knows a stride of 0 and calls most other layouts too hard, for in general the question is a knapsack. It is
/// not when bits are cheap: a tensor without holes for its elements spans no more memory than it has.
/// Pure. Cost: sorting the strides where each is larger than all smaller dimensions reach, which is so for everything
/// but as_strided(), unfold() and the like. There, a bit for each element spanned and sum(log2(size)) passes over them.
#pragma once

#include <cstdint>
#include <vector>

namespace rondo::trainer {

struct StridedMemory {
  uintptr_t begin = 0;  // address of the first element
  int64_t element_bytes = 1;
  std::vector<int64_t> sizes, strides;  // in elements; strides >= 0
};

int64_t element_count(const StridedMemory& memory);
/// Different ones. Fewer than elements: some elements share an address.
int64_t address_count(const StridedMemory& memory);
/// Behind the last byte; `begin` where there are no elements.
uintptr_t end_of(const StridedMemory& memory);
/// Whether a byte belongs to both.
bool share_memory(const StridedMemory& a, const StridedMemory& b);

}  // namespace rondo::trainer
