#include "trainer/checkpoint/part_file.h"

#include <array>
#include <cstdio>

#include "trainer/checkpoint/tensor_records.h"

namespace rondo::trainer {

std::vector<std::byte> encode_part(const PartContent& content) {
  RecordList records;
  for (const auto& [name, tensor] : content.tensors) records.add(name, tensor);
  return records.encode(content.texts);
}

PartContent decode_part(const SafetensorsFile& file) {
  PartContent content{.tensors = {}, .texts = file.metadata()};
  for (const TensorRecord& record : file.tensors()) content.tensors[record.name] = to_tensor(record);
  return content;
}

std::string part_file_name(const std::string& part, std::optional<int> rank) {
  std::array<char, 16> suffix{};
  if (rank) std::snprintf(suffix.data(), suffix.size(), ".rank-%04d", *rank);
  return "part." + part + suffix.data() + ".safetensors";
}

}  // namespace rondo::trainer
