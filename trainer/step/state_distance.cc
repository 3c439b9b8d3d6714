#include "rondo/state_distance.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/view_as_real.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <type_traits>

#include "trainer/step/state_slots.h"

namespace rondo {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

/// Sign and magnitude -> a number that rises with the floating one, and by 1 from each to the next.
template <typename Bits>
int64_t place(Bits bits) {
  constexpr Bits kSign = Bits{1} << (8 * sizeof(Bits) - 1);
  const auto magnitude = static_cast<int64_t>(bits & static_cast<Bits>(~kSign));
  return (bits & kSign) != 0 ? -magnitude : magnitude;
}

template <typename Bits, typename T>
uint64_t distance_of(T a, T b) {
  const bool nan_a = std::isnan(static_cast<double>(a)), nan_b = std::isnan(static_cast<double>(b));
  if (nan_a || nan_b) return nan_a && nan_b ? 0 : kNoUlpDistance;
  const int64_t x = place(std::bit_cast<Bits>(a)), y = place(std::bit_cast<Bits>(b));
  return x > y ? static_cast<uint64_t>(x) - static_cast<uint64_t>(y)
               : static_cast<uint64_t>(y) - static_cast<uint64_t>(x);
}

uint64_t distance_of_integers(int64_t a, int64_t b) {
  return a > b ? static_cast<uint64_t>(a) - static_cast<uint64_t>(b)
               : static_cast<uint64_t>(b) - static_cast<uint64_t>(a);
}

/// 2-norms of a slot and of its difference from the other.
struct Norms {
  double difference = 0, reference = 0;
};

template <typename T>
Norms compare_elements(const at::Tensor& state, const at::Tensor& reference, SlotDistance& into) {
  const auto* const a = static_cast<const T*>(state.const_data_ptr());
  const auto* const b = static_cast<const T*>(reference.const_data_ptr());
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < state.numel(); ++i) {
    uint64_t ulp = 0;
    if constexpr (std::is_integral_v<T>) {
      ulp = distance_of_integers(a[i], b[i]);
      if (ulp != 0) difference = kInfinite;
    } else {
      ulp = ulp_distance(a[i], b[i]);
      const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
      if (ulp != 0) difference += std::isfinite(x) && std::isfinite(y) ? (x - y) * (x - y) : kInfinite;
      if (std::isfinite(y)) norm += y * y;
    }
    if (ulp > into.ulp) {
      into.ulp = ulp;
      into.element = i;
    }
  }
  return {.difference = std::sqrt(difference), .reference = std::sqrt(norm)};
}

Norms compare_tensors(at::Tensor state, at::Tensor reference, SlotDistance& into) {
  if (state.sizes() != reference.sizes() || state.scalar_type() != reference.scalar_type()) {
    into.same_bits = false;
    into.ulp = kNoUlpDistance;
    return {.difference = kInfinite, .reference = 0};
  }
  if (state.is_complex()) {
    state = at::view_as_real(state);
    reference = at::view_as_real(reference);
  }
  state = state.contiguous();
  reference = reference.contiguous();
  into.same_bits =
      state.nbytes() == 0 || std::memcmp(state.const_data_ptr(), reference.const_data_ptr(), state.nbytes()) == 0;
  switch (state.scalar_type()) {
    case at::kFloat:
      return compare_elements<float>(state, reference, into);
    case at::kDouble:
      return compare_elements<double>(state, reference, into);
    case at::kHalf:
      return compare_elements<c10::Half>(state, reference, into);
    case at::kBFloat16:
      return compare_elements<c10::BFloat16>(state, reference, into);
    default:
      return compare_elements<int64_t>(state.to(at::kLong), reference.to(at::kLong), into);
  }
}

double rounding_of(at::ScalarType type) {
  constexpr double kEpsilons = 1024, kOfSixteenBits = 0.05;
  switch (c10::toRealValueType(type)) {
    case at::kFloat:
      return kEpsilons * std::numeric_limits<float>::epsilon();
    case at::kDouble:
      return kEpsilons * std::numeric_limits<double>::epsilon();
    case at::kHalf:
    case at::kBFloat16:
      return kOfSixteenBits;
    default:
      return 0;
  }
}

/// "exp_avg" of "exp_avg of \"fc1.weight\"".
std::string kind_of(const std::string& slot) { return slot.substr(0, slot.find(' ')); }

double in_units(Norms norms, double norm_of_kind) {
  constexpr double kHundredth = 0.01;
  if (norms.difference == 0) return 0;
  const double unit = std::max(norms.reference, kHundredth * norm_of_kind);
  return unit > 0 ? norms.difference / unit : kInfinite;
}

}  // namespace

uint64_t ulp_distance(float a, float b) { return distance_of<uint32_t>(a, b); }
uint64_t ulp_distance(double a, double b) { return distance_of<uint64_t>(a, b); }
uint64_t ulp_distance(c10::Half a, c10::Half b) { return distance_of<uint16_t>(a, b); }
uint64_t ulp_distance(c10::BFloat16 a, c10::BFloat16 b) { return distance_of<uint16_t>(a, b); }

TrainedState trained_state(const torch::nn::Module& module, const torch::optim::Optimizer& optimizer) {
  TrainedState state;
  trainer::visit_state(module, {&optimizer},
                       {.tensor =
                            [&](const std::string& slot, const at::Tensor& tensor) {
                              if (tensor.defined()) state.tensors[slot] = tensor.detach().cpu().clone();
                            },
                        .value = [&](const std::string& slot, const std::string& text) { state.values[slot] = text; }});
  return state;
}

std::vector<SlotDistance> distances(const TrainedState& state, const TrainedState& reference) {
  std::vector<SlotDistance> all;
  std::vector<Norms> norms;
  std::map<std::string, double> squares_of_kind;
  const auto differs_by_nature = [](const std::string& slot) {
    return SlotDistance{.slot = slot, .ulp = kNoUlpDistance, .relative = kInfinite, .same_bits = false};
  };
  std::set<std::string> names;
  for (const auto& [slot, tensor] : state.tensors) names.insert(slot);
  for (const auto& [slot, tensor] : reference.tensors) names.insert(slot);
  for (const std::string& slot : names) {
    const auto here = state.tensors.find(slot), there = reference.tensors.find(slot);
    if (here == state.tensors.end() || there == reference.tensors.end()) {
      all.push_back(differs_by_nature(slot));
      norms.push_back({.difference = kInfinite, .reference = 0});
      continue;
    }
    SlotDistance distance{.slot = slot, .rounding = rounding_of(there->second.scalar_type())};
    norms.push_back(compare_tensors(here->second, there->second, distance));
    squares_of_kind[kind_of(slot)] += norms.back().reference * norms.back().reference;
    all.push_back(std::move(distance));
  }
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].relative = in_units(norms[i], std::sqrt(squares_of_kind[kind_of(all[i].slot)]));
  }
  names.clear();
  for (const auto& [slot, text] : state.values) names.insert(slot);
  for (const auto& [slot, text] : reference.values) names.insert(slot);
  for (const std::string& slot : names) {
    const auto here = state.values.find(slot), there = reference.values.find(slot);
    const bool same = here != state.values.end() && there != reference.values.end() && here->second == there->second;
    if (!same) all.push_back(differs_by_nature(slot));
  }
  return all;
}

std::string first_difference(const TrainedState& state, const TrainedState& reference) {
  for (const SlotDistance& distance : distances(state, reference)) {
    if (!distance.same_bits) return distance.slot;
  }
  return "";
}

}  // namespace rondo
