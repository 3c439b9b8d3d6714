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
  static HWY_INLINE Quad<hn::Vec<D>> load_quad(D d, const std::byte* at) {
    const T* from = reinterpret_cast<const T*>(at);
    const size_t lanes = hn::Lanes(d);
    return {hn::LoadU(d, from), hn::LoadU(d, from + lanes), hn::LoadU(d, from + 2 * lanes),
            hn::LoadU(d, from + 3 * lanes)};
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

}  // namespace rondo::comm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RONDO_COMM_KERNELS_ELEMENTS_INL_H
