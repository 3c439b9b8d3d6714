/// fp16 and bf16 as lanes of fp32, for one instruction set: the exact way up, and the way down with one rounding.
/// Included once for each of them by Highway's foreach_target.h, hence the guard that toggles in place of #pragma once.
///
/// `kMayBeNaN` false: a NaN, if there is one, is the canonical one already.
#if defined(RONDO_COMM_KERNELS_HALF_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RONDO_COMM_KERNELS_HALF_INL_H
#undef RONDO_COMM_KERNELS_HALF_INL_H
#else
#define RONDO_COMM_KERNELS_HALF_INL_H
#endif

#include <cstddef>
#include <cstdint>

#include "comm/kernels/elements-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::comm::HWY_NAMESPACE {

template <class V>
struct Two {
  V v0, v1;
};

// What F16C does, with integers, for CPUs without it. (Highway's own emulation knows neither infinities nor NaN, and
// cuts instead of rounding.) Not inlined: in every loop it would be most of the code.
template <class D>
HWY_NOINLINE hn::Vec<D> emulated_widen(D d, hn::Vec<hn::Rebind<uint16_t, D>> half) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto bits = hn::PromoteTo(du, half);
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7fffu));
  const auto sign = hn::ShiftLeft<16>(hn::Xor(bits, magnitude));
  const auto shifted = hn::ShiftLeft<13>(magnitude);
  const auto normal = hn::Add(shifted, hn::Set(du, (127u - 15u) << 23));
  // Below 2^-14 the bits count units of 2^-24.
  const auto units = hn::Mul(hn::ConvertTo(d, hn::BitCast(di, magnitude)), hn::Set(d, 0x1p-24f));
  const auto tiny = hn::Lt(hn::BitCast(di, magnitude), hn::Set(di, 0x400));
  const auto finite = hn::IfThenElse(hn::RebindMask(du, tiny), hn::BitCast(du, units), normal);
  const auto infinite = hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, 0x7bff));
  const auto nan = hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, 0x7c00));
  const auto quiet = hn::IfThenElseZero(hn::RebindMask(du, nan), hn::Set(du, 0x00400000u));
  const auto beyond = hn::Or(hn::Or(shifted, hn::Set(du, 0x7f800000u)), quiet);
  return hn::BitCast(d, hn::Or(hn::IfThenElse(hn::RebindMask(du, infinite), beyond, finite), sign));
}

template <class D>
HWY_NOINLINE hn::Vec<hn::Rebind<uint16_t, D>> emulated_narrow(D d, hn::Vec<D> v) {
  const hn::Rebind<uint16_t, D> d16;
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(du, v);
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7fffffffu));
  const auto sign = hn::ShiftRight<16>(hn::Xor(bits, magnitude));
  const auto ordered = hn::BitCast(di, magnitude);
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1u));
  const auto up = hn::Add(hn::Add(magnitude, hn::Set(du, 0xfffu)), odd);
  const auto normal = hn::ShiftRight<13>(hn::Sub(up, hn::Set(du, (127u - 15u) << 23)));
  // Beside 0.5 a unit in the last place is 2^-24: the addition rounds to it, to nearest, ties to even.
  const auto beside = hn::Add(hn::BitCast(d, magnitude), hn::Set(d, 0.5f));
  const auto denormal = hn::Sub(hn::BitCast(du, beside), hn::Set(du, 0x3f000000u));
  const auto tiny = hn::Lt(ordered, hn::Set(di, 0x38800000));
  const auto finite = hn::IfThenElse(hn::RebindMask(du, tiny), denormal, normal);
  const auto large = hn::Gt(ordered, hn::Set(di, 0x477fefff));
  const auto nan = hn::Gt(ordered, hn::Set(di, 0x7f800000));
  const auto payload = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 0x3ffu));
  const auto not_finite =
      hn::Or(hn::Set(du, 0x7c00u), hn::IfThenElseZero(hn::RebindMask(du, nan), hn::Or(payload, hn::Set(du, 0x200u))));
  return hn::TruncateTo(d16, hn::Or(hn::IfThenElse(hn::RebindMask(du, large), not_finite, finite), sign));
}

/// IEEE half precision. F16C does exactly what is wanted: nearest even, denormals whatever the mode says, NaN quiet.
struct Float16 {
  template <class D>
  using Bits = hn::Vec<hn::Rebind<uint16_t, D>>;

