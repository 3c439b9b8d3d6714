#include "comm/kernels/program.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace rondo::comm {
namespace {

std::string joined(std::string left, const std::string& right) {
  left.insert(0, 1, '(').append(1, ' ').append(right).append(1, ')');
  return left;
}

// The definition, word for word: p is the largest power of two below hi - lo, and a side without operands vanishes.
std::string canonical(const std::vector<bool>& present, size_t lo, size_t hi) {
  if (hi - lo == 1) return present[lo] ? std::to_string(lo) : "";
  size_t p = 1;
  while (2 * p < hi - lo) p *= 2;
  const std::string left = canonical(present, lo, lo + p);
  const std::string right = canonical(present, lo + p, hi);
  if (left.empty() || right.empty()) return left + right;
  return joined(left, right);
}

// What the loops do with the steps, on expressions in place of numbers. `deepest` is how many subtrees waited at most.
std::string walked(std::span<const Step> steps, const std::byte* base, size_t* deepest) {
  std::vector<std::string> stack;
  for (const Step& step : steps) {
    std::vector<std::string> names;
    for (uint32_t i = 0; i < step.operand_count; ++i) names.push_back(std::to_string(step.operands[i] - base));
    std::string value = names[0];
    if (step.operand_count >= 2) value = joined(names[0], names[1]);
    if (step.operand_count == 3) value = joined(value, names[2]);
    if (step.operand_count == 4) value = joined(value, joined(names[2], names[3]));
    *deepest = std::max(*deepest, stack.size());
    for (uint32_t join = 0; join < step.joins; ++join) {
      value = joined(stack.back(), value);
      stack.pop_back();
    }
    stack.push_back(value);
  }
  return stack.size() == 1 ? stack[0] : "not one tree";
}

// Plans for a pattern of present operands and compares; empty when the tree is the canonical one.
std::string difference(const std::vector<bool>& present) {
  std::vector<std::byte> places(present.size() + 1);
  std::vector<const std::byte*> operands;
  for (size_t i = 0; i < present.size(); ++i) operands.push_back(present[i] ? &places[i] : nullptr);
  std::vector<Step> room(present.size());
  const auto steps = plan_tree(operands, room);
  const std::string expected = present.empty() ? "" : canonical(present, 0, present.size());
  if (expected.empty()) return steps.empty() ? "" : "steps without operands";
  size_t deepest = 0;
  const std::string got = walked(steps, places.data(), &deepest);
  if (got != expected) return got + " in place of " + expected;
  if (deepest > kDeepestStack || (size_t{1} << deepest) > 2 * present.size()) return "the stack is too deep";
  return "";
}

TEST(TreePlan, IsTheCanonicalTreeForEveryPatternOfAbsentOperandsUpToTwelve) {
  for (size_t n = 0; n <= 12; ++n) {
    for (uint32_t pattern = 0; pattern < (1u << n); ++pattern) {
      std::vector<bool> present;
      for (size_t i = 0; i < n; ++i) present.push_back((pattern >> i & 1) != 0);
      ASSERT_EQ(difference(present), "") << n << " operands, pattern " << pattern;
    }
  }
}

RC_GTEST_PROP(TreePlan, IsTheCanonicalTreeForManyOperands, ()) {
  const auto n = *rc::gen::inRange<size_t>(1, 300);
  const auto present = *rc::gen::container<std::vector<bool>>(n, rc::gen::arbitrary<bool>());
  RC_ASSERT(difference(present) == "");
}

TEST(TreePlan, ReadsFullGroupsOfFourInOneStep) {
  for (const size_t n : {4, 8, 16, 64}) {
    std::vector<std::byte> places(n);
    std::vector<const std::byte*> operands;
    for (const std::byte& place : places) operands.push_back(&place);
    std::vector<Step> room(n);
    EXPECT_EQ(plan_tree(operands, room).size(), n / 4);
  }
}

}  // namespace
}  // namespace rondo::comm
