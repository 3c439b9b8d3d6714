#include "trainer/check/tensor_memory.h"

#include "trainer/torch_bridge/tensor_view.h"

namespace rondo::trainer {

std::optional<StridedMemory> memory_of(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.layout() != at::kStrided || tensor.numel() == 0) return std::nullopt;
  return StridedMemory{.begin = reinterpret_cast<uintptr_t>(tensor.const_data_ptr()),
                       .element_bytes = static_cast<int64_t>(tensor.element_size()),
                       .sizes = tensor.sizes().vec(),
                       .strides = tensor.strides().vec()};
}

std::string self_overlap(const at::Tensor& tensor) {
  const auto memory = memory_of(tensor);
  if (!memory || address_count(*memory) == element_count(*memory)) return "";
  return std::to_string(element_count(*memory)) + " elements at " + std::to_string(address_count(*memory)) +
         (address_count(*memory) == 1 ? " address" : " addresses");
}

std::string describe_with_strides(const at::Tensor& tensor) {
  std::string text = describe(tensor) + " strides [";
  for (int64_t i = 0; i < tensor.dim(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(tensor.stride(i));
  return text + "]";
}

}  // namespace rondo::trainer
