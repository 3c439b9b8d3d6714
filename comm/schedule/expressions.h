/// Ordered sums as numbers: equal numbers mean equal operands in equal order and nesting. The checker computes with
/// them instead of with data. Not thread-safe; one table a check.
#pragma once

#include <cstddef>
#include <cstdint>
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
  Expression sum(Expression left, Expression right) { return intern(left, right); }
  /// `of`, complete and divided.
  Expression final(Expression of) { return intern(of, kNothing); }

  bool is_final(Expression e) const { return at(e).final; }
  /// What was made final; `e` itself if it is not.
  Expression before_final(Expression e) const { return at(e).final ? at(e).left : e; }

  /// A rank that both hold, or -1.
  int shared_rank(Expression a, Expression b) const;
  /// A rank that `e` does not hold, or -1.
  int missing_rank(Expression e) const;

  /// T(lo, hi) of the canonical order.
  Expression canonical(int lo, int hi);
  /// first + (first + 1) + ... + (first - 1), from the left, modulo the number of ranks.
  Expression rotation(int first);

 private:
  struct Node {
    Expression left = kNothing;
    bool final = false;
    std::vector<uint64_t> ranks;  // one bit a rank
  };
  const Node& at(Expression e) const { return nodes_[static_cast<std::size_t>(e)]; }
  Expression intern(Expression left, Expression right);

  const int world_size_;
  std::vector<Node> nodes_;
  std::unordered_map<uint64_t, Expression> known_;  // (left, right) -> number
};

}  // namespace rondo::comm
