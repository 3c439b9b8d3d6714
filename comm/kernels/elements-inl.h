/// How elements become lanes of accumulators and back, for one instruction set. Included once for each of them by
/// Highway's foreach_target.h, hence the guard that toggles in place of #pragma once.
///
/// `at` is always the address of the first element. A *quad* is four vectors of accumulators: what a loop handles at
/// once.
#if defined(RONDO_COMM_KERNELS_ELEMENTS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RONDO_COMM_KERNELS_ELEMENTS_INL_H
#undef RONDO_COMM_KERNELS_ELEMENTS_INL_H
#else
#define RONDO_COMM_KERNELS_ELEMENTS_INL_H
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::comm::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class V>
struct Quad {
  V v0, v1, v2, v3;
};

// `count` lanes; the others are zero.
template <class D>
HWY_INLINE hn::Vec<D> load_some(D d, const std::byte* at, size_t count) {
  using T = hn::TFromD<D>;
  if (count == hn::Lanes(d)) return hn::LoadU(d, reinterpret_cast<const T*>(at));
  HWY_ALIGN T lanes[hn::MaxLanes(d)] = {};
  std::memcpy(lanes, at, count * sizeof(T));
  return hn::Load(d, lanes);
}
template <class D>
HWY_INLINE void store_some(D d, hn::Vec<D> v, std::byte* at, size_t count) {
  using T = hn::TFromD<D>;
  if (count == hn::Lanes(d)) return hn::StoreU(v, d, reinterpret_cast<T*>(at));
  HWY_ALIGN T lanes[hn::MaxLanes(d)];
  hn::Store(v, d, lanes);
  std::memcpy(at, lanes, count * sizeof(T));
}

/// Elements that are their own accumulators.
template <typename T>
struct Same {
  using Accumulator = T;
  static constexpr size_t kBytes = sizeof(T);

  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::byte* at) {
    return hn::LoadU(d, reinterpret_cast<const T*>(at));
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> load_lanes(D d, const std::byte* at, size_t count) {
    return load_some(d, at, count);
  }
  template <bool kMayBeNaN, class D>
  static HWY_INLINE void store_lanes(D d, hn::Vec<D> v, std::byte* at, size_t count) {
    store_some(d, v, at, count);
  }

  template <class D>
  using Packed = Quad<hn::Vec<D>>;
  template <bool kMayBeNaN, class D>
  static HWY_INLINE Packed<D> pack(D /*d*/, const Quad<hn::Vec<D>>& quad) {
    return quad;
  }
  template <class D>
  static HWY_INLINE void store(D d, const Packed<D>& packed, std::byte* at) {
    T* to = reinterpret_cast<T*>(at);
    hn::StoreU(packed.v0, d, to);
    hn::StoreU(packed.v1, d, to + hn::Lanes(d));
    hn::StoreU(packed.v2, d, to + 2 * hn::Lanes(d));
    hn::StoreU(packed.v3, d, to + 3 * hn::Lanes(d));
  }
  template <class D>
  static HWY_INLINE void stream(D d, const Packed<D>& packed, std::byte* at) {
    T* to = reinterpret_cast<T*>(at);
    hn::Stream(packed.v0, d, to);
    hn::Stream(packed.v1, d, to + hn::Lanes(d));
    hn::Stream(packed.v2, d, to + 2 * hn::Lanes(d));
    hn::Stream(packed.v3, d, to + 3 * hn::Lanes(d));
  }
};

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
#define RONDO_NATIVE_FLOAT16 1
#else
#define RONDO_NATIVE_FLOAT16 0
#endif

/// IEEE half precision. F16C does exactly what is wanted (nearest even, denormals whatever the mode says, NaN quiet);
/// Highway's own emulation elsewhere knows neither infinities nor NaN, and cuts instead of rounding.
struct Float16 {
  template <class D>
  using Bits = hn::Vec<hn::Rebind<uint16_t, D>>;

  template <class D>
  static HWY_INLINE hn::Vec<D> widen(D d, Bits<D> half) {
#if RONDO_NATIVE_FLOAT16
    const hn::Rebind<hwy::float16_t, D> d16;
    return hn::PromoteTo(d, hn::BitCast(d16, half));
#else
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
#endif
  }

