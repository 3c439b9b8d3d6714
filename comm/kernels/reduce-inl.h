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

// Trees of known shape stay in registers.
template <class E, class Op>
struct TwoLeaves {
  template <class D>
  static HWY_INLINE Quad<hn::Vec<D>> quad(D d, std::span<const Leaf> leaves, size_t offset) {
    return combine<Op>(load_quad<E>(d, leaves[0].data + offset), load_quad<E>(d, leaves[1].data + offset));
  }
};

// Any tree: subtrees that wait lie on a stack in memory, the topmost one in registers.
template <class E, class Op>
struct AnyTree {
  template <class D>
  static HWY_INLINE Quad<hn::Vec<D>> quad(D d, std::span<const Leaf> leaves, size_t offset) {
    using T = hn::TFromD<D>;
    const size_t step = 4 * hn::Lanes(d);
    HWY_ALIGN T stack[kDeepestStack * 4 * hn::MaxLanes(d)];
    T* top = stack;
    auto value = load_quad<E>(d, leaves[0].data + offset);
    for (const Leaf& leaf : leaves.subspan(1)) {
      Same<T>::store(d, value, reinterpret_cast<std::byte*>(top));
      top += step;
      value = load_quad<E>(d, leaf.data + offset);
      for (uint32_t join = 0; join < leaf.joins; ++join) {
        top -= step;
        value = combine<Op>(load_quad<Same<T>>(d, reinterpret_cast<const std::byte*>(top)), value);
      }
    }
    return value;
  }
};

// One vector, of which `count` lanes count.
template <class E, class Op, class D>
HWY_INLINE hn::Vec<D> lanes_of_tree(D d, std::span<const Leaf> leaves, size_t offset, size_t count) {
  using T = hn::TFromD<D>;
  HWY_ALIGN T stack[kDeepestStack * hn::MaxLanes(d)];
  T* top = stack;
  auto value = E::load_lanes(d, leaves[0].data + offset, count);
  for (const Leaf& leaf : leaves.subspan(1)) {
    hn::Store(value, d, top);
    top += hn::Lanes(d);
    value = E::load_lanes(d, leaf.data + offset, count);
    for (uint32_t join = 0; join < leaf.joins; ++join) {
      top -= hn::Lanes(d);
      value = Op::combine(hn::Load(d, top), value);
    }
  }
  return value;
}

// Elements before the first line of 64 bytes that begins in the first output.
template <class E>
HWY_INLINE size_t elements_before_line(const Program& program) {
  const auto address = reinterpret_cast<uintptr_t>(program.outputs[0]);
  return std::min(program.element_count, (64 - address % 64) % 64 / E::kBytes);
}

// [begin, end) a vector at a time, with plain stores.
template <class E, class Op, class D>
HWY_INLINE void walk_singly(D d, const Program& program, const Finish<Op, D>& finish, size_t begin, size_t end) {
  for (size_t at = begin; at < end; at += hn::Lanes(d)) {
    const size_t count = std::min(hn::Lanes(d), end - at);
    const auto value = finish(d, lanes_of_tree<E, Op>(d, program.leaves, at * E::kBytes, count));
    for (std::byte* output : program.outputs) {
      E::template store_lanes<!Finish<Op, D>::kActs>(d, value, output + at * E::kBytes, count);
    }
  }
}

template <class E, class Op, class Tree>
void walk(const Program& program) {
  const hn::ScalableTag<typename E::Accumulator> d;
  using D = decltype(d);
  const Finish<Op, std::remove_const_t<D>> finish(d, program);
  const bool streams = program.stores == StoreKind::kNonTemporal;
  const size_t step = 4 * hn::Lanes(d);
  size_t at = streams ? elements_before_line<E>(program) : 0;
  walk_singly<E>(d, program, finish, 0, at);
  for (; program.element_count - at >= step; at += step) {
    const size_t offset = at * E::kBytes;
    const auto packed = E::template pack<!finish.kActs>(d, finish(d, Tree::quad(d, program.leaves, offset)));
    for (std::byte* output : program.outputs) {
      if (streams && reinterpret_cast<uintptr_t>(output + offset) % 64 == 0) {
        E::stream(d, packed, output + offset);
      } else {
        E::store(d, packed, output + offset);
      }
    }
  }
  walk_singly<E>(d, program, finish, at, program.element_count);
  if (streams) hwy::FlushStream();
}

template <class E, class Op>
void run_operation(const Program& program) {
  if (program.leaves.size() == 2) return walk<E, Op, TwoLeaves<E, Op>>(program);
  walk<E, Op, AnyTree<E, Op>>(program);
}

// For types whose sums, products and order need different lanes (integers): `U` wraps, `E` compares.
template <class E, class U>
void run_ordered(const Program& program) {
  switch (program.op) {
    case ReduceOp::kSum:
    case ReduceOp::kWeightedMean:
      return run_operation<U, Sum>(program);
    case ReduceOp::kProduct:
      return run_operation<U, Product>(program);
    case ReduceOp::kMin:
      return run_operation<E, Min>(program);
    case ReduceOp::kMax:
      return run_operation<E, Max>(program);
    case ReduceOp::kBitAnd:
    case ReduceOp::kBitOr:
      return;
  }
}

}  // namespace rondo::comm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RONDO_COMM_KERNELS_REDUCE_INL_H
