// .pt and safetensors files of a module. The files in data/ were written by tests/parity/state_dict_files.py.
#include "rondo/state_dict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>

#include "rondo/error.h"
#include "tests/trainer/data/test_data.h"
#include "trainer/checkpoint/module_tensors.h"
#include "trainer/torch_bridge/pt_file.h"

namespace rondo {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const fs::path kData = RONDO_TEST_DATA;

/// The net of the script.
struct NetImpl : torch::nn::Module {
  NetImpl() {
    embedding = register_module("embedding", torch::nn::Embedding(4, 3));
    first = register_module("first", torch::nn::Linear(3, 5));
    norm = register_module("norm", torch::nn::BatchNorm1d(5));
    head = register_module("head", std::make_shared<torch::nn::Module>());
    head->register_parameter("weight", embedding->weight);
  }
  torch::nn::Embedding embedding{nullptr};
  torch::nn::Linear first{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
  std::shared_ptr<torch::nn::Module> head;
};
TORCH_MODULE(Net);

/// The values that the script gives.
void expect_values_of_the_script(const torch::nn::Module& module) {
  int64_t place = 0;
  for (const auto& [name, tensor] : trainer::state_dict_tensors(module)) {
    const auto numbers = torch::arange(tensor.numel()).view(tensor.sizes());
    const auto expected = name == "norm.num_batches_tracked" ? torch::tensor(int64_t{7})
                          : name == "head.weight"            ? numbers / 8
                                                             : (numbers + 100 * place) / 8;
    EXPECT_TRUE(torch::equal(tensor.detach(), expected)) << name;
    ++place;
  }
  EXPECT_EQ(place, 9);
}

std::string complaint(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kCorrupt);
    return error.what();
  }
  return "accepted";
}

TEST(StateDict, OfPythonLoadsIntoAModule) {
  Net net;
  load_pt(*net, kData / "state_dict.pt");
  expect_values_of_the_script(*net);
  EXPECT_TRUE(net->head->parameters()[0].is_same(net->embedding->weight)) << "still tied";

  Net second;
  load_pt(*second, kData / "training.pt", "model");  // with module. before every key
  expect_values_of_the_script(*second);

  Net third;
  load_safetensors(*third, kData / "state_dict.safetensors");  // the tied one under one name
  expect_values_of_the_script(*third);
}

