// reduce_many() for fp16 and bf16. Compiled once for each instruction set: foreach_target.h includes this file again.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/kernels/reduce_half.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "comm/kernels/half-inl.h"
#include "comm/kernels/program.h"
#include "comm/kernels/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::comm::HWY_NAMESPACE {

void reduce_half(DType type, const Program& program) {
  type == DType::kFloat16 ? run_ordered<Half<Float16>, Half<Float16>>(program)
                          : run_ordered<Half<BFloat16>, Half<BFloat16>>(program);
}

}  // namespace rondo::comm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::comm {

HWY_EXPORT(reduce_half);

void run_half(DType type, const Program& program) { HWY_DYNAMIC_DISPATCH(reduce_half)(type, program); }

}  // namespace rondo::comm
#endif  // HWY_ONCE
