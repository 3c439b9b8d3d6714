#include "trainer/torch_bridge/generator_state.h"

#include <ATen/CPUGeneratorImpl.h>

#include <mutex>

namespace rondo::trainer {

at::Generator default_generator() { return at::detail::getDefaultCPUGenerator(); }

at::Tensor state_of(at::Generator generator) {
  const std::lock_guard lock(generator.mutex());
  return generator.get_state();
}

void set_state(at::Generator generator, const at::Tensor& state) {
  const std::lock_guard lock(generator.mutex());
  generator.set_state(state);
}

}  // namespace rondo::trainer
