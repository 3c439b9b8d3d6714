#include "trainer/gradient/buckets.h"

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

std::optional<GradientShape> gradient_shape(const at::Tensor& parameter) {
  const at::ScalarType type = parameter.scalar_type();
  const bool complex = at::isComplexType(type);
  const auto dtype = comm_dtype(complex ? c10::toRealValueType(type) : type);
  if (!dtype || !comm::is_floating(*dtype)) return std::nullopt;
  return GradientShape{.dtype = *dtype, .element_count = parameter.numel() * (complex ? 2 : 1)};
}

comm::Result<Buckets> Buckets::allocate(comm::Group& group, std::vector<at::Tensor> parameters) {
  Buckets buckets;
  for (const at::Tensor& parameter : parameters) {
    buckets.shapes_.push_back(parameter.defined() ? gradient_shape(parameter).value_or(GradientShape{})
                                                  : GradientShape{});
  }
  buckets.parameters_ = std::move(parameters);
  if (const int64_t bytes = byte_count(buckets.shapes_); bytes > 0) {
    auto region = group.allocate(static_cast<size_t>(bytes), "gradient buckets");
    RONDO_TRY(region.status());
    buckets.memory_ = std::make_shared<comm::Region>(std::move(*region));
  }
  return buckets;
}

void Buckets::lay_out(BucketPlan plan) {
  plan_ = std::move(plan);
  bucket_of_.assign(parameters_.size(), 0);
  gradients_.assign(parameters_.size(), {});
  for (int b = 0; b < count(); ++b) {
    const BucketLayout& layout = plan_[b];
    const auto width = static_cast<int64_t>(comm::byte_width(layout.dtype));
    for (const Slot& slot : layout.slots) {
      const at::Tensor& parameter = parameters_[slot.parameter];
      std::byte* data = memory_ ? memory_->bytes().data() + layout.byte_offset + slot.offset * width : nullptr;
      bucket_of_[slot.parameter] = b;
      gradients_[slot.parameter] = at::from_blob(
          data, parameter.sizes(), gradient_strides(parameter), [memory = memory_](void*) {},
          at::TensorOptions().dtype(parameter.scalar_type()).device(parameter.device()));
    }
  }
}

comm::BufferView Buckets::buffer(int bucket) const {
  const BucketLayout& layout = plan_[bucket];
  return {layout.element_count > 0 ? memory_->bytes().data() + layout.byte_offset : nullptr, layout.element_count,
          layout.dtype};
}

at::Tensor Buckets::flat(int bucket) const {
  const comm::BufferView view = buffer(bucket);
  return at::from_blob(
      view.data, {view.element_count}, [memory = memory_](void*) {},
      at::TensorOptions().dtype(torch_dtype(view.dtype)));
}

bool Buckets::holds(int parameter, const at::Tensor& tensor) const {
  const at::Tensor& gradient = gradients_[parameter];
  if (!tensor.defined()) return false;
  return tensor.is_same(gradient) || (tensor.layout() == at::kStrided && tensor.data_ptr() == gradient.data_ptr() &&
                                      tensor.strides() == gradient.strides());
}

}  // namespace rondo::trainer
