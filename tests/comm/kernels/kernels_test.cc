#include "comm/kernels/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "tests/comm/kernels/elements.h"

namespace rondo::comm {
namespace {

template <typename T>
constexpr DType kDType = std::is_same_v<T, float>     ? DType::kFloat32
                         : std::is_same_v<T, double>  ? DType::kFloat64
                         : std::is_same_v<T, int32_t> ? DType::kInt32
                         : std::is_same_v<T, int64_t> ? DType::kInt64
                                                      : DType::kUInt8;

template <typename T>
std::byte* bytes(std::vector<T>& values) {
  return reinterpret_cast<std::byte*>(values.data());
}

// Small enough that every sum is exact in uint8; which operand is the larger one changes from index to index.
template <typename T>
constexpr T left(int64_t i) {
  return static_cast<T>(i * 7 % 120);
}
template <typename T>
constexpr T right(int64_t i) {
  return static_cast<T>(120 - i * 11 % 113);
}
template <typename T>
std::vector<T> lefts(int64_t count) {
  std::vector<T> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(left<T>(i));
  return values;
}
template <typename T>
std::vector<T> rights(int64_t count) {
  std::vector<T> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(right<T>(i));
  return values;
}

template <typename T>
T expected(ReduceOp op, int64_t i) {
  const T a = left<T>(i);
  const T b = right<T>(i);
  switch (op) {
    case ReduceOp::kMin:
      return a < b ? a : b;
    case ReduceOp::kMax:
      return a < b ? b : a;
    case ReduceOp::kProduct:
      return static_cast<T>(a * b);
    case ReduceOp::kBitAnd:
      if constexpr (std::is_integral_v<T>) return static_cast<T>(a & b);
      return T{};
    case ReduceOp::kBitOr:
      if constexpr (std::is_integral_v<T>) return static_cast<T>(a | b);
      return T{};
    default:
      return static_cast<T>(a + b);
  }
}

template <typename T>
class Kernels : public testing::Test {};
using Built = testing::Types<float, double, int32_t, int64_t, uint8_t>;
TYPED_TEST_SUITE(Kernels, Built);

TYPED_TEST(Kernels, MatchTheClosedFormApartAndOverEitherOperand) {
  using T = TypeParam;
  for (const ReduceOp op : kAllOps) {
    if (!supports(kDType<T>, op)) continue;
    for (const int64_t count : {0, 1, 2, 7, 16, 97, 1001}) {
      auto a = lefts<T>(count);
      auto b = rights<T>(count);
      std::vector<T> apart(static_cast<size_t>(count) + 1, T{99});
      auto over_a = a;
      auto over_b = b;
      ASSERT_TRUE(reduce(kDType<T>, op, bytes(a), bytes(b), bytes(apart), count).ok());
      ASSERT_TRUE(reduce(kDType<T>, op, bytes(over_a), bytes(b), bytes(over_a), count).ok());
      ASSERT_TRUE(reduce(kDType<T>, op, bytes(a), bytes(over_b), bytes(over_b), count).ok());
      EXPECT_EQ(apart.back(), T{99}) << "wrote past the end";
      for (int64_t i = 0; i < count; ++i) {
        const auto at = static_cast<size_t>(i);
        ASSERT_EQ(apart[at], expected<T>(op, i)) << name(op) << " at " << i;
        ASSERT_EQ(over_a[at], expected<T>(op, i)) << name(op) << " over a at " << i;
        ASSERT_EQ(over_b[at], expected<T>(op, i)) << name(op) << " over b at " << i;
      }
    }
  }
}

TYPED_TEST(Kernels, FoldAnOperandWithItself) {
  auto a = lefts<TypeParam>(9);
  ASSERT_TRUE(reduce(kDType<TypeParam>, ReduceOp::kSum, bytes(a), bytes(a), bytes(a), 9).ok());
  for (int64_t i = 0; i < 9; ++i) EXPECT_EQ(a[static_cast<size_t>(i)], static_cast<TypeParam>(2 * left<TypeParam>(i)));
}

TEST(KernelTable, HasExactlyTheDocumentedPairs) {
  for (const DType type : kAllTypes) {
    for (const ReduceOp op : kAllOps) {
      const bool bits = op == ReduceOp::kBitAnd || op == ReduceOp::kBitOr;
      const bool built = is_floating(type) ? !bits : op != ReduceOp::kWeightedMean;
      EXPECT_EQ(supports(type, op), built) << name(type) << " " << name(op);
      alignas(8) std::byte a[8] = {};
      const Status status = reduce(type, op, a, a, a, 1);
      EXPECT_EQ(status.code(), built ? Code::kOk : Code::kUnsupported);
      if (!built) {
        EXPECT_NE(status.message().find(name(type)), std::string::npos) << status.message();
        EXPECT_NE(status.message().find(name(op)), std::string::npos) << status.message();
      }
    }
  }
}

template <typename T>
class FloatKernels : public testing::Test {};
using Floats = testing::Types<float, double>;
TYPED_TEST_SUITE(FloatKernels, Floats);

TYPED_TEST(FloatKernels, PassNaNThroughMinAndMaxFromEitherSide) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const T huge = std::numeric_limits<T>::infinity();
  for (const ReduceOp op : {ReduceOp::kMin, ReduceOp::kMax, ReduceOp::kSum}) {
    std::vector<T> a{nan, 1, nan, huge, nan};
    std::vector<T> b{1, nan, nan, nan, -huge};
    ASSERT_TRUE(reduce(kDType<T>, op, bytes(a), bytes(b), bytes(a), 5).ok());
    for (const T value : a) EXPECT_TRUE(std::isnan(value)) << name(op);
  }
}

TYPED_TEST(FloatKernels, KeepTheLeftOfTwoZeros) {
  using T = TypeParam;
  for (const ReduceOp op : {ReduceOp::kMin, ReduceOp::kMax}) {
    std::vector<T> a{T{-0.0}, T{0.0}};
    std::vector<T> b{T{0.0}, T{-0.0}};
    ASSERT_TRUE(reduce(kDType<T>, op, bytes(a), bytes(b), bytes(b), 2).ok());
    EXPECT_TRUE(std::signbit(b[0])) << name(op);
    EXPECT_FALSE(std::signbit(b[1])) << name(op);
  }
}

TYPED_TEST(FloatKernels, DivideOnceInTheirOwnPrecision) {
  using T = TypeParam;
  std::vector<T> values;
  for (int i = 0; i < 101; ++i) values.push_back(static_cast<T>(i - 50));
  ASSERT_TRUE(divide(kDType<T>, bytes(values), 101, 3.0).ok());
  for (int i = 0; i < 101; ++i) EXPECT_EQ(values[static_cast<size_t>(i)], static_cast<T>(i - 50) / T{3}) << i;
}

TYPED_TEST(FloatKernels, DividedByZeroGiveZerosEvenFromNaN) {
  using T = TypeParam;
  std::vector<T> values{1, -2, std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()};
  ASSERT_TRUE(divide(kDType<T>, bytes(values), 4, 0.0).ok());
  for (const T value : values) EXPECT_EQ(value, T{0});
}

TEST(IntegerKernels, WrapWhenTheyOverflow) {
  std::vector<int64_t> a{std::numeric_limits<int64_t>::max()};
  std::vector<int64_t> b{1};
  ASSERT_TRUE(reduce(DType::kInt64, ReduceOp::kSum, bytes(a), bytes(b), bytes(a), 1).ok());
  EXPECT_EQ(a[0], std::numeric_limits<int64_t>::min());
  std::vector<uint8_t> c{200};
  std::vector<uint8_t> d{100};
  ASSERT_TRUE(reduce(DType::kUInt8, ReduceOp::kSum, bytes(c), bytes(d), bytes(c), 1).ok());
  EXPECT_EQ(c[0], 44);
}

TEST(IntegerKernels, HaveNoDivision) {
  std::vector<int64_t> values{4};
  const Status status = divide(DType::kInt64, bytes(values), 1, 2.0);
  EXPECT_EQ(status.code(), Code::kUnsupported);
  EXPECT_NE(status.message().find("int64"), std::string::npos);
  EXPECT_EQ(values[0], 4);
}

// fp16 and bf16 by their bits.
struct SixteenBits {
  DType type;
  uint16_t one, half_unit, next_to_one, nan;  // half_unit: half of what is between one and next_to_one
};
constexpr SixteenBits kSixteenBits[] = {{DType::kFloat16, 0x3c00, 0x1000, 0x3c01, 0x7e00},
                                        {DType::kBFloat16, 0x3f80, 0x3b80, 0x3f81, 0x7fc0}};

TEST(HalfKernels, RoundOnceAfterTheLastAddition) {
  for (const SixteenBits& bits : kSixteenBits) {
    // Rounded after each addition, 1 + half a unit is 1 again, three times.
    std::vector<uint16_t> one{bits.one};
    std::vector<uint16_t> half{bits.half_unit};
    std::vector<uint16_t> result{0};
    const std::byte* operands[] = {bytes(one), bytes(half), bytes(half), bytes(half)};
    std::byte* outputs[] = {bytes(result)};
    ASSERT_TRUE(reduce_many({.dtype = bits.type, .operands = operands, .outputs = outputs, .element_count = 1}).ok());
    EXPECT_EQ(result[0], bits.next_to_one + 1) << name(bits.type);  // 1.5 units: a tie, to the even one
    ASSERT_TRUE(reduce(bits.type, ReduceOp::kSum, bytes(one), bytes(half), bytes(result), 1).ok());
    EXPECT_EQ(result[0], bits.one) << name(bits.type);
  }
}

TEST(HalfKernels, DivideInFloat32) {
  for (const SixteenBits& bits : kSixteenBits) {
    std::vector<uint16_t> values{bits.one, bits.next_to_one, bits.nan};
    ASSERT_TRUE(divide(bits.type, bytes(values), 3, 1.0).ok());
    EXPECT_EQ(values, (std::vector<uint16_t>{bits.one, bits.next_to_one, bits.nan})) << name(bits.type);
    ASSERT_TRUE(divide(bits.type, bytes(values), 3, 0.0).ok());
    EXPECT_EQ(values, (std::vector<uint16_t>{0, 0, 0})) << name(bits.type);
  }
}

// Operands that are all null, and no operand at all.
TEST(AbsentOperands, GiveZerosForEveryReduction) {
  for (const DType type : kAllTypes) {
    for (const ReduceOp op : kAllOps) {
      if (!supports(type, op)) continue;
      for (const size_t count : {0, 1, 3}) {
        const std::vector<const std::byte*> operands(count, nullptr);
        Elements first = make_elements(type, 37, 1);
        Elements second = make_elements(type, 37, 2);
        std::byte* outputs[] = {first.data(), second.data()};
        ASSERT_TRUE(
            reduce_many({.dtype = type, .op = op, .operands = operands, .outputs = outputs, .element_count = 37}).ok());
        const std::vector<std::byte> zeros(first.byte_count());
        EXPECT_EQ(std::memcmp(first.data(), zeros.data(), zeros.size()), 0) << name(type) << " " << name(op);
        EXPECT_EQ(std::memcmp(second.data(), zeros.data(), zeros.size()), 0) << name(type) << " " << name(op);
      }
    }
  }
}

TEST(AbsentOperands, ContributeNotEvenAZero) {
  std::vector<float> minus_zero{-0.0f};
  std::vector<float> result{1.0f};
  const std::byte* operands[] = {nullptr, nullptr, bytes(minus_zero), nullptr};
  std::byte* outputs[] = {bytes(result)};
  ASSERT_TRUE(reduce_many({.operands = operands, .outputs = outputs, .element_count = 1}).ok());
  EXPECT_EQ(result[0], 0.0f);
  EXPECT_TRUE(std::signbit(result[0]));  // 0.0 + -0.0 would be 0.0
}

TEST(Reductions, WithoutOutputsOrElementsDoNothing) {
  std::vector<float> values{1.0f};
  const std::byte* operands[] = {bytes(values)};
  for (const StoreKind stores : {StoreKind::kPlain, StoreKind::kNonTemporal}) {
    EXPECT_TRUE(reduce_many({.operands = operands, .element_count = 1, .stores = stores}).ok());
    std::byte* outputs[] = {nullptr};
    EXPECT_TRUE(reduce_many({.operands = operands, .outputs = outputs, .element_count = 0, .stores = stores}).ok());
  }
}

TEST(Reductions, StoreTheSameToOutputsThatAreStreamedAndToThoseThatAreNot) {
  constexpr int64_t kCount = 4099;
  const Elements a = make_elements(DType::kFloat32, kCount, 1);
  const Elements b = make_elements(DType::kFloat32, kCount, 2);
  std::vector<float> sum(kCount);
  std::byte* plain[] = {bytes(sum)};
  const std::byte* operands[] = {a.data(), b.data()};
  ASSERT_TRUE(reduce_many({.operands = operands, .outputs = plain, .element_count = kCount}).ok());
  for (const size_t plain_outputs : {0, 1, 2, 3, 4}) {
    std::vector<std::vector<float>> results(3, std::vector<float>(kCount, 1.0f));
    std::byte* outputs[] = {bytes(results[0]), bytes(results[1]), bytes(results[2])};
    ASSERT_TRUE(reduce_many({.operands = operands,
                             .outputs = outputs,
                             .element_count = kCount,
                             .stores = StoreKind::kNonTemporal,
                             .plain_outputs = plain_outputs})
                    .ok());
    for (const auto& result : results)
      EXPECT_EQ(std::memcmp(result.data(), sum.data(), kCount * 4), 0) << plain_outputs;
  }
}

TEST(Reductions, TellTheTreeFromOtherOrders) {
  // Near 2^24 a float has no room for 1: only (a b)(c d) keeps both ones, and a left fold loses them.
  std::vector<float> a{0x1p24f};
  std::vector<float> b{0.0f};
  std::vector<float> one{1.0f};
  std::vector<float> result{0.0f};
  const std::byte* operands[] = {bytes(a), bytes(b), bytes(one), bytes(one)};
  std::byte* outputs[] = {bytes(result)};
  ASSERT_TRUE(reduce_many({.operands = operands, .outputs = outputs, .element_count = 1}).ok());
  EXPECT_EQ(result[0], 0x1p24f + 2.0f);
}

}  // namespace
}  // namespace rondo::comm
