// Rondo against what PyTorch's DistributedDataParallel computed once: golden files, float64, without Python.
// `./dev parity --write-golden` writes them anew.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/parity/case_runner.h"
#include "tests/trainer/support/trainer_ranks.h"

namespace rondo::test {
namespace {

// Other instruction sets round differently; that is all that may differ.
constexpr double kBound = 1e-10;

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(RONDO_GOLDEN_DIR)) {
    if (entry.path().extension() == ".safetensors") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

ParityCase golden(const std::string& name) {
  return read_parity_case(std::filesystem::path(RONDO_GOLDEN_DIR) / (name + ".safetensors"));
}

Tensors compute(const ParityCase& parity_case) {
  Tensors computed;
  run_jobs(world_size_of(parity_case), [&](const Job& job) {
    Tensors mine = run_parity_case(job, parity_case);
    if (job.rank == 0) computed = std::move(mine);
  });
  return computed;
}

class Golden : public ::testing::TestWithParam<std::string> {};

TEST_P(Golden, CaseHasTheNumbersOfPyTorch) {
  const ParityCase parity_case = golden(GetParam());
  const Tensors computed = compute(parity_case);
  EXPECT_EQ(computed.at("replicas_equal").item().toLong(), 1);
  EXPECT_EQ(difference_from_expected(parity_case, computed, kBound), "");
}

INSTANTIATE_TEST_SUITE_P(Parity, Golden, ::testing::ValuesIn(golden_names()), [](const auto& golden_case) {
  std::string name = golden_case.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(GoldenFiles, CoverEveryKindOfStepAndStaySmall) {
  const auto names = golden_names();
  uintmax_t bytes = 0;
  for (const auto& name : names)
    bytes += std::filesystem::file_size(std::string(RONDO_GOLDEN_DIR "/") + name + ".safetensors");
  EXPECT_LE(bytes, 1'000'000u);
  EXPECT_THAT(names, ::testing::IsSupersetOf({"accumulation", "adamw", "sgd-cnn", "sgd-gpt", "sgd-mlp", "sgd-resnet8",
                                              "sync-batch-norm", "uneven-inputs", "unused-parameters", "world-3"}));
}

TEST(GoldenFiles, ANumberThatIsOffByAMillionthIsSeenInEachKindOfTensor) {
  const ParityCase right = golden("sgd-resnet8");
  const Tensors computed = compute(right);
  ASSERT_EQ(difference_from_expected(right, computed, kBound), "");
  for (const std::string name : {"loss", "parameter.fc.bias", "buffer.stage1.bn1.running_var"}) {
    ParityCase wrong = right;
    torch::Tensor& tensor = wrong.tensors.at("expect." + name);
    tensor = tensor * (1 + 1e-6);
    EXPECT_THAT(difference_from_expected(wrong, computed, kBound), ::testing::StartsWith(name + " differs by"));
  }
}

}  // namespace
}  // namespace rondo::test