  template <class D>
  static HWY_INLINE hn::Vec<D> widen(D d, Bits<D> half) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
    const hn::Rebind<hwy::float16_t, D> d16;
    return hn::PromoteTo(d, hn::BitCast(d16, half));
#else
    return emulated_widen(d, half);
#endif
  }

  template <bool kMayBeNaN, class D>
  static HWY_INLINE Bits<D> narrow(D d, hn::Vec<D> v) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
    const hn::Rebind<uint16_t, D> d16;
    const hn::Rebind<hwy::float16_t, D> df16;
    return hn::BitCast(d16, hn::DemoteTo(df16, v));
#else
    return emulated_narrow(d, v);
#endif
  }

#if HWY_TARGET != HWY_SCALAR
  template <class D>
  static HWY_INLINE Two<hn::Vec<D>> load_two(D d, const std::byte* at) {
    const hn::Rebind<uint16_t, D> d16;
    const auto* from = reinterpret_cast<const uint16_t*>(at);
    return {widen(d, hn::LoadU(d16, from)), widen(d, hn::LoadU(d16, from + hn::Lanes(d)))};
  }
  template <bool kMayBeNaN, class D>
  static HWY_INLINE hn::Vec<hn::Repartition<uint16_t, D>> narrow_two(D d, Two<hn::Vec<D>> both) {
    return narrow_in_order<kMayBeNaN>(d, both);
  }
  template <bool kMayBeNaN, class D>
  static HWY_INLINE hn::Vec<hn::Repartition<uint16_t, D>> narrow_in_order(D d, Two<hn::Vec<D>> both) {
    return hn::Combine(hn::Repartition<uint16_t, D>(), narrow<kMayBeNaN>(d, both.v1), narrow<kMayBeNaN>(d, both.v0));
  }
#endif
};

/// The upper half of fp32. Rounded with integers: AVX512_BF16's own instruction flushes denormals, and Highway cuts.
struct BFloat16 {
  template <class D>
  using Bits = hn::Vec<hn::Rebind<uint16_t, D>>;

  template <class D>
  static HWY_INLINE hn::Vec<D> widen(D d, Bits<D> half) {
    const hn::RebindToUnsigned<D> du;
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, half)));
  }

  // The wanted 16 bits in the upper half of each lane. The canonical NaN comes through rounding as it is.
  template <bool kMayBeNaN, class D>
  static HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> rounded(D /*d*/, hn::Vec<D> v) {
    const hn::RebindToUnsigned<D> du;
    const auto bits = hn::BitCast(du, v);
    const auto is_odd = hn::TestBit(bits, hn::Set(du, 0x10000u));
    const auto up = hn::Add(bits, hn::IfThenElse(is_odd, hn::Set(du, 0x8000u), hn::Set(du, 0x7fffu)));
    if constexpr (!kMayBeNaN) return up;
    return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), hn::Or(bits, hn::Set(du, 0x00400000u)), up);
  }

  template <bool kMayBeNaN, class D>
  static HWY_INLINE Bits<D> narrow(D d, hn::Vec<D> v) {
    return hn::TruncateTo(hn::Rebind<uint16_t, D>(), hn::ShiftRight<16>(rounded<kMayBeNaN>(d, v)));
  }

#if HWY_TARGET != HWY_SCALAR
  // The even elements and the odd ones: a shift and a mask in place of two shuffles and two shifts.
  template <class D>
  static HWY_INLINE Two<hn::Vec<D>> load_two(D d, const std::byte* at) {
    const hn::RebindToUnsigned<D> du;
    const auto both = hn::BitCast(du, hn::LoadU(hn::Repartition<uint16_t, D>(), reinterpret_cast<const uint16_t*>(at)));
    return {hn::BitCast(d, hn::ShiftLeft<16>(both)), hn::BitCast(d, hn::And(both, hn::Set(du, 0xffff0000u)))};
  }
  template <bool kMayBeNaN, class D>
  static HWY_INLINE hn::Vec<hn::Repartition<uint16_t, D>> narrow_two(D d, Two<hn::Vec<D>> both) {
    const hn::Repartition<uint16_t, D> d16;
    return hn::OddEven(hn::BitCast(d16, rounded<kMayBeNaN>(d, both.v1)),
                       hn::BitCast(d16, hn::ShiftRight<16>(rounded<kMayBeNaN>(d, both.v0))));
  }
  template <bool kMayBeNaN, class D>
  static HWY_INLINE hn::Vec<hn::Repartition<uint16_t, D>> narrow_in_order(D d, Two<hn::Vec<D>> both) {
    const hn::Repartition<uint16_t, D> d16;
    return hn::ConcatOdd(d16, hn::BitCast(d16, rounded<kMayBeNaN>(d, both.v1)),
                         hn::BitCast(d16, rounded<kMayBeNaN>(d, both.v0)));
  }
#endif
};

