#include "rondo/loss_scale.h"

#include <ATen/core/Tensor.h>

#include <cmath>

#include "rondo/error.h"

namespace rondo {

LossScale::LossScale(const Options& options) : options_(options), state_{.factor = options.initial} {
  if (options.initial > 0 && options.growth > 1 && options.backoff > 0 && options.backoff < 1 && options.interval > 0)
    return;
  throw Error("a loss scale needs initial > 0, growth > 1, backoff between 0 and 1, interval > 0", ExitCode::kUsage);
}

at::Tensor LossScale::scale(const at::Tensor& loss) const { return loss.mul(state_.factor); }

void LossScale::update(bool finite) {
  if (!finite) {
    state_ = {.factor = state_.factor * options_.backoff};
  } else if (++state_.good_steps == options_.interval) {
    const double grown = state_.factor * options_.growth;
    state_ = {.factor = std::isfinite(static_cast<float>(grown)) ? grown : state_.factor};
  }
}

double LossScale::factor_of(const Reduction& reduction) const {
  return reduction == last_ ? before_last_.factor : state_.factor;
}

void LossScale::update(bool finite, const Reduction& reduction) {
  if (reduction == last_) {
    state_ = before_last_;
    finite = finite && last_was_finite_;
  }
  last_ = reduction;
  before_last_ = state_;
  last_was_finite_ = finite;
  update(finite);
}

}  // namespace rondo
