#include "trainer/data/image_batch.h"

namespace rondo::trainer {

ImageWriter::ImageWriter(Normalisation normalisation) {
  for (size_t pixel = 0; pixel < value_of_.size(); ++pixel) {
    value_of_[pixel] =
        static_cast<float>((static_cast<double>(pixel) / 255 - normalisation.mean) / normalisation.deviation);
  }
}

void ImageWriter::write(const ImageSet& images, int64_t sample, Mirror mirror, float* out) const {
  const uint8_t* row = images.pixels.data() + sample * kImagePixels;
  for (int64_t y = 0; y < kImageSide; ++y, row += kImageSide, out += kImageSide) {
    if (mirror == Mirror::kYes) {
      for (int64_t x = 0; x < kImageSide; ++x) out[x] = value_of_[row[kImageSide - 1 - x]];
    } else {
      for (int64_t x = 0; x < kImageSide; ++x) out[x] = value_of_[row[x]];
    }
  }
}

}  // namespace rondo::trainer
