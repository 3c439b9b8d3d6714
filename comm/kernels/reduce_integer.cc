// reduce_many() for int32, int64 and uint8. Compiled once for each instruction set: foreach_target.h includes this file
// again.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/kernels/reduce_integer.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "comm/kernels/program.h"
#include "comm/kernels/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::comm::HWY_NAMESPACE {

template <typename T>
void run_whole(const Program& program) {
  if (program.op == ReduceOp::kBitAnd) return walk<Same<T>, BitAnd>(program);
  if (program.op == ReduceOp::kBitOr) return walk<Same<T>, BitOr>(program);
  run_ordered<Same<T>, Same<std::make_unsigned_t<T>>>(program);
}

void reduce_integer(DType type, const Program& program) {
  switch (type) {
    case DType::kInt32:
      return run_whole<int32_t>(program);
    case DType::kInt64:
      return run_whole<int64_t>(program);
    default:
      return run_whole<uint8_t>(program);
  }
}

}  // namespace rondo::comm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::comm {

HWY_EXPORT(reduce_integer);

void run_integer(DType type, const Program& program) { HWY_DYNAMIC_DISPATCH(reduce_integer)(type, program); }

}  // namespace rondo::comm
#endif  // HWY_ONCE
