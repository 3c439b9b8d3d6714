/// Between tensors and the records of a safetensors file.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "trainer/checkpoint/safetensors.h"

namespace rondo::trainer {

/// Safetensors' word for a type. Throws rondo::Error, naming the tensor, when it has none.
std::string dtype_text(const std::string& name, at::ScalarType type);
/// "[64, 32, 3, 3]".
std::string shape_text(at::IntArrayRef shape);
/// A tensor of its own, on the CPU.
at::Tensor to_tensor(const TensorRecord& record);

/// Collects tensors for a file; keeps contiguous CPU copies alive that the records point into.
class RecordList {
 public:
  void add(const std::string& name, const at::Tensor& tensor);
  /// Copies: what becomes of the tensors afterwards is not seen.
  std::vector<std::byte> encode(const std::map<std::string, std::string>& metadata) const;
  const std::vector<TensorRecord>& records() const { return records_; }

 private:
  std::vector<at::Tensor> kept_;
  std::vector<TensorRecord> records_;
};

/// Reads tensors of one file; every complaint names it.
class StateReader {
 public:
  StateReader(const SafetensorsFile& tensors, std::string file) : tensors_(tensors), file_(std::move(file)) {}

  [[noreturn]] void corrupt(const std::string& what) const;
  /// Null when it is not there.
  const TensorRecord* take(const std::string& name);
  at::Tensor take_like(const std::string& name, const at::Tensor& model);
  void expect_nothing_else() const;

 private:
  const SafetensorsFile& tensors_;
  const std::string file_;
  std::set<std::string> taken_;
};

}  // namespace rondo::trainer
