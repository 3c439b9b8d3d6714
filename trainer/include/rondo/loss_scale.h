/// Losses that are multiplied so that small gradients survive in float16.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace rondo {

/// Multiplies losses so that small gradients survive in float16, and finds the factor: halved at every step whose
/// gradients overflowed (which is skipped), doubled after `interval` good ones. The numbers are those of
/// torch.amp.GradScaler. Reduced gradients are bit-equal on all ranks, so all find the same factor without a word. One
/// scale may serve several optimizers.
class LossScale {
 public:
  struct Options {
    double initial = 65'536;
    double growth = 2;     // > 1
    double backoff = 0.5;  // in (0, 1)
    int64_t interval = 2000;
  };
  struct State {
    double factor = 1;
    int64_t good_steps = 0;  // since the factor changed
    bool operator==(const State&) const = default;
  };
  LossScale() : LossScale(Options()) {}
  explicit LossScale(const Options& options);

  /// What backward() is called on.
  at::Tensor scale(const at::Tensor& loss) const;
  double factor() const { return state_.factor; }
  /// A step's gradients were finite, or not.
  void update(bool finite);

  const State& state() const { return state_; }
  void restore(const State& state) {
    state_ = state;
    last_ = {};
  }

  /// The gradients of one reduction, which several optimizers of a wrapper may take in turn: they have one factor, and
  /// count as one step.
  struct Reduction {
    const void* wrapper = nullptr;
    int64_t step = 0;
    bool operator==(const Reduction&) const = default;
  };
  double factor_of(const Reduction& reduction) const;
  void update(bool finite, const Reduction& reduction);

 private:
  Options options_;
  State state_;
  Reduction last_;
  State before_last_;
  bool last_was_finite_ = true;
};

}  // namespace rondo
