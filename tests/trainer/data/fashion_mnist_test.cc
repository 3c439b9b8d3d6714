#include "trainer/data/fashion_mnist.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "rondo/error.h"
#include "tests/trainer/data/test_data.h"

namespace rondo::trainer {
namespace {

using test::gzip;
using test::idx_content;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct Complaint {
  ExitCode exit_code;
  std::string words;
};
Complaint complaint(const std::filesystem::path& folder) {
  try {
    read_fashion_mnist(folder, Split::kTrain);
  } catch (const Error& error) {
    return {error.exit_code(), error.what()};
  }
  return {ExitCode::kFailure, "no error"};
}

TEST(FashionMnist, ReadsBothSplitsOfAFolder) {
  const test::TemporaryFolder folder;
  test::write_small_dataset(folder.path(), {.train = 20, .test = 10});
  const ImageSet train = read_fashion_mnist(folder.path(), Split::kTrain);
  const ImageSet test = read_fashion_mnist(folder.path(), Split::kTest);
  EXPECT_EQ(train.count(), 20);
  EXPECT_EQ(test.count(), 10);
  EXPECT_EQ(static_cast<int64_t>(train.pixels.size()), 20 * kImagePixels);
  EXPECT_EQ(train.labels[3], 1);                                                         // 3 * 7 mod 10
  EXPECT_EQ(train.pixels[static_cast<size_t>(3 * kImagePixels + 3 * kImageSide)], 255);  // its bar begins in row 3
}

TEST(FashionMnist, AMissingFolderSaysWhatToInstall) {
  const Complaint found = complaint("/nonexistent/folder");
  EXPECT_EQ(found.exit_code, ExitCode::kPreflight);
  EXPECT_THAT(found.words,
              AllOf(HasSubstr("/nonexistent/folder"), HasSubstr("dataset-fashion-mnist"), HasSubstr("data=FOLDER")));
}

TEST(FashionMnist, AMissingFileIsNamed) {
  const test::TemporaryFolder folder;
  test::write_small_dataset(folder.path(), {});
  std::filesystem::remove(folder.path() / "train-labels-idx1-ubyte.gz");
  const Complaint found = complaint(folder.path());
  EXPECT_EQ(found.exit_code, ExitCode::kPreflight);
  EXPECT_THAT(found.words, HasSubstr("train-labels-idx1-ubyte"));
}

TEST(FashionMnist, CountsSizesAndLabelsAreChecked) {
  const test::TemporaryFolder folder;
  test::write_small_dataset(folder.path(), {.train = 20, .test = 10});
  const auto labels = folder.path() / "train-labels-idx1-ubyte.gz";
  test::write_file(labels, gzip(idx_content({19}, std::string(19, '\x01'))));
  EXPECT_THAT(complaint(folder.path()).words,
              AllOf(HasSubstr(labels.string()), HasSubstr("expected 20"), HasSubstr("found 19")));
  EXPECT_EQ(complaint(folder.path()).exit_code, ExitCode::kCorrupt);
  test::write_file(labels, gzip(idx_content({20}, std::string(19, '\x01') + '\x0a')));
  EXPECT_THAT(complaint(folder.path()).words, AllOf(HasSubstr("label 19"), HasSubstr("0 to 9"), HasSubstr("found 10")));
  test::write_file(labels, gzip(idx_content({20}, std::string(20, '\x09'))));
  EXPECT_EQ(complaint(folder.path()).words, "no error");
  test::write_file(folder.path() / "train-images-idx3-ubyte.gz",
                   gzip(idx_content({20, 28, 27}, std::string(20 * 28 * 27, 'x'))));
  EXPECT_THAT(complaint(folder.path()).words, AllOf(HasSubstr("28 x 28"), HasSubstr("28 x 27")));
}

TEST(FashionMnist, PixelStatisticsAreThoseOfTheDefinition) {
  ImageSet images;
  for (int i = 0; i < 784; ++i) images.pixels.push_back(static_cast<uint8_t>(i * 31 % 256));
  const double mean = std::accumulate(images.pixels.begin(), images.pixels.end(), 0.0) / 784 / 255;
  double squares = 0;
  for (const uint8_t pixel : images.pixels) squares += std::pow(pixel / 255.0 - mean, 2);
  const Normalisation measured = measure_pixels(images);
  EXPECT_NEAR(measured.mean, mean, 1e-12);
  EXPECT_NEAR(measured.deviation, std::sqrt(squares / 784), 1e-12);
  images.pixels.assign(784, 7);
  EXPECT_EQ(measure_pixels(images).deviation, 1) << "equal pixels must not divide by zero";
}

TEST(FashionMnist, TheInstalledDatasetIsTheKnownOne) {
  ASSERT_TRUE(std::filesystem::exists(kFashionMnistFolder)) << "install dataset-fashion-mnist (./dev setup)";
  const ImageSet train = read_fashion_mnist(kFashionMnistFolder, Split::kTrain);
  EXPECT_EQ(train.count(), 60'000);
  EXPECT_EQ(read_fashion_mnist(kFashionMnistFolder, Split::kTest).count(), 10'000);
  // The published statistics of Fashion-MNIST.
  EXPECT_NEAR(measure_pixels(train).mean, 0.2860, 1e-4);
  EXPECT_NEAR(measure_pixels(train).deviation, 0.3530, 1e-4);
}

}  // namespace
}  // namespace rondo::trainer
