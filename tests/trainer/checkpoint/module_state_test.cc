#include "trainer/checkpoint/module_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "rondo/error.h"
#include "trainer/models/models.h"

namespace rondo::trainer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names(const SafetensorsFile& file) {
  std::vector<std::string> found;
  for (const TensorRecord& tensor : file.tensors()) found.push_back(tensor.name);
  return found;
}
SafetensorsFile parsed(const std::vector<std::byte>& content) { return SafetensorsFile::parse(content, "file"); }

/// Layers with parameters and buffers of two types, and a tied pair.
struct Mixed : torch::nn::Module {
  Mixed() {
    encoder = register_module("encoder", torch::nn::Linear(torch::nn::LinearOptions(3, 4).bias(false)));
    norm = register_module("norm", torch::nn::BatchNorm1d(4));
    decoder = register_module("decoder", std::make_shared<Holder>());
    decoder->register_parameter("weight", encoder->weight);
  }
  struct Holder : torch::nn::Module {};
  torch::nn::Linear encoder{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
  std::shared_ptr<Holder> decoder;
};

TEST(ModuleState, KeysAreThoseOfPythonsStateDict) {
  FmnistCnn net;
  EXPECT_THAT(names(parsed(encode_module(net).content)),
              ElementsAre("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.weight", "fc1.bias",
                          "fc2.weight", "fc2.bias"));
}

TEST(ModuleState, BuffersAreKeptAndTiedWeightsStoredOnce) {
  Mixed module;
  const ModuleState state = encode_module(module);
  EXPECT_THAT(names(parsed(state.content)), ElementsAre("norm.num_batches_tracked", "encoder.weight", "norm.weight",
                                                        "norm.bias", "norm.running_mean", "norm.running_var"));
  EXPECT_EQ(state.aliases, (std::map<std::string, std::string>{{"decoder.weight", "encoder.weight"}}));
}

TEST(ModuleState, LoadingWritesInPlaceAndGivesTheSameHash) {
  Mixed from, to;
  from.norm->running_mean.fill_(3);
  const void* const storage = to.encoder->weight.const_data_ptr();
  EXPECT_NE(hash_parameters(from), hash_parameters(to));
  decode_module(to, parsed(encode_module(from).content), "file");
  EXPECT_EQ(to.encoder->weight.const_data_ptr(), storage) << "reducers and optimizers hold on to it";
  EXPECT_EQ(hash_parameters(from), hash_parameters(to));
  EXPECT_TRUE(to.norm->running_mean.equal(from.norm->running_mean));
  EXPECT_TRUE(to.encoder->weight.requires_grad());
}

TEST(ModuleState, AFileThatDoesNotFitChangesNothing) {
  FmnistCnn cnn;
  FmnistMlp mlp;
  const std::string before = hash_parameters(mlp);
  const auto complaint = [&](torch::nn::Module& into, const std::vector<std::byte>& content) {
    try {
      decode_module(into, parsed(content), "some/model.safetensors");
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kCorrupt);
      EXPECT_THAT(error.what(), HasSubstr("some/model.safetensors"));
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(complaint(mlp, encode_module(cnn).content),
              HasSubstr("\"fc1.weight\": expected F32 [256, 784], found F32 [128, 3136]"));
  EXPECT_EQ(hash_parameters(mlp), before);
  const std::vector<float> one{1};
  const std::vector<std::byte> source = encode_module(mlp).content;
  const SafetensorsFile file = parsed(source);
  auto more = file.tensors();
  more.push_back({"fc5.weight", "F32", {1}, std::as_bytes(std::span(one))});
  EXPECT_THAT(complaint(mlp, encode_safetensors(more, {})), HasSubstr("\"fc5.weight\" is not in the model"));
  auto fewer = file.tensors();
  fewer.pop_back();
  EXPECT_THAT(complaint(mlp, encode_safetensors(fewer, {})), HasSubstr("\"fc4.bias\" is missing"));
  mlp.to(torch::kFloat64);
  EXPECT_THAT(complaint(mlp, source), HasSubstr("expected F64"));
}

TEST(ModuleState, ParametersHashSeesOneBit) {
  FmnistMlp net;
  const std::string before = hash_parameters(net);
  EXPECT_EQ(hash_parameters(net), before);
  auto bits = net.parameters().back().view(torch::kInt32);
  bits.data_ptr<int32_t>()[3] ^= 1;
  EXPECT_NE(hash_parameters(net), before);
}

void train_a_little(FmnistMlp& net, torch::optim::Optimizer& optimizer, int steps) {
  for (int step = 0; step < steps; ++step) {
    const auto inputs = torch::arange(4 * 784, torch::kFloat32).sin().reshape({4, 1, 28, 28}) * (step + 1);
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(net.forward(inputs), torch::tensor({1, 2, 3, 4})).backward();
    optimizer.step();
  }
}

/// Training on after saving and loading must end with the same bits as training through.
template <typename O, typename Options>
void expect_exact_resume(const Options& options) {
  torch::manual_seed(1);
  FmnistMlp through;
  O through_optimizer(through.parameters(), options);
  train_a_little(through, through_optimizer, 3);
  const auto model = encode_module(through).content;
  const auto state = encode_optimizer(through, through_optimizer);
  train_a_little(through, through_optimizer, 3);

  FmnistMlp resumed;
  Options other = options;
  other.lr(123);
  O resumed_optimizer(resumed.parameters(), other);
  decode_module(resumed, parsed(model), "file");
  decode_optimizer(resumed, resumed_optimizer, parsed(state), "file");
  train_a_little(resumed, resumed_optimizer, 3);
  EXPECT_EQ(hash_parameters(resumed), hash_parameters(through));
}

TEST(OptimizerState, ResumesInEveryBit) {
  expect_exact_resume<torch::optim::SGD>(torch::optim::SGDOptions(0.1).momentum(0.9).nesterov(true).weight_decay(5e-4));
  expect_exact_resume<torch::optim::SGD>(torch::optim::SGDOptions(0.1));
  expect_exact_resume<torch::optim::Adam>(torch::optim::AdamOptions(1e-3).amsgrad(true));
  expect_exact_resume<torch::optim::AdamW>(torch::optim::AdamWOptions(1e-3));
}

TEST(OptimizerState, AnotherKindOfOptimizerIsRefused) {
  FmnistMlp net;
  torch::optim::RMSprop rms(net.parameters(), torch::optim::RMSpropOptions(0.1));
  train_a_little(net, rms, 1);
  EXPECT_THROW(encode_optimizer(net, rms), Error);
  torch::optim::SGD sgd(net.parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  torch::optim::Adam adam(net.parameters(), torch::optim::AdamOptions(0.1));
  train_a_little(net, sgd, 1);
  try {
    decode_optimizer(net, adam, parsed(encode_optimizer(net, sgd)), "some/optimizer.safetensors");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("momentum_buffer"));
  }
}

TEST(Models, HaveTheParametersThatAreDocumented) {
  const auto count = [](const torch::nn::Module& net) {
    int64_t sum = 0;
    for (const auto& parameter : net.parameters()) sum += parameter.numel();
    return sum;
  };
  EXPECT_EQ(count(FmnistCnn()), 421'642);
  EXPECT_EQ(count(FmnistMlp()), 242'762);
  EXPECT_EQ(FmnistCnn().forward(torch::zeros({5, 1, 28, 28})).sizes().vec(), (std::vector<int64_t>{5, 10}));
  EXPECT_EQ(FmnistMlp().forward(torch::zeros({5, 1, 28, 28})).sizes().vec(), (std::vector<int64_t>{5, 10}));
}

}  // namespace
}  // namespace rondo::trainer
