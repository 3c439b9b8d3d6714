/// Mixed precision: matrix products in 16 bits, sums and losses in float32.
#pragma once

#include <c10/core/ScalarType.h>

namespace rondo {

/// While it lives, LibTorch's autocast is on for CPU tensors of this thread: Python's torch.autocast("cpu", dtype).
/// Forward and loss belong inside, backward outside; parameters and their gradients keep their dtype. Nests.
class [[nodiscard]] Autocast {
 public:
  /// kBFloat16 or kHalf; throws otherwise.
  explicit Autocast(c10::ScalarType dtype = c10::ScalarType::BFloat16);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool was_on_;
  c10::ScalarType dtype_before_;
};

}  // namespace rondo
