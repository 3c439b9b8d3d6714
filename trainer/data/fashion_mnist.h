/// Fashion-MNIST in memory: 28x28 grey images of ten kinds of clothes, as Debian's dataset-fashion-mnist installs it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace rondo::trainer {

inline constexpr int64_t kImageSide = 28;
inline constexpr int64_t kImagePixels = kImageSide * kImageSide;
inline constexpr int kClassCount = 10;
inline constexpr const char* kFashionMnistFolder = "/usr/share/datasets/fashion-mnist";

/// Images one behind the other, 784 bytes each, and one label in [0, 10) for each.
struct ImageSet {
  std::vector<uint8_t> pixels;
  std::vector<uint8_t> labels;
  int64_t count() const { return static_cast<int64_t>(labels.size()); }
};

enum class Split { kTrain, kTest };

/// Reads one split from `folder`, which holds `train-images-idx3-ubyte`, `t10k-labels-idx1-ubyte` and so on, each plain
/// or with ".gz". Throws rondo::Error: kPreflight when folder or file is missing, kCorrupt when content is wrong.
ImageSet read_fashion_mnist(const std::filesystem::path& folder, Split split);

/// Mean and standard deviation of the pixels, scaled to [0, 1].
struct Normalisation {
  double mean = 0;
  double deviation = 1;
  bool operator==(const Normalisation&) const = default;
};
Normalisation measure_pixels(const ImageSet& images);

}  // namespace rondo::trainer
