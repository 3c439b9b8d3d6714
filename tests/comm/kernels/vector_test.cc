// The vector loops against the plain reference, bit for bit, on every instruction set that this CPU has.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <string>
#include <vector>

#include "comm/kernels/kernels.h"
#include "comm/kernels/reference.h"
#include "tests/comm/kernels/elements.h"

namespace rondo::comm {
namespace {

constexpr int64_t kCounts[] = {0, 1, 2, 15, 16, 17, 63, 64, 65, 131, 256, 257, 1031};

std::vector<const std::byte*> pointers(const std::vector<Elements>& operands) {
  std::vector<const std::byte*> result;
  for (const Elements& operand : operands) result.push_back(operand.data());
  return result;
}

// One reduction with the reference's answer; check() runs the vector loops on fresh outputs.
class Case {
 public:
  Case(DType type, ReduceOp op, size_t operand_count, int64_t element_count)
      : type_(type), op_(op), count_(element_count), expected_(type, element_count, 0) {
    for (size_t i = 0; i < operand_count; ++i) operands_.push_back(make_elements(type, element_count, i));
    const std::array outputs{expected_.data()};
    const auto from = pointers(operands_);
    EXPECT_TRUE(reference::reduce_many(request(from, outputs, StoreKind::kPlain)).ok());
  }

  void check(const std::string& target) const {
    for (const StoreKind stores : {StoreKind::kPlain, StoreKind::kNonTemporal}) {
      check_apart(target, stores);
      check_in_place(target, stores);
    }
  }

 private:
  ReduceMany request(const std::vector<const std::byte*>& from, std::span<std::byte* const> to,
                     StoreKind stores) const {
    return {.dtype = type_,
            .op = op_,
            .operands = from,
            .divisor = 3,
            .outputs = to,
            .element_count = count_,
            .stores = stores};
  }

  // Three outputs: two that share the place of their lines, and one that does not.
  void check_apart(const std::string& target, StoreKind stores) const {
    Elements first(type_, count_, 1);
    Elements second(type_, count_, 1);
    Elements third(type_, count_, 2);
    const std::array outputs{first.data(), second.data(), third.data()};
    ASSERT_TRUE(reduce_many(request(pointers(operands_), outputs, stores)).ok());
    for (const Elements* output : {&first, &second, &third}) {
      ASSERT_TRUE(output->same_bits(expected_)) << describe(target, *output);
      ASSERT_TRUE(output->guards_are_whole()) << describe(target, *output);
    }
  }

  // The last operand is an output too.
  void check_in_place(const std::string& target, StoreKind stores) const {
    Elements last = make_elements(type_, count_, operands_.size() - 1);
    auto from = pointers(operands_);
    from.back() = last.data();
    const std::array outputs{last.data()};
    ASSERT_TRUE(reduce_many(request(from, outputs, stores)).ok());
    ASSERT_TRUE(last.same_bits(expected_)) << "in place: " << describe(target, last);
    ASSERT_TRUE(last.guards_are_whole()) << describe(target, last);
  }

  std::string describe(const std::string& target, const Elements& got) const {
    const size_t width = byte_width(type_);
    size_t at = 0;
    while (at < expected_.byte_count() && got.data()[at] == expected_.data()[at]) ++at;
    const auto hex = [&](const std::byte* element) {
      std::string text;
      for (size_t i = width; i > 0; --i) {
        constexpr char kDigits[] = "0123456789abcdef";
        text += kDigits[std::to_integer<int>(element[i - 1]) >> 4];
        text += kDigits[std::to_integer<int>(element[i - 1]) & 15];
      }
      return text;
    };
    std::ostringstream text;
    text << target << " " << name(op_) << " of " << name(type_) << ", " << operands_.size() << " operands of "
         << count_;
    if (at < expected_.byte_count()) {
      const size_t element = at / width * width;
      text << ", element " << at / width << ": got " << hex(got.data() + element) << ", reference "
           << hex(expected_.data() + element) << ", operands";
      for (const Elements& operand : operands_) text << " " << hex(operand.data() + element);
    }
    return text.str();
  }