TEST(StateDict, GoesThroughAFileWithEveryBit) {
  const test::TemporaryFolder folder;
  torch::manual_seed(1);
  Net net;
  net->norm->running_mean.fill_(0.1);
  const auto module = std::make_shared<torch::nn::Module>();
  module->register_module("net", net.ptr());
  module->register_parameter("half", torch::randn({3, 2}).to(torch::kBFloat16));
  const auto shared = torch::randn({100});
  module->register_parameter("slice", shared.slice(0, 10, 90, 2));  // of a larger storage, with strides
  module->register_buffer("mask", torch::tensor({true, false}));
  module->register_buffer("empty", torch::empty({0, 3}));
  module->register_buffer("scalar", torch::tensor(2.5, torch::kDouble));

  const auto clone_of = [&] {
    std::vector<torch::Tensor> copies;
    for (const auto& item : trainer::state_dict_tensors(*module)) copies.push_back(item.tensor.detach().clone());
    return copies;
  };
  const auto before = clone_of();
  for (const std::string name : {"x.pt", "x.safetensors"}) {
    const std::string file = folder.path() / name;
    if (name == "x.pt") {
      save_pt(*module, file);
      EXPECT_LT(fs::file_size(file), 5'000U) << "a view must not bring its whole storage";
    } else {
      save_safetensors(*module, file);
    }
    {
      const torch::NoGradGuard no_grad;
      for (const auto& item : trainer::state_dict_tensors(*module)) item.tensor.zero_();
    }
    if (name == "x.pt") {
      load_pt(*module, file);
    } else {
      load_safetensors(*module, file);
    }
    const auto after = clone_of();
    for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(torch::equal(before[i], after[i])) << name << " " << i;
  }
}

TEST(StateDict, OfTiedWeightsStaysTiedInAPtFile) {
  const test::TemporaryFolder folder;
  Net net;
  save_pt(*net, folder.path() / "x.pt");
  const auto tensors = trainer::read_pt(folder.path() / "x.pt", "");
  ASSERT_EQ(tensors.front().first, "embedding.weight");
  ASSERT_EQ(tensors.back().first, "head.weight");
  EXPECT_LT(fs::file_size(folder.path() / "x.pt"), 4'500U);
}

TEST(StateDict, AllThatDoesNotFitIsNamedAndNothingIsChanged) {
  torch::nn::Sequential other;  // keys 0.weight, ...
  other->push_back("first", torch::nn::Linear(3, 6));
  other->push_back("extra", torch::nn::Linear(2, 2));
  const auto before = other->parameters()[0].detach().clone();
  const std::string said = complaint([&] { load_pt(*other, kData / "state_dict.pt"); });
  EXPECT_THAT(said, AllOf(HasSubstr("missing in the file: extra.weight, extra.bias"),
                          HasSubstr("unexpected, not in the module: embedding.weight, head.weight, norm.bias"),
                          HasSubstr("first.weight (expected float32 [6, 3], found float32 [5, 3])"),
                          HasSubstr((kData / "state_dict.pt").string())));
  EXPECT_TRUE(torch::equal(before, other->parameters()[0]));
}

TEST(StateDict, TiedWeightsThatDifferInTheFileAreNamed) {
  const test::TemporaryFolder folder;
  Net net;
  trainer::NamedTensors tensors = trainer::read_pt(kData / "state_dict.pt", "");
  tensors.back().second = torch::ones({4, 3});
  const auto content = trainer::encode_pt(tensors);
  test::write_file(folder.path() / "x.pt", {reinterpret_cast<const char*>(content.data()), content.size()});
  EXPECT_THAT(complaint([&] { load_pt(*net, folder.path() / "x.pt"); }),
              HasSubstr("tied in the module, different in the file: head.weight and embedding.weight"));
}

TEST(StateDict, AFileOfSomethingElseIsRefusedWithWhatItHolds) {
  const test::TemporaryFolder folder;
  Net net;
  const auto said = [&](const fs::path& file, const std::string& entry = "") {
    return complaint([&] { load_pt(*net, file, entry); });
  };
  EXPECT_THAT(said(kData / "training.pt"), HasSubstr("it holds: epoch, model"));
  EXPECT_THAT(said(kData / "training.pt", "optimizer"), HasSubstr("no state_dict under \"optimizer\""));
  EXPECT_THAT(said(folder.path() / "none.pt"), HasSubstr("there is no such file"));
  test::write_file(folder.path() / "text.pt", "no zip");
  EXPECT_THAT(said(folder.path() / "text.pt"), AllOf(HasSubstr("no .pt file"), Not(HasSubstr("\n"))));
  const std::string whole = test::read_file(kData / "state_dict.pt");
  for (const size_t length : {whole.size() / 2, whole.size() - 1}) {
    test::write_file(folder.path() / "cut.pt", whole.substr(0, length));
    EXPECT_THAT(said(folder.path() / "cut.pt"), HasSubstr("no .pt file")) << length;
  }
}

TEST(StateDict, NoCodeOfAFileIsRun) {
  const fs::path trace = "/tmp/rondo-evil-pickle-was-run";
  fs::remove(trace);
  Net net;
  EXPECT_THAT(
      complaint([&] { load_pt(*net, kData / "evil.pt"); }),
      AllOf(HasSubstr("evil.pt: is no state_dict: \"first.weight\""), HasSubstr("of posix system, which is not run")));
  EXPECT_FALSE(fs::exists(trace));
}

}  // namespace
}  // namespace rondo
