#include "trainer/checkpoint/tensor_records.h"

#include <ATen/ops/from_blob.h>

#include <utility>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

constexpr std::pair<at::ScalarType, const char*> kTypes[] = {
    {at::kDouble, "F64"}, {at::kFloat, "F32"}, {at::kHalf, "F16"}, {at::kBFloat16, "BF16"}, {at::kLong, "I64"},
    {at::kInt, "I32"},    {at::kShort, "I16"}, {at::kChar, "I8"},  {at::kByte, "U8"},       {at::kBool, "BOOL"}};

at::ScalarType scalar_type(const std::string& text) {
  for (const auto& [type, known] : kTypes) {
    if (text == known) return type;
  }
  throw Error("safetensors type " + text + " is not one of LibTorch's", ExitCode::kCorrupt);
}

}  // namespace

std::string dtype_text(const std::string& name, at::ScalarType type) {
  for (const auto& [known, text] : kTypes) {
    if (known == type) return text;
  }
  throw Error("tensor \"" + name + "\": safetensors has no type for " + c10::toString(type));
}

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (const int64_t extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

at::Tensor to_tensor(const TensorRecord& record) {
  return at::from_blob(const_cast<std::byte*>(record.bytes.data()), record.shape,
                       at::TensorOptions(scalar_type(record.dtype)))
      .clone();
}

void RecordList::add(const std::string& name, const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().cpu().contiguous();
  kept_.push_back(flat);
  records_.push_back({.name = name,
                      .dtype = dtype_text(name, flat.scalar_type()),
                      .shape = flat.sizes().vec(),
                      .bytes = {static_cast<const std::byte*>(flat.const_data_ptr()), flat.nbytes()}});
}

std::vector<std::byte> RecordList::encode(const std::map<std::string, std::string>& metadata) const {
  return encode_safetensors(records_, metadata);
}

void StateReader::corrupt(const std::string& what) const {
  throw Error(file_ + ": does not fit this model: " + what, ExitCode::kCorrupt);
}

const TensorRecord* StateReader::take(const std::string& name) {
  const TensorRecord* const record = tensors_.find(name);
  if (record != nullptr) taken_.insert(name);
  return record;
}

at::Tensor StateReader::take_like(const std::string& name, const at::Tensor& model) {
  const TensorRecord* const record = take(name);
  if (record == nullptr) corrupt("\"" + name + "\" is missing");
  const std::string type = dtype_text(name, model.scalar_type());
  if (record->dtype != type || record->shape != model.sizes().vec()) {
    corrupt("\"" + name + "\": expected " + type + " " + shape_text(model.sizes()) + ", found " + record->dtype + " " +
            shape_text(record->shape));
  }
  return to_tensor(*record);
}

void StateReader::expect_nothing_else() const {
  for (const TensorRecord& record : tensors_.tensors()) {
    if (!taken_.contains(record.name)) corrupt("\"" + record.name + "\" is not in the model");
  }
}

}  // namespace rondo::trainer