  DType type_;
  ReduceOp op_;
  int64_t count_;
  std::vector<Elements> operands_;
  Elements expected_;
};

class EveryType : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Vectors, EveryType, testing::ValuesIn(kAllTypes),
                         [](const auto& tested) { return std::string(name(tested.param)); });

TEST_P(EveryType, GiveTheBitsOfTheReferenceOnEveryInstructionSet) {
  for (const ReduceOp op : kAllOps) {
    if (!supports(GetParam(), op)) continue;
    for (const size_t operands : {1, 2, 3, 4, 5, 7, 8, 9, 16, 17}) {
      for (const int64_t count : kCounts) {
        const Case tested(GetParam(), op, operands, count);
        for_each_target([&](const std::string& target) { tested.check(target); });
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Vectors, CoverTheInstructionSetsThatAreBuiltAndThere) {
  const auto seen = for_each_target([](const std::string&) {});
  EXPECT_NE(std::find(seen.begin(), seen.end(), "SCALAR"), seen.end());
  // What is chosen without a test's hand is the best of them.
  EXPECT_EQ(std::string(kernel_target()), seen.front());
}

// A power of two is multiplied by its reciprocal when that is exact; the reference always divides.
TEST(Vectors, DivideByEveryKindOfDivisorAsTheReferenceDoes) {
  constexpr double kDivisors[] = {1,       2,       3,        4,        -8,        0.25,     1.5,  1024,   0x1p127,
                                  0x1p128, 0x1p149, 0x1p-127, 0x1p-149, 0x1p-1022, 0x1p1023, 1e30, 1e-320, 0};
  for (const DType type : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
    std::vector<Elements> operands;
    for (size_t i = 0; i < 3; ++i) operands.push_back(make_elements(type, 530, i));
    const auto from = pointers(operands);
    for (const double divisor : kDivisors) {
      ReduceMany request{
          .dtype = type, .op = ReduceOp::kWeightedMean, .operands = from, .divisor = divisor, .element_count = 530};
      Elements expected(type, 530, 0);
      const std::array reference_outputs{expected.data()};
      request.outputs = reference_outputs;
      ASSERT_TRUE(reference::reduce_many(request).ok());
      for_each_target([&](const std::string& target) {
        Elements got(type, 530, 1);
        const std::array outputs{got.data()};
        request.outputs = outputs;
        ASSERT_TRUE(reduce_many(request).ok());
        EXPECT_TRUE(got.same_bits(expected)) << target << " " << name(type) << " / " << divisor;
      });
    }
  }
}

// Any type, reduction, pattern of absent operands (more than fit without allocation, too), count and store kind.
RC_GTEST_PROP(Vectors, GiveTheBitsOfTheReferenceForAnyRequest, ()) {
  const DType type = *rc::gen::elementOf(std::vector<DType>(std::begin(kAllTypes), std::end(kAllTypes)));
  const auto built = [&](ReduceOp op) { return supports(type, op); };
  const ReduceOp op =
      *rc::gen::suchThat(rc::gen::elementOf(std::vector<ReduceOp>(std::begin(kAllOps), std::end(kAllOps))), built);
  const auto present =
      *rc::gen::container<std::vector<bool>>(*rc::gen::inRange<size_t>(1, 90), rc::gen::arbitrary<bool>());
  const auto count = *rc::gen::inRange<int64_t>(0, 300);
  const auto stores = *rc::gen::element(StoreKind::kPlain, StoreKind::kNonTemporal);
  std::vector<Elements> operands;
  std::vector<const std::byte*> from;
  for (size_t i = 0; i < present.size(); ++i) {
    operands.push_back(make_elements(type, count, i));
    from.push_back(present[i] ? operands.back().data() : nullptr);
  }
  Elements expected(type, count, 0);
  const std::array reference_outputs{expected.data()};
  ReduceMany request{.dtype = type,
                     .op = op,
                     .operands = from,
                     .divisor = 5,
                     .outputs = reference_outputs,
                     .element_count = count,
                     .stores = stores};
  RC_ASSERT(reference::reduce_many(request).ok());
  for_each_target([&](const std::string& target) {
    Elements got(type, count, present.size() % 5);
    const std::array outputs{got.data()};
    request.outputs = outputs;
    RC_ASSERT(reduce_many(request).ok());
    if (!got.same_bits(expected)) RC_FAIL(target + " differs from the reference");
    RC_ASSERT(got.guards_are_whole());
  });
}

}  // namespace
}  // namespace rondo::comm
