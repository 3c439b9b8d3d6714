/// What kernels.h promises, in plain scalar code: slow, obvious, and the definition of every bit. The vector loops are
/// compared with it by tests and benchmarks; nothing else calls it.
///
/// Threading: any. No alignment is asked for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "comm/kernels/kernels.h"

namespace rondo::comm::reference {

Status reduce_many(const ReduceMany& request);

void widen(DType from16, const std::byte* from, float* to, int64_t element_count);
void narrow(const float* from, DType to16, std::byte* to, int64_t element_count);

}  // namespace rondo::comm::reference
