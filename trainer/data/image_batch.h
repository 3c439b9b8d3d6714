/// From bytes to what the net sees, in one pass: gathered, mirrored, scaled to [0, 1] and normalised.
#pragma once

#include <array>
#include <cstdint>

#include "trainer/data/fashion_mnist.h"

namespace rondo::trainer {

class ImageWriter {
 public:
  explicit ImageWriter(Normalisation normalisation);

  enum class Mirror : uint8_t { kNo, kYes };
  /// Writes image `sample` of `images`: kImagePixels numbers at `out`.
  void write(const ImageSet& images, int64_t sample, Mirror mirror, float* out) const;

 private:
  std::array<float, 256> value_of_;  // by pixel
};

}  // namespace rondo::trainer
