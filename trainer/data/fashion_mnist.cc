#include "trainer/data/fashion_mnist.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "rondo/error.h"
#include "trainer/data/idx.h"

namespace rondo::trainer {
namespace {

constexpr const char* kRemedy = "install Debian's dataset-fashion-mnist (./dev setup) or pass data=FOLDER";

/// `name` or `name`.gz in `folder`.
std::filesystem::path find(const std::filesystem::path& folder, const std::string& name) {
  for (const char* ending : {".gz", ""}) {
    if (auto file = folder / (name + ending); std::filesystem::exists(file)) return file;
  }
  throw Error("no data: " + (folder / name).string() + " is missing, with or without .gz; " + kRemedy,
              ExitCode::kPreflight);
}

[[noreturn]] void corrupt(const std::filesystem::path& file, const std::string& what) {
  throw Error(file.string() + ": " + what + ". The file is damaged or another one.", ExitCode::kCorrupt);
}

}  // namespace

ImageSet read_fashion_mnist(const std::filesystem::path& folder, Split split) {
  if (!std::filesystem::is_directory(folder)) {
    throw Error("no data: the folder " + folder.string() + " is missing; " + kRemedy, ExitCode::kPreflight);
  }
  const std::string prefix = split == Split::kTrain ? "train" : "t10k";
  const auto image_file = find(folder, prefix + "-images-idx3-ubyte");
  const auto label_file = find(folder, prefix + "-labels-idx1-ubyte");
  IdxArray images = read_idx(image_file, 3);
  IdxArray labels = read_idx(label_file, 1);
  if (images.dimensions[1] != kImageSide || images.dimensions[2] != kImageSide) {
    corrupt(image_file, "image size: expected 28 x 28, found " + std::to_string(images.dimensions[1]) + " x " +
                            std::to_string(images.dimensions[2]));
  }
  if (images.dimensions[0] != labels.dimensions[0]) {
    corrupt(label_file, "number of labels: expected " + std::to_string(images.dimensions[0]) +
                            ", as many as there are images in " + image_file.filename().string() + ", found " +
                            std::to_string(labels.dimensions[0]));
  }
  const auto wrong = std::ranges::find_if(labels.values, [](uint8_t label) { return label >= kClassCount; });
  if (wrong != labels.values.end()) {
    corrupt(label_file, "label " + std::to_string(wrong - labels.values.begin()) + ": expected 0 to 9, found " +
                            std::to_string(*wrong));
  }
  return {.pixels = std::move(images.values), .labels = std::move(labels.values)};
}

Normalisation measure_pixels(const ImageSet& images) {
  std::array<int64_t, 256> histogram{};
  for (const uint8_t pixel : images.pixels) ++histogram[pixel];
  int64_t sum = 0, squares = 0;
  for (int64_t value = 0; value < 256; ++value) {
    sum += value * histogram[value];
    squares += value * value * histogram[value];
  }
  const auto count = static_cast<double>(images.pixels.size());
  const double mean = static_cast<double>(sum) / count;
  const double variance = static_cast<double>(squares) / count - mean * mean;
  return {.mean = mean / 255, .deviation = variance > 0 ? std::sqrt(variance) / 255 : 1};
}

}  // namespace rondo::trainer