  template <bool kMayBeNaN, class D>
  static HWY_INLINE Bits<D> narrow(D d, hn::Vec<D> v) {
    const hn::Rebind<uint16_t, D> d16;
#if RONDO_NATIVE_FLOAT16
    const hn::Rebind<hwy::float16_t, D> df16;
    return hn::BitCast(d16, hn::DemoteTo(df16, v));
#else
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
#endif
  }

#if HWY_TARGET != HWY_SCALAR
  template <bool kMayBeNaN, class D>
  static HWY_INLINE hn::Vec<hn::Repartition<uint16_t, D>> narrow_two(D d, hn::Vec<D> low, hn::Vec<D> high) {
    return hn::Combine(hn::Repartition<uint16_t, D>(), narrow<kMayBeNaN>(d, high), narrow<kMayBeNaN>(d, low));
  }
#endif
};

#undef RONDO_NATIVE_FLOAT16

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
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto up = hn::Add(hn::Add(bits, hn::Set(du, 0x7fffu)), odd);
    if constexpr (!kMayBeNaN) return up;
    return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), hn::Or(bits, hn::Set(du, 0x00400000u)), up);
  }

  template <bool kMayBeNaN, class D>
  static HWY_INLINE Bits<D> narrow(D d, hn::Vec<D> v) {
    return hn::TruncateTo(hn::Rebind<uint16_t, D>(), hn::ShiftRight<16>(rounded<kMayBeNaN>(d, v)));
  }

#if HWY_TARGET != HWY_SCALAR
  template <bool kMayBeNaN, class D>
  static HWY_INLINE hn::Vec<hn::Repartition<uint16_t, D>> narrow_two(D d, hn::Vec<D> low, hn::Vec<D> high) {
    const hn::Repartition<uint16_t, D> d16;
    return hn::ConcatOdd(d16, hn::BitCast(d16, rounded<kMayBeNaN>(d, high)),
                         hn::BitCast(d16, rounded<kMayBeNaN>(d, low)));
  }
#endif
};

/// 16-bit elements with fp32 accumulators.
template <class Format>
struct Half {
  using Accumulator = float;
  static constexpr size_t kBytes = sizeof(uint16_t);

  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::byte* at) {
    return Format::widen(d, hn::LoadU(hn::Rebind<uint16_t, D>(), reinterpret_cast<const uint16_t*>(at)));
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
  using Packed = Quad<hn::Vec<hn::Rebind<uint16_t, D>>>;
  template <bool kMayBeNaN, class D>
  static HWY_INLINE Packed<D> pack(D d, const Quad<hn::Vec<D>>& quad) {
    return {Format::template narrow<kMayBeNaN>(d, quad.v0), Format::template narrow<kMayBeNaN>(d, quad.v1),
            Format::template narrow<kMayBeNaN>(d, quad.v2), Format::template narrow<kMayBeNaN>(d, quad.v3)};
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
  // Two whole vectors: a half one would be streamed past its end.
  template <class D>
  struct Packed {
    hn::Vec<hn::Repartition<uint16_t, D>> low, high;
  };
  template <bool kMayBeNaN, class D>
  static HWY_INLINE Packed<D> pack(D d, const Quad<hn::Vec<D>>& quad) {
    return {Format::template narrow_two<kMayBeNaN>(d, quad.v0, quad.v1),
            Format::template narrow_two<kMayBeNaN>(d, quad.v2, quad.v3)};
  }
  template <class D>
  static HWY_INLINE void store(D /*d*/, const Packed<D>& packed, std::byte* at) {
    const hn::Repartition<uint16_t, D> d16;
    uint16_t* to = reinterpret_cast<uint16_t*>(at);
    hn::StoreU(packed.low, d16, to);
    hn::StoreU(packed.high, d16, to + hn::Lanes(d16));
  }
  template <class D>
  static HWY_INLINE void stream(D /*d*/, const Packed<D>& packed, std::byte* at) {
    const hn::Repartition<uint16_t, D> d16;
    uint16_t* to = reinterpret_cast<uint16_t*>(at);
    hn::Stream(packed.low, d16, to);
    hn::Stream(packed.high, d16, to + hn::Lanes(d16));
  }
#endif
};

template <class E, class D>
HWY_INLINE Quad<hn::Vec<D>> load_quad(D d, const std::byte* at) {
  const size_t step = hn::Lanes(d) * E::kBytes;
  return {E::load(d, at), E::load(d, at + step), E::load(d, at + 2 * step), E::load(d, at + 3 * step)};
}

}  // namespace rondo::comm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RONDO_COMM_KERNELS_ELEMENTS_INL_H
