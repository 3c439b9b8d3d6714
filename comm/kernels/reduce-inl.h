/// The loops behind reduce_many(), for one instruction set: operations, trees, and the walk over the elements. Included
/// once for each of them by Highway's foreach_target.h, hence the guard that toggles in place of #pragma once.
///
/// Note [Why vectors change no bits]: a lane holds one element and sees the operations that the reference does on that
/// element, in the same order. The end of a range goes through a vector filled up with zeros, never through other code.
#if defined(RONDO_COMM_KERNELS_REDUCE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RONDO_COMM_KERNELS_REDUCE_INL_H
#undef RONDO_COMM_KERNELS_REDUCE_INL_H
#else
#define RONDO_COMM_KERNELS_REDUCE_INL_H
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "comm/kernels/elements-inl.h"
#include "comm/kernels/program.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::comm::HWY_NAMESPACE {

struct Sum {
  static constexpr bool kArithmetic = true;
  template <class V>
  static HWY_INLINE V combine(V a, V b) {
    return hn::Add(a, b);
  }
};

struct Product {
  static constexpr bool kArithmetic = true;
  template <class V>
  static HWY_INLINE V combine(V a, V b) {
#if HWY_TARGET != HWY_SCALAR
    // No CPU multiplies bytes: the even ones and the odd ones as 16 bits.
    if constexpr (sizeof(hn::TFromV<V>) == 1) {
      const hn::DFromV<V> d;
      const hn::RepartitionToWide<hn::DFromV<V>> wide;
      const auto a16 = hn::BitCast(wide, a);
      const auto b16 = hn::BitCast(wide, b);
      const auto even = hn::And(hn::Mul(a16, b16), hn::Set(wide, 0x00ff));
      const auto odd = hn::ShiftLeft<8>(hn::Mul(hn::ShiftRight<8>(a16), hn::ShiftRight<8>(b16)));
      return hn::BitCast(d, hn::Or(even, odd));
    } else {
      return hn::Mul(a, b);
    }
#else
    return hn::Mul(a, b);
#endif
  }
};

// Keeps `a` where it is a NaN or `keep` says so.
template <class V, class M>
HWY_INLINE V left_unless(M keep, V a, V b) {
  return hn::IfThenElse(hn::Or(keep, hn::IsNaN(a)), a, b);
}

struct Min {
  static constexpr bool kArithmetic = false;
  template <class V>
  static HWY_INLINE V combine(V a, V b) {
    if constexpr (hwy::IsFloat<hn::TFromV<V>>())
      return left_unless(hn::Ge(b, a), a, b);
    else
      return hn::Min(a, b);
  }
};

struct Max {
  static constexpr bool kArithmetic = false;
  template <class V>
  static HWY_INLINE V combine(V a, V b) {
    if constexpr (hwy::IsFloat<hn::TFromV<V>>())
      return left_unless(hn::Le(b, a), a, b);
    else
      return hn::Max(a, b);
  }
};

struct BitAnd {
  static constexpr bool kArithmetic = false;
  template <class V>
  static HWY_INLINE V combine(V a, V b) {
    return hn::And(a, b);
  }
};

struct BitOr {
  static constexpr bool kArithmetic = false;
  template <class V>
  static HWY_INLINE V combine(V a, V b) {
    return hn::Or(a, b);
  }
};

template <class Op, class V>
HWY_INLINE Quad<V> combine(const Quad<V>& a, const Quad<V>& b) {
  return {Op::combine(a.v0, b.v0), Op::combine(a.v1, b.v1), Op::combine(a.v2, b.v2), Op::combine(a.v3, b.v3)};
}

// What comes after the tree: the factor of a mean, and one NaN for all.
template <class Op, class D>
class Finish {
 public:
  using V = hn::Vec<D>;
  static constexpr bool kActs = Op::kArithmetic && hwy::IsFloat<hn::TFromD<D>>();

  HWY_INLINE Finish(D d, const Program& program)
      : scaling_(program.scaling), factor_(hn::Set(d, static_cast<hn::TFromD<D>>(program.factor))) {}

  HWY_INLINE V operator()(D d, V v) const {
    if constexpr (kActs) {
      if constexpr (std::is_same_v<Op, Sum>) {
        if (scaling_ == Scaling::kMultiply) v = hn::Mul(v, factor_);
        if (scaling_ == Scaling::kDivide) v = hn::Div(v, factor_);
      }
      return hn::IfThenElse(hn::IsNaN(v), canonical_nan(d), v);
    } else {
      return v;
    }
  }
  HWY_INLINE Quad<V> operator()(D d, const Quad<V>& quad) const {
    return {(*this)(d, quad.v0), (*this)(d, quad.v1), (*this)(d, quad.v2), (*this)(d, quad.v3)};
  }

 private:
  static HWY_INLINE V canonical_nan(D d) {
    const hn::RebindToUnsigned<D> du;
    if constexpr (sizeof(hn::TFromD<D>) == 8) {
      return hn::BitCast(d, hn::Set(du, 0x7ff8000000000000u));
    } else {
      return hn::BitCast(d, hn::Set(du, 0x7fc00000u));
    }
  }

  const Scaling scaling_;
  const V factor_;
};