/// 16-bit elements with fp32 accumulators.
template <class Format>
struct Half {
  using Accumulator = float;
  static constexpr size_t kBytes = sizeof(uint16_t);

  /// Lane by lane, as widen() and narrow() need it.
  template <class D>
  static HWY_INLINE Quad<hn::Vec<D>> load_in_order(D d, const std::byte* at) {
    const hn::Rebind<uint16_t, D> d16;
    const auto quad = Same<uint16_t>::load_quad(d16, at);
    return {Format::widen(d, quad.v0), Format::widen(d, quad.v1), Format::widen(d, quad.v2), Format::widen(d, quad.v3)};
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> load_lanes(D d, const std::byte* at, size_t count) {
    return Format::widen(d, load_some(hn::Rebind<uint16_t, D>(), at, count));
  }
  template <bool kMayBeNaN, class D>
  static HWY_INLINE void store_lanes(D d, hn::Vec<D> v, std::byte* at, size_t count) {
    store_some(hn::Rebind<uint16_t, D>(), Format::template narrow<kMayBeNaN>(d, v), at, count);
  }

#if HWY_TARGET == HWY_SCALAR
  template <class D>
  static HWY_INLINE Quad<hn::Vec<D>> load_quad(D d, const std::byte* at) {
    return load_in_order(d, at);
  }
  template <class D>
  using Packed = Quad<hn::Vec<hn::Rebind<uint16_t, D>>>;
  template <bool kMayBeNaN, class D>
  static HWY_INLINE Packed<D> pack(D d, const Quad<hn::Vec<D>>& quad) {
    return {Format::template narrow<kMayBeNaN>(d, quad.v0), Format::template narrow<kMayBeNaN>(d, quad.v1),
            Format::template narrow<kMayBeNaN>(d, quad.v2), Format::template narrow<kMayBeNaN>(d, quad.v3)};
  }
  template <bool kMayBeNaN, class D>
  static HWY_INLINE Packed<D> pack_in_order(D d, const Quad<hn::Vec<D>>& quad) {
    return pack<kMayBeNaN>(d, quad);
  }
  template <class D>
  static HWY_INLINE void store(D /*d*/, const Packed<D>& packed, std::byte* at) {
    Same<uint16_t>::store(hn::Rebind<uint16_t, D>(), packed, at);
  }
  template <class D>
  static HWY_INLINE void stream(D d, const Packed<D>& packed, std::byte* at) {
    store(d, packed, at);
  }
#else
  template <class D>
  static HWY_INLINE Quad<hn::Vec<D>> load_quad(D d, const std::byte* at) {
    const auto low = Format::load_two(d, at);
    const auto high = Format::load_two(d, at + 2 * kBytes * hn::Lanes(d));
    return {low.v0, low.v1, high.v0, high.v1};
  }
  // Two whole vectors: a half one would be streamed past its end.
  template <class D>
  using Packed = Two<hn::Vec<hn::Repartition<uint16_t, D>>>;
  template <bool kMayBeNaN, class D>
  static HWY_INLINE Packed<D> pack(D d, const Quad<hn::Vec<D>>& quad) {
    using Pair = Two<hn::Vec<D>>;
    return {Format::template narrow_two<kMayBeNaN>(d, Pair{quad.v0, quad.v1}),
            Format::template narrow_two<kMayBeNaN>(d, Pair{quad.v2, quad.v3})};
  }
  template <bool kMayBeNaN, class D>
  static HWY_INLINE Packed<D> pack_in_order(D d, const Quad<hn::Vec<D>>& quad) {
    using Pair = Two<hn::Vec<D>>;
    return {Format::template narrow_in_order<kMayBeNaN>(d, Pair{quad.v0, quad.v1}),
            Format::template narrow_in_order<kMayBeNaN>(d, Pair{quad.v2, quad.v3})};
  }
  template <class D>
  static HWY_INLINE void store(D /*d*/, const Packed<D>& packed, std::byte* at) {
    const hn::Repartition<uint16_t, D> d16;
    uint16_t* to = reinterpret_cast<uint16_t*>(at);
    hn::StoreU(packed.v0, d16, to);
    hn::StoreU(packed.v1, d16, to + hn::Lanes(d16));
  }
  template <class D>
  static HWY_INLINE void stream(D /*d*/, const Packed<D>& packed, std::byte* at) {
    const hn::Repartition<uint16_t, D> d16;
    uint16_t* to = reinterpret_cast<uint16_t*>(at);
    hn::Stream(packed.v0, d16, to);
    hn::Stream(packed.v1, d16, to + hn::Lanes(d16));
  }
#endif
};

}  // namespace rondo::comm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RONDO_COMM_KERNELS_HALF_INL_H
