// reduce_many() for fp32 and fp64. Compiled once for each instruction set: foreach_target.h includes this file again.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/kernels/reduce_floating.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "comm/kernels/program.h"
#include "comm/kernels/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::comm::HWY_NAMESPACE {

void reduce_floating(DType type, const Program& program) {
  type == DType::kFloat64 ? run_ordered<Same<double>, Same<double>>(program)
                          : run_ordered<Same<float>, Same<float>>(program);
}

}  // namespace rondo::comm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::comm {

HWY_EXPORT(reduce_floating);

void run_floating(DType type, const Program& program) { HWY_DYNAMIC_DISPATCH(reduce_floating)(type, program); }

}  // namespace rondo::comm
#endif  // HWY_ONCE
