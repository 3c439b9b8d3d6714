#include "comm/kernels/kernels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "comm/kernels/program.h"

namespace rondo::comm {
namespace {

void fill_with_zeros(const ReduceMany& request) {
  const size_t bytes = static_cast<size_t>(request.element_count) * byte_width(request.dtype);
  for (std::byte* output : request.outputs) std::memset(output, 0, bytes);
}

size_t streamed_outputs(const ReduceMany& request) {
  if (request.stores == StoreKind::kPlain) return 0;
  return request.outputs.size() - std::min(request.plain_outputs, request.outputs.size());
}

/// Sets the scaling that gives the bits of x / divisor in the accumulator type A for every x. A denormal reciprocal is
/// exact too, but not when the caller's mode flushes denormals.
template <typename A>
void scale_by(double divisor, Program& program) {
  const A by = static_cast<A>(divisor);
  int exponent = 0;
  const A reciprocal = A{1} / by;
  const bool exact = std::abs(std::frexp(by, &exponent)) == A{0.5} && std::isnormal(reciprocal);
  program.scaling = exact ? Scaling::kMultiply : Scaling::kDivide;
  program.factor = exact ? reciprocal : by;
}

void run(DType type, const Program& program) {
  switch (type) {
    case DType::kFloat32:
    case DType::kFloat64:
      return run_floating(type, program);
    case DType::kFloat16:
    case DType::kBFloat16:
      return run_half(type, program);
    case DType::kInt32:
    case DType::kInt64:
    case DType::kUInt8:
      return run_integer(type, program);
  }
}

}  // namespace

bool supports(DType type, ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
    case ReduceOp::kMin:
    case ReduceOp::kMax:
    case ReduceOp::kProduct:
      return true;
    case ReduceOp::kWeightedMean:
      return is_floating(type);
    case ReduceOp::kBitAnd:
    case ReduceOp::kBitOr:
      return !is_floating(type);
  }
  return false;
}

Status reduce_many(const ReduceMany& request) {
  if (!supports(request.dtype, request.op)) {
    return {Code::kUnsupported, "no " + std::string(name(request.op)) + " for " + std::string(name(request.dtype)) +
                                    ": sum, min, max and product exist for all types, weighted mean for float32, "
                                    "float64, float16 and bfloat16, bit-and and bit-or for int32, int64 and uint8; "
                                    "convert the values first"};
  }
  if (request.element_count == 0 || request.outputs.empty()) return {};
  std::array<Step, 64> few;
  std::vector<Step> many;
  std::span<Step> room = few;
  if (request.operands.size() > few.size()) {
    many.resize(request.operands.size());
    room = many;
  }
  Program program{.op = request.op,
                  .steps = plan_tree(request.operands, room),
                  .outputs = request.outputs,
                  .element_count = static_cast<size_t>(request.element_count),
                  .streamed = streamed_outputs(request)};
  const bool mean = request.op == ReduceOp::kWeightedMean;
  if (program.steps.empty() || (mean && request.divisor == 0)) {
    fill_with_zeros(request);
    return {};
  }
  if (mean) {
    request.dtype == DType::kFloat64 ? scale_by<double>(request.divisor, program)
                                     : scale_by<float>(request.divisor, program);
  }
  run(request.dtype, program);
  return {};
}

Status reduce(DType type, ReduceOp op, const std::byte* a, const std::byte* b, std::byte* into, int64_t element_count) {
  return reduce_many({.dtype = type,
                      .op = op,
                      .operands = std::array{a, b},
                      .outputs = std::array{into},
                      .element_count = element_count});
}

Status divide(DType type, std::byte* values, int64_t element_count, double divisor) {
  if (!is_floating(type)) {
    return {Code::kUnsupported, "no division for " + std::string(name(type)) +
                                    ": a mean exists for float32, float64, float16 and bfloat16; convert the values "
                                    "first"};
  }
  return reduce_many({.dtype = type,
                      .op = ReduceOp::kWeightedMean,
                      .operands = std::array<const std::byte*, 1>{values},
                      .divisor = divisor,
                      .outputs = std::array{values},
                      .element_count = element_count});
}

}  // namespace rondo::comm
