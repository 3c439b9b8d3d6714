// copy_bytes(), widen(), narrow(). Compiled once for each instruction set: foreach_target.h includes this file again.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/kernels/copy_and_convert.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include <algorithm>
#include <cstring>

#include "comm/kernels/elements-inl.h"
#include "comm/kernels/half-inl.h"
#include "comm/kernels/kernels.h"
#include "hwy/cache_control.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::comm::HWY_NAMESPACE {

// Whole lines of 64 bytes are streamed; what lies before the first and after the last one is stored as usual.
void stream_bytes(const std::byte* from, std::byte* to, size_t byte_count) {
#if HWY_TARGET == HWY_SCALAR
  std::memcpy(to, from, byte_count);
#else
  using Bytes = Same<uint8_t>;
  const hn::ScalableTag<uint8_t> d;
  const size_t step = 4 * hn::Lanes(d);
  size_t at = std::min(byte_count, (64 - reinterpret_cast<uintptr_t>(to) % 64) % 64);
  std::memcpy(to, from, at);
  for (; byte_count - at >= step; at += step) {
    Bytes::stream(d, Bytes::load_quad(d, from + at), to + at);
  }
  std::memcpy(to + at, from + at, byte_count - at);
  hwy::FlushStream();
#endif
}

template <class Format>
void widen_all(const std::byte* from, float* to, size_t count) {
  using Wide = Same<float>;
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto* out = reinterpret_cast<std::byte*>(to);
  size_t at = 0;
  for (; count - at >= 4 * lanes; at += 4 * lanes) {
    Wide::store(d, Half<Format>::load_in_order(d, from + at * 2), out + at * 4);
  }
  for (; at < count; at += lanes) {
    const size_t some = std::min(lanes, count - at);
    Wide::store_lanes<true>(d, Half<Format>::load_lanes(d, from + at * 2, some), out + at * 4, some);
  }
}

template <class Format>
void narrow_all(const float* from, std::byte* to, size_t count) {
  using Wide = Same<float>;
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto* in = reinterpret_cast<const std::byte*>(from);
  size_t at = 0;
  for (; count - at >= 4 * lanes; at += 4 * lanes) {
    Half<Format>::store(d, Half<Format>::template pack_in_order<true>(d, Wide::load_quad(d, in + at * 4)), to + at * 2);
  }
  for (; at < count; at += lanes) {
    const size_t some = std::min(lanes, count - at);
    Half<Format>::template store_lanes<true>(d, Wide::load_lanes(d, in + at * 4, some), to + at * 2, some);
  }
}

void widen_half(DType type, const std::byte* from, float* to, size_t count) {
  type == DType::kFloat16 ? widen_all<Float16>(from, to, count) : widen_all<BFloat16>(from, to, count);
}

void narrow_half(const float* from, DType type, std::byte* to, size_t count) {
  type == DType::kFloat16 ? narrow_all<Float16>(from, to, count) : narrow_all<BFloat16>(from, to, count);
}

const char* target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace rondo::comm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::comm {

HWY_EXPORT(stream_bytes);
HWY_EXPORT(widen_half);
HWY_EXPORT(narrow_half);
HWY_EXPORT(target_name);

void copy_bytes(const std::byte* from, std::byte* to, size_t byte_count, StoreKind stores) {
  if (byte_count == 0) return;
  if (stores == StoreKind::kNonTemporal) return HWY_DYNAMIC_DISPATCH(stream_bytes)(from, to, byte_count);
  std::memcpy(to, from, byte_count);
}

void widen(DType from16, const std::byte* from, float* to, int64_t element_count) {
  HWY_DYNAMIC_DISPATCH(widen_half)(from16, from, to, static_cast<size_t>(element_count));
}

void narrow(const float* from, DType to16, std::byte* to, int64_t element_count) {
  HWY_DYNAMIC_DISPATCH(narrow_half)(from, to16, to, static_cast<size_t>(element_count));
}

std::string_view kernel_target() { return HWY_DYNAMIC_DISPATCH(target_name)(); }

}  // namespace rondo::comm
#endif  // HWY_ONCE
