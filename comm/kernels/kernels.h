/// Element-wise loops: what a reduction does to the numbers, and copies. Vectors for the CPU it runs on, chosen at run
/// time; comm/kernels/reference.h says the same in plain scalar code and defines every bit.
///
/// Threading: any. Alignment: natural for the dtype. Contraction is off in this folder and no sum depends on the width
/// of a vector, so results are the same bits on every CPU. Arithmetic runs in the caller's floating-point mode: round
/// to nearest, denormals kept, unless the program changed it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "comm/base/store_kind.h"
#include "rondo/comm/dtype.h"
#include "rondo/comm/status.h"

namespace rondo::comm {

/// What reduce_many() shall do. Each operand and each output holds `element_count` elements of `dtype`.
struct ReduceMany {
  DType dtype = DType::kFloat32;
  ReduceOp op = ReduceOp::kSum;
  /// By position. A null operand is left out: it contributes nothing, whatever the reduction.
  std::span<const std::byte* const> operands;
  /// Only of kWeightedMean: what the sum is divided by, once, as a number of the accumulator's type.
  double divisor = 1;
  /// All get the same bytes. An output may be exactly one of the operands; it never overlaps one partly.
  std::span<std::byte* const> outputs;
  int64_t element_count = 0;
  StoreKind stores = StoreKind::kPlain;
  /// Of the outputs the last so many are stored to as usual, whatever `stores` says: this core reads them soon.
  size_t plain_outputs = 0;
};

/// Combines the operands, element by element, in the canonical tree over their positions:
///
///   T(lo, hi) = T(lo, lo + p) op T(lo + p, hi), p the largest power of two < hi - lo
///   five operands: ((a op b) op (c op d)) op e
///
/// A side without operands vanishes, and T is the other side; nothing ever starts from 0.
///
/// Types:   fp16 and bf16 are widened to fp32, stay fp32 in all partial results and are rounded once, at the end (to
///          nearest, ties to even). fp32, fp64 and integers keep their own type; sums and products of integers wrap.
/// Mean:    sum / divisor. Divisor 0 writes zeros, whatever the operands hold.
/// Min/max: a NaN wins over every number, the left one over the right one; of equal values the left one stays.
/// NaN:     a NaN that a sum, mean or product results in is the positive quiet one without payload, so that its bits do
///          not depend on the CPU either. Min and max hand on the NaN they chose; fp16 and bf16 make it quiet.
/// Absent:  no operands, or all null: zeros, for every reduction.
/// Stores:  each result is computed once and stored to all outputs. kNonTemporal streams to every output whose lines
///          begin where those of the first one do, and ends with a store fence; the ends and other outputs are plain.
/// Errors:  kUnsupported for a pair that is not built: ask supports() at launch.
/// Cost:    each operand is read once. No allocation up to 64 operands.
Status reduce_many(const ReduceMany& request);

/// into[i] := a[i] op b[i], with one rounding. kWeightedMean adds. `into` may be one of the operands. As reduce_many().
Status reduce(DType type, ReduceOp op, const std::byte* a, const std::byte* b, std::byte* into, int64_t element_count);

/// values[i] := values[i] / divisor for the four floating types (16-bit ones in fp32, rounded once); others are
/// kUnsupported. Divisor 0 writes zeros, whatever was there.
Status divide(DType type, std::byte* values, int64_t element_count, double divisor);

/// Which pairs exist: sum, min, max, product for all types; weighted mean for the floating ones; bit-and, bit-or for
/// the integers.
bool supports(DType type, ReduceOp op);

/// fp16 or bf16 to fp32: exact. A NaN stays a NaN.
void widen(DType from16, const std::byte* from, float* to, int64_t element_count);

/// fp32 to fp16 or bf16: to nearest, ties to even; denormals are kept, what is too large becomes infinite, and a NaN
/// stays a NaN, quiet, with the upper bits of its payload.
void narrow(const float* from, DType to16, std::byte* to, int64_t element_count);

/// memcpy, or the same past the caches, ending with a store fence.
void copy_bytes(const std::byte* from, std::byte* to, size_t byte_count, StoreKind stores);

/// The instruction set that was chosen for this CPU, by Highway's name: "AVX3", "AVX2", "SSE4", "SCALAR".
std::string_view kernel_target();

}  // namespace rondo::comm
