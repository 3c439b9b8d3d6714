#include "comm/schedule/expressions.h"

#include <bit>
#include <cstddef>

namespace rondo::comm {

Expressions::Expressions(int world_size) : world_size_(world_size) {
  const auto words = static_cast<std::size_t>((world_size + 63) / 64);
  for (int rank = 0; rank < world_size; ++rank) {
    Node node{.ranks = std::vector<uint64_t>(words, 0)};
    node.ranks[static_cast<std::size_t>(rank) / 64] = uint64_t{1} << (rank % 64);
    nodes_.push_back(std::move(node));
  }
}

int Expressions::shared_rank(Expression a, Expression b) const {
  for (std::size_t word = 0; word < at(a).ranks.size(); ++word) {
    if (const uint64_t both = at(a).ranks[word] & at(b).ranks[word]; both != 0) {
      return static_cast<int>(word) * 64 + std::countr_zero(both);
    }
  }
  return -1;
}

int Expressions::missing_rank(Expression e) const {
  for (int rank = 0; rank < world_size_; ++rank) {
    if ((at(e).ranks[static_cast<std::size_t>(rank) / 64] >> (rank % 64) & 1) == 0) return rank;
  }
  return -1;
}

Expression Expressions::canonical(int lo, int hi) {
  if (hi - lo == 1) return leaf(lo);
  const int half = static_cast<int>(std::bit_floor(static_cast<unsigned>(hi - lo - 1)));
  const Expression left = canonical(lo, lo + half);
  return sum(left, canonical(lo + half, hi));
}

Expression Expressions::rotation(int first) {
  Expression result = leaf(first);
  for (int step = 1; step < world_size_; ++step) result = sum(result, leaf((first + step) % world_size_));
  return result;
}

Expression Expressions::intern(Expression left, Expression right) {
  const uint64_t key = static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  const auto [found, is_new] = known_.try_emplace(key, static_cast<Expression>(nodes_.size()));
  if (is_new) {
    Node node{.left = left, .final = right == kNothing, .ranks = at(left).ranks};
    if (right != kNothing) {
      for (std::size_t word = 0; word < node.ranks.size(); ++word) node.ranks[word] |= at(right).ranks[word];
    }
    nodes_.push_back(std::move(node));
  }
  return found->second;
}

}  // namespace rondo::comm
