#include "trainer/gradient/bucket.h"

#include <ATen/ops/from_blob.h>

#include <utility>

#include "trainer/torch_bridge/tensor_view.h"

namespace rondo::trainer {
namespace {

// Row-major strides for a parameter whose own would leave holes or overlap.
std::vector<int64_t> gradient_strides(const at::Tensor& parameter) {
  if (is_dense(parameter)) return parameter.strides().vec();
  std::vector<int64_t> strides(parameter.dim());
  int64_t stride = 1;
  for (int64_t i = parameter.dim() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= parameter.size(i);
  }
  return strides;
}

}  // namespace

comm::Result<Bucket> Bucket::create(comm::Group& group, const BucketLayout& layout,
                                    const std::vector<at::Tensor>& parameters, const std::string& purpose) {
  Bucket bucket;
  bucket.layout_ = layout;
  bucket.buffer_ = {nullptr, layout.element_count, layout.dtype};
  std::shared_ptr<comm::Region> memory;  // shared by the bucket's gradients
  if (layout.element_count > 0) {
    auto region = group.allocate(bucket.buffer_.byte_count(), purpose);
    if (!region.ok()) return region.status();
    memory = std::make_shared<comm::Region>(std::move(*region));
    bucket.buffer_.data = memory->bytes().data();
  }
  for (const Slot& slot : layout.slots) {
    const at::Tensor& parameter = parameters[slot.parameter];
    std::byte* data = bucket.buffer_.bytes() + slot.offset * static_cast<int64_t>(comm::byte_width(layout.dtype));
    bucket.gradients_.push_back(at::from_blob(
        data, parameter.sizes(), gradient_strides(parameter), [memory](void*) {},
        at::TensorOptions().dtype(parameter.scalar_type()).device(parameter.device())));
  }
  return bucket;
}

bool Bucket::holds(int slot, const at::Tensor& tensor) const {
  const at::Tensor& gradient = gradients_[slot];
  return tensor.is_same(gradient) || (tensor.layout() == at::kStrided && tensor.data_ptr() == gradient.data_ptr() &&
                                      tensor.strides() == gradient.strides());
}

}  // namespace rondo::trainer
