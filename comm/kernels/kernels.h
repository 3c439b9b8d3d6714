/// Element-wise loops. Plain and scalar: the reference that every faster version is compared with.
///
/// Threading: any. Alignment: natural for the dtype. `into` may be one of the operands. Contraction is off in this
/// folder, so the bits do not depend on the compiler's mood.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "rondo/comm/dtype.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// into[i] := a[i] op b[i]. kWeightedMean adds. Sums of integers wrap. Min and max pass a NaN on, the left one if there
/// are two, and keep the left of two equal values. kUnsupported for a pair that is not built: ask supports() at launch.
Status reduce(DType type, ReduceOp op, const std::byte* a, const std::byte* b, std::byte* into, int64_t element_count);

/// values[i] := values[i] / divisor, in the dtype (fp64 divides in fp64, fp32 in fp32; others are kUnsupported).
/// Divisor 0 writes zeros, whatever was there.
Status divide(DType type, std::byte* values, int64_t element_count, double divisor);

/// Which pairs exist: sum, min, max for fp32, fp64, int64, uint8; weighted mean for fp32, fp64; bit-or for int64,
/// uint8.
bool supports(DType type, ReduceOp op);

}  // namespace rondo::comm
