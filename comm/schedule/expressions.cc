#include "comm/schedule/expressions.h"

#include <bit>

namespace rondo::comm {

Expressions::Expressions(int world_size)
    : world_size_(world_size),
      words_(static_cast<size_t>((world_size + 63) / 64)),
      nodes_(static_cast<size_t>(world_size)),
      ranks_(static_cast<size_t>(world_size) * words_) {
  for (size_t rank = 0; rank < nodes_.size(); ++rank) ranks_[rank * words_ + rank / 64] = uint64_t{1} << (rank % 64);
}

size_t Expressions::Hash::operator()(const Node& node) const {
  const uint64_t pair = static_cast<uint64_t>(node.left) << 32 | static_cast<uint32_t>(node.right);
  return static_cast<size_t>((pair ^ static_cast<uint64_t>(node.kind) << 62) * 0x9e3779b97f4a7c15u >> 16);
}

Expression Expressions::narrowed(Expression of) {
  return is_narrowed(of) ? of : intern({Kind::kNarrowed, of, kNothing});
}

Expression Expressions::canonical(std::span<const Expression> operands) {
  if (operands.size() == 1) return operands[0];
  const size_t half = std::bit_floor(operands.size() - 1);
  const Expression left = canonical(operands.first(half));
  return sum(left, canonical(operands.subspan(half)));
}

Expression Expressions::linear(std::span<const Expression> operands) {
  Expression result = operands[0];
  for (const Expression operand : operands.subspan(1)) result = sum(result, operand);
  return result;
}

int Expressions::shared_rank(Expression a, Expression b) const {
  for (size_t word = 0; word < words_; ++word) {
    if (const uint64_t both = ranks(a)[word] & ranks(b)[word]; both != 0) {
      return static_cast<int>(word) * 64 + std::countr_zero(both);
    }
  }
  return -1;
}

int Expressions::missing_rank(Expression e) const {
  for (int rank = 0; rank < world_size_; ++rank) {
    if ((ranks(e)[static_cast<size_t>(rank) / 64] >> (rank % 64) & 1) == 0) return rank;
  }
  return -1;
}

int Expressions::wide_operand(Expression e) const {
  const Node& self = node(e);
  switch (self.kind) {
    case Kind::kLeaf:
      return e;
    case Kind::kSum:
      if (const int left = wide_operand(self.left); left >= 0) return left;
      return wide_operand(self.right);
    case Kind::kFinal:
      return wide_operand(self.left);
    case Kind::kNarrowed:
      return node(self.left).kind == Kind::kLeaf ? -1 : wide_operand(self.left);
  }
  return -1;
}

Expression Expressions::intern(const Node& made) {
  const auto [found, is_new] = known_.try_emplace(made, static_cast<Expression>(nodes_.size()));
  if (is_new) {
    nodes_.push_back(made);
    for (size_t word = 0; word < words_; ++word) {
      const uint64_t right = made.right == kNothing ? 0 : ranks(made.right)[word];
      ranks_.push_back(ranks(made.left)[word] | right);
    }
  }
  return found->second;
}

}  // namespace rondo::comm
