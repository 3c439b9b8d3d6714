// `rondo ckpt` as a person uses it, on checkpoints of three steps with a part and tied weights.
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/trainer/data/test_data.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/part_file.h"
#include "trainer/checkpoint/retention.h"
#include "trainer/checkpoint/tensor_records.h"
#include "trainer/torch_bridge/pt_file.h"

namespace rondo::trainer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

class Ckpt : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const int64_t step : {5, 60, 700}) {
      RecordList model;
      model.add("encoder.weight", at::full({4, 3}, static_cast<double>(step)));
      model.add("bias", at::full({7}, 0.5, at::kDouble));
      PartContent averages{.tensors = {{"bias", at::full({7}, 0.25, at::kDouble)}}, .texts = {{"updates", "9"}}};
      PartContent own{.tensors = {{"state", at::full({2}, 1, at::kByte)}}, .texts = {}};
      Manifest manifest{.step = step};
      manifest.world_size = 1;
      manifest.config = {{"lr", "0.1"}};
      manifest.metrics = {{"loss", step == 60 ? 0.125 : 0.5}};
      manifest.aliases = {{"decoder.weight", "encoder.weight"}};
      manifest.parts = {{"ema", 0}, {"generator", 1}};
      write_checkpoint(checkpoints(), manifest,
                       {{kModelFile, model.encode({{"format", "pt"}})},
                        {kOptimizerFile, RecordList().encode({})},
                        {part_file_name("ema", std::nullopt), encode_part(averages)},
                        {part_file_name("generator", 0), encode_part(own)}});
      apply_keep_rules(checkpoints(), step, {.best_metric = "loss"});
    }
  }
  fs::path checkpoints() const { return folder_.path() / "run" / "checkpoints"; }

  struct Ended {
    int exit_code = -1;
    std::string output;  // stdout and stderr
  };
  Ended ckpt(const std::string& arguments) const {
    const std::string command =
        "cd " + folder_.path().string() + " && timeout 60 " RONDO_PROGRAM " ckpt " + arguments + " 2>&1";
    FILE* const pipe = popen(command.c_str(), "r");
    Ended ended;
    std::array<char, 4096> part{};
    while (const size_t count = fread(part.data(), 1, part.size(), pipe)) ended.output.append(part.data(), count);
    const int status = pclose(pipe);
    if (WIFEXITED(status)) ended.exit_code = WEXITSTATUS(status);
    return ended;
  }
  json ckpt_json(const std::string& arguments, int exit_code = 0) const {
    const Ended ended = ckpt(arguments + " --json");
    EXPECT_EQ(ended.exit_code, exit_code) << ended.output;
    return json::parse(ended.output, nullptr, false);
  }
  /// Same size, other bytes.
  void damage(const std::string& name) {
    std::string content = test::read_file(checkpoints() / name);
    content.back() = static_cast<char>(content.back() ^ 1);
    test::write_file(checkpoints() / name, content);
  }

  const test::TemporaryFolder folder_;
};

TEST_F(Ckpt, LsShowsStepsSizesMetricsAndTheBest) {
  const Ended words = ckpt("ls run");
  EXPECT_EQ(words.exit_code, 0);
  EXPECT_THAT(words.output,
              MatchesRegex("checkpoint +size +written +state +metrics\n"
                           "step-00000700 +1\\.[0-9] KB +20[0-9-]+ [0-9:]+ +valid +loss 0\\.5\n"
                           "step-00000060 +1\\.[0-9] KB +20[0-9-]+ [0-9:]+ +valid +loss 0\\.125 \\(best\\)\n"
                           "step-00000005 +1\\.[0-9] KB +20[0-9-]+ [0-9:]+ +valid +loss 0\\.5\n"));
  const json list = ckpt_json("ls run")["checkpoints"];
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[0]["step"], 700);
  EXPECT_EQ(list[1]["metrics"]["loss"], 0.125);
  EXPECT_EQ(list[1]["best"], true);
  EXPECT_EQ(list[0]["best"], false);
  fs::remove(checkpoints() / "step-00000700" / kModelFile);
  fs::remove(checkpoints() / "step-00000005" / kManifestFile);
  const json damaged = ckpt_json("ls run/checkpoints")["checkpoints"];
  EXPECT_EQ(damaged[0]["valid"], false);
  EXPECT_EQ(damaged[1]["valid"], true);
  EXPECT_EQ(damaged[2]["step"], 5);
  EXPECT_THAT(damaged[2]["problem"], HasSubstr("manifest.json"));
}