// The accumulators of a stretch of elements: a quad, or one vector of which the first lanes count.
template <class E, class D>
struct WholeQuad {
  using Tag = D;
  using Value = Quad<hn::Vec<D>>;
  static constexpr size_t kVectors = 4;
  D d;
  HWY_INLINE Value load(const std::byte* at) const { return E::load_quad(d, at); }
  HWY_INLINE Value load_waiting(const hn::TFromD<D>* at) const {
    return Same<hn::TFromD<D>>::load_quad(d, reinterpret_cast<const std::byte*>(at));
  }
  HWY_INLINE void store_waiting(const Value& value, hn::TFromD<D>* at) const {
    Same<hn::TFromD<D>>::store(d, value, reinterpret_cast<std::byte*>(at));
  }
};
template <class E, class D>
struct SomeLanes {
  using Tag = D;
  using Value = hn::Vec<D>;
  static constexpr size_t kVectors = 1;
  D d;
  size_t count;
  HWY_INLINE Value load(const std::byte* at) const { return E::load_lanes(d, at, count); }
  HWY_INLINE Value load_waiting(const hn::TFromD<D>* at) const { return hn::Load(d, at); }
  HWY_INLINE void store_waiting(const Value& value, hn::TFromD<D>* at) const { hn::Store(value, d, at); }
};

template <class Op, class V>
HWY_INLINE V combine(const V& a, const V& b) {
  return Op::combine(a, b);
}

// What a step pushes.
template <class Op, class Stretch>
HWY_INLINE typename Stretch::Value subtree(const Stretch& stretch, const Step& step, size_t offset) {
  const auto first = stretch.load(step.operands[0] + offset);
  if (step.operand_count == 1) return first;
  const auto pair = combine<Op>(first, stretch.load(step.operands[1] + offset));
  if (step.operand_count == 2) return pair;
  const auto third = stretch.load(step.operands[2] + offset);
  if (step.operand_count == 3) return combine<Op>(pair, third);
  return combine<Op>(pair, combine<Op>(third, stretch.load(step.operands[3] + offset)));
}

// The whole tree. Subtrees that wait lie on a stack in memory, the topmost one in registers.
template <class Op, class Stretch>
HWY_INLINE typename Stretch::Value tree(const Stretch& stretch, std::span<const Step> steps, size_t offset) {
  using D = typename Stretch::Tag;
  using T = hn::TFromD<D>;
  const size_t room = Stretch::kVectors * hn::Lanes(D());
  HWY_ALIGN T stack[kDeepestStack * Stretch::kVectors * hn::MaxLanes(D())];
  T* top = stack;
  for (size_t next = 0;;) {
    const Step& step = steps[next];
    auto value = subtree<Op>(stretch, step, offset);
    for (uint32_t join = 0; join < step.joins; ++join) {
      top -= room;
      value = combine<Op>(stretch.load_waiting(top), value);
    }
    if (++next == steps.size()) return value;
    stretch.store_waiting(value, top);
    top += room;
  }
}

// Elements before the first line of 64 bytes that begins in the first output.
template <class E>
HWY_INLINE size_t elements_before_line(const Program& program) {
  const auto address = reinterpret_cast<uintptr_t>(program.outputs[0]);
  return std::min(program.element_count, (64 - address % 64) % 64 / E::kBytes);
}

// [begin, end) a vector at a time, with plain stores. Called for the ends only, so that one copy of it is enough.
template <class E, class Op, class D>
HWY_NOINLINE void walk_singly(D d, const Program& program, const Finish<Op, D>& finish, size_t begin, size_t end) {
  for (size_t at = begin; at < end; at += hn::Lanes(d)) {
    const size_t count = std::min(hn::Lanes(d), end - at);
    const SomeLanes<E, D> stretch{d, count};
    const auto value = finish(d, tree<Op>(stretch, program.steps, at * E::kBytes));
    for (std::byte* output : program.outputs) {
      E::template store_lanes<!Finish<Op, D>::kActs>(d, value, output + at * E::kBytes, count);
    }
  }
}

template <class E, class Op>
void walk(const Program& program) {
  using D = hn::ScalableTag<typename E::Accumulator>;
  const D d;
  const Finish<Op, D> finish(d, program);
  const WholeQuad<E, D> stretch{d};
  const bool streams = program.streamed > 0;
  const size_t step = 4 * hn::Lanes(d);
  size_t at = streams ? elements_before_line<E>(program) : 0;
  walk_singly<E>(d, program, finish, 0, at);
  for (; program.element_count - at >= step; at += step) {
    const size_t offset = at * E::kBytes;
    const auto packed = E::template pack<!finish.kActs>(d, finish(d, tree<Op>(stretch, program.steps, offset)));
    for (size_t i = 0; i < program.outputs.size(); ++i) {
      std::byte* to = program.outputs[i] + offset;
      if (i < program.streamed && reinterpret_cast<uintptr_t>(to) % 64 == 0) {
        E::stream(d, packed, to);
      } else {
        E::store(d, packed, to);
      }
    }
  }
  walk_singly<E>(d, program, finish, at, program.element_count);
  if (streams) hwy::FlushStream();
}

// For types whose sums, products and order need different lanes (integers): `U` wraps, `E` compares.
template <class E, class U>
void run_ordered(const Program& program) {
  switch (program.op) {
    case ReduceOp::kSum:
    case ReduceOp::kWeightedMean:
      return walk<U, Sum>(program);
    case ReduceOp::kProduct:
      return walk<U, Product>(program);
    case ReduceOp::kMin:
      return walk<E, Min>(program);
    case ReduceOp::kMax:
      return walk<E, Max>(program);
    case ReduceOp::kBitAnd:
    case ReduceOp::kBitOr:
      return;
  }
}

}  // namespace rondo::comm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RONDO_COMM_KERNELS_REDUCE_INL_H
