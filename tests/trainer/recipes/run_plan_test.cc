#include "trainer/recipes/run_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <toml++/toml.h>

#include "rondo/error.h"
#include "tests/trainer/data/test_data.h"

namespace rondo::trainer {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

Request request(const std::vector<std::string>& arguments) { return parse_request(arguments); }

struct Refusal {
  ExitCode exit_code = ExitCode::kFailure;
  std::string words = "accepted";
};

/// Plans in a folder of its own, with a small dataset and runs beside it.
class RunPlanning : public ::testing::Test {
 protected:
  RunPlanning() : before_(fs::current_path()) {
    fs::create_directories(data());
    test::write_small_dataset(data(), {});
    fs::current_path(folder_.path());
  }
  ~RunPlanning() override { fs::current_path(before_); }

  fs::path data() const { return folder_.path() / "data"; }
  RunPlan plan(std::vector<std::string> arguments) {
    arguments.push_back("data=" + data().string());
    return make_plan(registry_, request(arguments));
  }
  Refusal refusal(const std::vector<std::string>& arguments) {
    try {
      plan(arguments);
    } catch (const Error& error) {
      return {error.exit_code(), error.what()};
    }
    return {};
  }
  void write_run(const std::string& id, int64_t epochs_done, const std::string& recipe = "vision.fmnist-cnn") {
    const std::string bytes = "bytes";
    const auto span = std::as_bytes(std::span(bytes));
    write_checkpoint(fs::path("runs") / id / "checkpoints",
                     {.step = 10 * epochs_done,
                      .cursor = {.epoch = epochs_done, .step = 0},
                      .recipe = recipe,
                      .config = {{"epochs", "3"}, {"lr", "0.25"}, {"stop_after", "1"}, {"key_of_an_old_version", "1"}},
                      .facts = {},
                      .aliases = {},
                      .params_hash = "",
                      .files = {}},
                     {{kModelFile, {span.begin(), span.end()}}});
  }

