/// Ordered sums as numbers: equal numbers mean equal operands in equal order and nesting. The checker computes with
/// them instead of with data. Not thread-safe; one table a check.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace rondo::comm {

using Expression = int;
inline constexpr Expression kNothing = -1;  // never written

class Expressions {
 public:
  explicit Expressions(int world_size);

  /// What `rank` contributes: the leaf's number is the rank.
  static Expression leaf(int rank) { return rank; }
  Expression sum(Expression left, Expression right) { return intern({Kind::kSum, left, right}); }
  /// `of`, complete and divided.
  Expression final(Expression of) { return intern({Kind::kFinal, of, kNothing}); }
  /// `of`, rounded to the wire type; rounding twice is rounding once.
  Expression narrowed(Expression of);
  /// The canonical tree over `operands`, at least one.
  Expression canonical(std::span<const Expression> operands);
  /// From the left.
  Expression linear(std::span<const Expression> operands);

  bool is_final(Expression e) const { return node(unrounded(e)).kind == Kind::kFinal; }
  bool is_narrowed(Expression e) const { return node(e).kind == Kind::kNarrowed; }
  /// What was rounded last; `e` itself if nothing was.
  Expression unrounded(Expression e) const { return is_narrowed(e) ? node(e).left : e; }
  /// A rank that both hold, or -1.
  int shared_rank(Expression a, Expression b) const;
  /// A rank that `e` does not hold, or -1.
  int missing_rank(Expression e) const;
  /// A rank whose operand was never rounded on its way into `e`, or -1.
  int wide_operand(Expression e) const;

 private:
  enum class Kind : uint8_t { kLeaf, kSum, kFinal, kNarrowed };
  struct Node {
    Kind kind = Kind::kLeaf;
    Expression left = kNothing;
    Expression right = kNothing;
    bool operator==(const Node&) const = default;
  };
  struct Hash {
    size_t operator()(const Node& node) const;
  };
  const Node& node(Expression e) const { return nodes_[static_cast<size_t>(e)]; }
  std::span<const uint64_t> ranks(Expression e) const {
    return {ranks_.data() + static_cast<size_t>(e) * words_, words_};
  }
  Expression intern(const Node& node);

  const int world_size_;
  const size_t words_;  // of 64 ranks each
  std::vector<Node> nodes_;
  std::vector<uint64_t> ranks_;  // words_ a node, one bit a rank: whom it holds
  std::unordered_map<Node, Expression, Hash> known_;
};

}  // namespace rondo::comm
