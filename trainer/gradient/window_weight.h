/// This rank's weight in the mean of one window: the sum of the counts that weigh() was given, or 1 without any.
#pragma once

#include <utility>

namespace rondo::trainer {

class WindowWeight {
 public:
  void add(double count) {
    if (std::exchange(of_earlier_losses_, false)) sum_ = 0;
    given_ = true;
    sum_ += count;
  }
  /// zero_grad() before any backward: the losses may have been computed, and weighed, before it. Counts that are added
  /// before a backward are of other losses.
  void keep_for_backward() { of_earlier_losses_ = given_; }
  void backward_came() { of_earlier_losses_ = false; }

  bool given() const { return given_; }
  double value() const { return given_ ? sum_ : 1.0; }

 private:
  bool given_ = false, of_earlier_losses_ = false;
  double sum_ = 0;
};

}  // namespace rondo::trainer
