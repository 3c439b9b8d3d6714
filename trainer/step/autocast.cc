#include "rondo/autocast.h"

#include <ATen/autocast_mode.h>

#include <string>

#include "rondo/error.h"

namespace rondo {

Autocast::Autocast(c10::ScalarType dtype)
    : was_on_(at::autocast::is_autocast_enabled(at::kCPU)), dtype_before_(at::autocast::get_autocast_dtype(at::kCPU)) {
  if (dtype != at::kBFloat16 && dtype != at::kHalf) {
    throw Error(std::string("Autocast to ") + c10::toString(dtype) + "; it knows kBFloat16 and kHalf",
                ExitCode::kUsage);
  }
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, dtype);
  at::autocast::increment_nesting();
}

Autocast::~Autocast() {
  // Casts of parameters are kept inside the outermost scope; the next step has other parameters.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, was_on_);
  at::autocast::set_autocast_dtype(at::kCPU, dtype_before_);
}

}  // namespace rondo
