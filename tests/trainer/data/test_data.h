/// Small idx files and folders for tests: what a reader should accept, and what it should not.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace rondo::test {

/// A folder of its own for one test; removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "rondo-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& file, const std::string& content) {
  std::ofstream(file, std::ios::binary) << content;
}

inline std::string read_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// The content of an idx file of unsigned bytes.
inline std::string idx_content(const std::vector<uint32_t>& dimensions, const std::string& values) {
  std::string content{'\0', '\0', '\x08', static_cast<char>(dimensions.size())};
  for (const uint32_t extent : dimensions) {
    for (int shift = 24; shift >= 0; shift -= 8) content += static_cast<char>(extent >> shift & 0xff);
  }
  return content + values;
}

inline std::string gzip(const std::string& content) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

/// Deterministic bytes.
inline std::string pattern(size_t byte_count) {
  std::string bytes(byte_count, '\0');
  for (size_t i = 0; i < byte_count; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  return bytes;
}

struct SplitCounts {
  uint32_t train = 20, test = 10;
};

/// A folder in Fashion-MNIST's layout with few images; each image shows a bar whose place tells its label, so that a
/// net can learn it.
inline void write_small_dataset(const std::filesystem::path& folder, SplitCounts counts) {
  const auto write_split = [&](const std::string& prefix, uint32_t count) {
    std::string images, labels;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t label = (i * 7) % 10;
      labels += static_cast<char>(label);
      for (uint32_t y = 0; y < 28; ++y) {
        for (uint32_t x = 0; x < 28; ++x) images += static_cast<char>(y / 3 == label ? 255 : (x * y + i) % 64);
      }
    }
    write_file(folder / (prefix + "-images-idx3-ubyte.gz"), gzip(idx_content({count, 28, 28}, images)));
    write_file(folder / (prefix + "-labels-idx1-ubyte.gz"), gzip(idx_content({count}, labels)));
  };
  write_split("train", counts.train);
  write_split("t10k", counts.test);
}

/// What `action` throws; fails the caller's expectations when it is empty.
template <typename Action>
std::string words_of_error(const Action& action) {
  try {
    action();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

}  // namespace rondo::test
