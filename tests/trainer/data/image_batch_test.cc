#include "trainer/data/image_batch.h"

#include <gtest/gtest.h>

#include <vector>

namespace rondo::trainer {
namespace {

ImageSet two_images() {
  ImageSet images;
  for (int i = 0; i < 2 * kImagePixels; ++i) images.pixels.push_back(static_cast<uint8_t>(i * 13 % 256));
  images.labels = {0, 1};
  return images;
}

TEST(ImageWriter, NormalisesEveryPixelOfTheAskedImage) {
  const ImageSet images = two_images();
  const ImageWriter writer({.mean = 0.25, .deviation = 0.5});
  std::vector<float> out(kImagePixels);
  writer.write(images, 1, ImageWriter::Mirror::kNo, out.data());
  for (int64_t i = 0; i < kImagePixels; ++i) {
    EXPECT_NEAR(out[static_cast<size_t>(i)],
                (static_cast<float>(images.pixels[static_cast<size_t>(kImagePixels + i)]) / 255 - 0.25F) / 0.5F, 1e-6);
  }
}

TEST(ImageWriter, MirrorsEachRowAndNothingElse) {
  const ImageSet images = two_images();
  const ImageWriter writer({.mean = 0.25, .deviation = 0.5});
  std::vector<float> plain(kImagePixels), mirrored(kImagePixels);
  writer.write(images, 0, ImageWriter::Mirror::kNo, plain.data());
  writer.write(images, 0, ImageWriter::Mirror::kYes, mirrored.data());
  for (int64_t y = 0; y < kImageSide; ++y) {
    for (int64_t x = 0; x < kImageSide; ++x) {
      EXPECT_EQ(mirrored[static_cast<size_t>(y * kImageSide + x)],
                plain[static_cast<size_t>(y * kImageSide + kImageSide - 1 - x)]);
    }
  }
  EXPECT_NE(plain, mirrored);
}

}  // namespace
}  // namespace rondo::trainer
