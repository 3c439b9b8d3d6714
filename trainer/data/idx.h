/// Reads idx files, the format of the MNIST family: big-endian magic and dimensions, then unsigned bytes.
///
/// Strict: magic, dimensions, length and what follows are checked, so that a truncated or exchanged file is named here
/// and not seen as a bad accuracy an hour later. Plain and gzip files are told apart by their first two bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace rondo::trainer {

struct IdxArray {
  std::vector<int64_t> dimensions;  // the first one counts the samples
  std::vector<uint8_t> values;      // row-major
};

/// Reads `file`, which must hold unsigned bytes in `dimension_count` dimensions.
/// Throws rondo::Error: kPreflight when it cannot be opened, kCorrupt (file, what, expected, found) when it is not as
/// it should be. Never allocates more than the header announces, and at most 2 GiB.
IdxArray read_idx(const std::filesystem::path& file, int dimension_count);

}  // namespace rondo::trainer