  const RecipeRegistry registry_ = all_recipes();
  const test::TemporaryFolder folder_;
  const fs::path before_;
};

TEST_F(RunPlanning, ResolvesNamesAndValues) {
  const RunPlan found = plan({"fmnist-cnn", "epochs=2"});
  EXPECT_EQ(found.recipe->name, "vision.fmnist-cnn");
  const toml::table table = toml::parse(found.toml());
  EXPECT_EQ(table["recipe"].value<std::string>(), "vision.fmnist-cnn");
  EXPECT_EQ(table["epochs"].value<int64_t>(), 2);
  EXPECT_FALSE(table.contains("resume"));
}

TEST_F(RunPlanning, UnknownNamesAreUsageErrors) {
  EXPECT_EQ(refusal({"fmnist-cmn"}).exit_code, ExitCode::kUsage);
  EXPECT_THAT(refusal({"fmnist-cmn"}).words, HasSubstr("fmnist-cnn"));
  EXPECT_EQ(refusal({"fmnist-cnn", "epoch=1"}).exit_code, ExitCode::kUsage);
  EXPECT_EQ(refusal({}).exit_code, ExitCode::kUsage);
}

TEST_F(RunPlanning, DataAreCheckedBeforeAnythingStarts) {
  fs::remove(data() / "t10k-images-idx3-ubyte.gz");
  EXPECT_EQ(refusal({"fmnist-cnn"}).exit_code, ExitCode::kPreflight);
  test::write_file(data() / "t10k-images-idx3-ubyte.gz", "no gzip");
  EXPECT_EQ(refusal({"fmnist-cnn"}).exit_code, ExitCode::kCorrupt);
  fs::remove_all(data());
  EXPECT_THAT(refusal({"fmnist-cnn"}).words, HasSubstr("dataset-fashion-mnist"));
}

TEST_F(RunPlanning, AResumedRunBringsItsRecipeAndValues) {
  write_run("fmnist-cnn-a", 1);
  const RunPlan found = plan({"--resume", "fmnist-cnn-a", "epochs=5"});
  EXPECT_EQ(found.recipe->name, "vision.fmnist-cnn");
  EXPECT_EQ(found.settings.number("lr"), 0.25);
  EXPECT_EQ(found.settings.integer("epochs"), 5) << "what was typed wins";
  EXPECT_EQ(found.settings.integer("stop_after"), 0) << "a pause is not inherited";
  const toml::table table = toml::parse(found.toml());
  EXPECT_EQ(table["resume"]["step"].value<int64_t>(), 10);
  EXPECT_EQ(table["resume"]["checkpoint"].value<std::string>(),
            fs::canonical("runs/fmnist-cnn-a/checkpoints/step-00000010").string());
}

TEST_F(RunPlanning, RunsAreNamedInFourWays) {
  write_run("fmnist-cnn-a", 1);
  write_run("fmnist-cnn-b", 2);
  fs::create_directory_symlink("fmnist-cnn-b", "runs/latest");
  EXPECT_EQ(plan({"--resume", "fmnist-cnn-a"}).resume->checkpoint.manifest.step, 10);
  EXPECT_EQ(plan({"--resume", "latest"}).resume->checkpoint.manifest.step, 20);
  EXPECT_EQ(plan({"--resume=./runs/fmnist-cnn-a"}).resume->checkpoint.manifest.step, 10);
  EXPECT_EQ(plan({"--resume", fs::absolute("runs/fmnist-cnn-b/checkpoints/step-00000020").string()})
                .resume->checkpoint.manifest.step,
            20);
}

TEST_F(RunPlanning, WhatCannotBeResumedSaysWhy) {
  EXPECT_EQ(refusal({"--resume", "latest"}).exit_code, ExitCode::kUsage);
  write_run("fmnist-cnn-a", 1);
  EXPECT_THAT(refusal({"--resume", "fmnist-cnn-b"}).words, HasSubstr("did you mean fmnist-cnn-a"));
  EXPECT_THAT(refusal({"fmnist-mlp", "--resume", "fmnist-cnn-a"}).words,
              AllOf(HasSubstr("fmnist-cnn"), HasSubstr("fmnist-mlp")));
  EXPECT_THAT(refusal({"--resume", "fmnist-cnn-a", "epochs=1"}).words, HasSubstr("nothing left to train"));
  fs::create_directories("runs/empty");
  EXPECT_EQ(refusal({"--resume", "empty"}).exit_code, ExitCode::kPreflight);
  test::write_file("runs/fmnist-cnn-a/checkpoints/step-00000010/model.safetensors", "BYTES");
  EXPECT_EQ(refusal({"--resume", "fmnist-cnn-a"}).exit_code, ExitCode::kCorrupt);
  EXPECT_THAT(refusal({"--resume", "fmnist-cnn-a"}).words, HasSubstr("model.safetensors"));
  write_run("own", 1, "");
  EXPECT_EQ(refusal({"--resume", "own"}).exit_code, ExitCode::kUsage);
}

TEST_F(RunPlanning, AFinishedRunCanBeEvaluatedWithoutTrainingImages) {
  write_run("done", 3);
  EXPECT_THAT(refusal({"--resume", "done"}).words, HasSubstr("epochs=4"));
  fs::remove(data() / "train-images-idx3-ubyte.gz");
  EXPECT_EQ(plan({"--resume", "done", "--eval-only"}).mode, Mode::kEvaluate);
}

TEST_F(RunPlanning, ACheckMayBeOfAFinishedRunAndNeedsTrainingImages) {
  write_run("done", 3);
  const RunPlan found = plan({"--resume", "done", "--check"});
  EXPECT_EQ(found.mode, Mode::kCheck);
  EXPECT_THAT(found.toml(), HasSubstr("mode = \"check\""));
  EXPECT_THAT(refusal({"--check", "--eval-only", "--resume", "done"}).words, HasSubstr("--check looks at training"));
  fs::remove(data() / "train-images-idx3-ubyte.gz");
  EXPECT_EQ(refusal({"--check", "fmnist-cnn"}).exit_code, ExitCode::kPreflight);
}

TEST(RunFolder, ANewRunBecomesTheLatest) {
  const test::TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  for (const char* name : {"fmnist-cnn", "fmnist-mlp"}) {
    const fs::path made = make_run_folder(name);
    EXPECT_THAT(made.filename().string(), HasSubstr(name));
    EXPECT_EQ(fs::canonical("runs/latest"), fs::canonical(made));
    EXPECT_EQ(commit_of_run(made), "unknown");
    test::write_file(made / "version.json", R"({"commit": "abc123"})");
    EXPECT_EQ(commit_of_run(made), "abc123");
  }
  fs::current_path(before);
}

TEST(Request, FlagsAndKeysComeInAnyOrder) {
  const Request found =
      request({"epochs=1", "--json", "fmnist-cnn", "--eval_only", "--resume=latest", "--rank", "1", "lr=2"});
  EXPECT_EQ(found.recipe, "fmnist-cnn");
  EXPECT_EQ(found.mode, Mode::kEvaluate);
  EXPECT_EQ(found.resume, "latest");
  EXPECT_EQ(found.output, Request::Output::kJson);
  EXPECT_EQ(found.assignments, (std::vector<std::string>{"epochs=1", "lr=2"}));
}

TEST(Request, WrongFlagsAreUsageErrorsWithTheNearestOne) {
  const auto refusal = [](const std::vector<std::string>& arguments) {
    return test::words_of_error([&] { request(arguments); });
  };
  EXPECT_THAT(refusal({"--evalonly"}), HasSubstr("did you mean --eval-only"));
  EXPECT_THAT(refusal({"--resume"}), HasSubstr("needs a value"));
  EXPECT_THAT(refusal({"--resume="}), HasSubstr("needs a value"));
  EXPECT_THAT(refusal({"--plan=yes"}), HasSubstr("takes no value"));
  EXPECT_THAT(refusal({"fmnist-cnn", "epochs"}), HasSubstr("key=value"));
  EXPECT_THAT(refusal({"fmnist-cnn", "--eval-only"}), HasSubstr("--resume"));
  EXPECT_THAT(refusal({"--dump-outputs", "file"}), HasSubstr("--resume"));
}

}  // namespace
}  // namespace rondo::trainer
