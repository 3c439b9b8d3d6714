/// A part of a checkpoint as a file: safetensors whose metadata are the part's texts.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "rondo/training_state.h"
#include "trainer/checkpoint/safetensors.h"

namespace rondo::trainer {

/// Throws rondo::Error, naming the tensor, for types that safetensors does not have.
std::vector<std::byte> encode_part(const PartContent& content);
PartContent decode_part(const SafetensorsFile& file);

/// "part.ema.safetensors"; of what is kept per rank "part.generator.rank-0001.safetensors".
std::string part_file_name(const std::string& part, std::optional<int> rank);

}  // namespace rondo::trainer