TEST_F(Ckpt, ShowHasTensorsAndParts) {
  const Ended words = ckpt("show run");
  EXPECT_EQ(words.exit_code, 0);
  EXPECT_THAT(words.output,
              AllOf(HasSubstr("step 700, epoch 0, 1 rank, written 20"), HasSubstr("  lr = 0.1\n"),
                    HasSubstr("  decoder.weight = encoder.weight\n"), HasSubstr("  ema\n"),
                    HasSubstr("  generator (each rank's own, of 1)\n"), HasSubstr("  encoder.weight  F32  [4, 3]\n"),
                    HasSubstr("part.ema.safetensors: 1 tensors"), HasSubstr("  updates = 9\n")));
  EXPECT_EQ(ckpt_json("show run --which best")["step"], 60);
  EXPECT_EQ(ckpt_json("show run --which step-00000005")["step"], 5);
  const json one = ckpt_json("show run/checkpoints/step-00000005");
  EXPECT_EQ(one["step"], 5);
  EXPECT_EQ(one["parts"], json({{"ema", 0}, {"generator", 1}}));
  for (const json& file : one["files"]) {
    if (file["name"] == kModelFile) {
      EXPECT_EQ(file["tensors"][1], json({{"name", "encoder.weight"}, {"dtype", "F32"}, {"shape", {4, 3}}}));
    }
  }
  fs::remove(checkpoints() / "step-00000700" / kModelFile);
  EXPECT_THAT(ckpt("show run").output,
              AllOf(HasSubstr("skipped: run/checkpoints/step-00000700"), HasSubstr("step 60,")));
}

TEST_F(Ckpt, VerifyReadsEveryByteAndNamesTheDamagedFile) {
  EXPECT_EQ(ckpt("verify run").exit_code, 0);
  damage("step-00000060/part.ema.safetensors");
  EXPECT_EQ(ckpt("ls run").exit_code, 0) << "ls compares sizes";
  const Ended words = ckpt("verify run");
  EXPECT_EQ(words.exit_code, 6);
  EXPECT_THAT(words.output, AllOf(HasSubstr("run/checkpoints/step-00000060/part.ema.safetensors: expected SHA-256")));
  const json list = ckpt_json("verify run", 6)["checkpoints"];
  EXPECT_EQ(list[0]["valid"], true);
  EXPECT_EQ(list[1]["valid"], false);
  EXPECT_EQ(ckpt("verify run/checkpoints/step-00000700").exit_code, 0);
  EXPECT_EQ(ckpt("verify run/checkpoints/best").exit_code, 6);
  EXPECT_EQ(ckpt("export run model.pt --which best").exit_code, 6);
  EXPECT_FALSE(fs::exists(folder_.path() / "model.pt"));
}

TEST_F(Ckpt, ExportWritesTheModelWithTiedWeightsUnderEachNameOrAPart) {
  const auto check = [](const std::map<std::string, at::Tensor>& tensors, double expected) {
    ASSERT_EQ(tensors.size(), 3U);
    EXPECT_TRUE(at::equal(tensors.at("encoder.weight"), at::full({4, 3}, expected)));
    EXPECT_TRUE(at::equal(tensors.at("decoder.weight"), tensors.at("encoder.weight")));
    EXPECT_TRUE(at::equal(tensors.at("bias"), at::full({7}, 0.5, at::kDouble)));
  };
  const Ended words = ckpt("export run model.pt");
  EXPECT_EQ(words.exit_code, 0);
  EXPECT_THAT(words.output, MatchesRegex("model\\.pt: 3 tensors, 1\\.[0-9] KB, of run/checkpoints/step-00000700\n"));
  const NamedTensors pt = read_pt(folder_.path() / "model.pt", "");
  check({pt.begin(), pt.end()}, 700);
  EXPECT_EQ(ckpt("export run --which best --format safetensors any-name").exit_code, 0);
  const auto file = SafetensorsFile::read(folder_.path() / "any-name");
  check(decode_part(file).tensors, 60);
  EXPECT_EQ(ckpt("export run --part ema averages.safetensors").exit_code, 0);
  const auto averages = decode_part(SafetensorsFile::read(folder_.path() / "averages.safetensors"));
  EXPECT_TRUE(at::equal(averages.tensors.at("bias"), at::full({7}, 0.25, at::kDouble)));
  EXPECT_THAT(ckpt("export run --part generator x.pt").output, HasSubstr("it has: ema"));
  EXPECT_EQ(ckpt("export run no/such/folder/x.pt").exit_code, 1);
}

TEST_F(Ckpt, OfWhatIsNotThereSaysWhatThereIs) {
  fs::create_directories(folder_.path() / "empty");
  fs::create_directories(folder_.path() / "runs" / "mine-1");
  const Ended none = ckpt("ls empty");
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_THAT(none.output, HasSubstr("rondo ckpt: there is no checkpoint in empty"));
  EXPECT_EQ(ckpt("show empty").exit_code, 3);
  const Ended run = ckpt("ls mine-2");
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.output, HasSubstr("rondo ckpt: mine-2: no such run; did you mean mine-1?"));
  const Ended which = ckpt("show run --which bset");
  EXPECT_EQ(which.exit_code, 2);
  EXPECT_THAT(which.output, HasSubstr("there are: step-00000700, step-00000060, step-00000005"));
}

}  // namespace
}  // namespace rondo::trainer
