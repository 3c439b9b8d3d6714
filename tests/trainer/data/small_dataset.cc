/// usage: small_dataset FOLDER TRAIN TEST: a small dataset in Fashion-MNIST's layout, for tests without zlib.
#include <cstdlib>

#include "tests/trainer/data/test_data.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  std::filesystem::create_directories(argv[1]);
  const auto count = [](const char* text) { return static_cast<uint32_t>(std::strtoul(text, nullptr, 10)); };
  rondo::test::write_small_dataset(argv[1], {.train = count(argv[2]), .test = count(argv[3])});
}
