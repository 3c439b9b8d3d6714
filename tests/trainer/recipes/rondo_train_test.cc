// The programs as people use them: `rondo train` over rondo-train, on a small dataset in a folder of its own.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/trainer/data/test_data.h"

namespace rondo::trainer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct Outcome {
  int exit_code = -1;
  std::string out, err;
};

/// Runs a program to its end, at most 250 s: --verify starts nine trainings.
Outcome run_program(const std::vector<std::string>& words) {
  std::array<std::array<int, 2>, 2> pipes{};
  for (auto& ends : pipes) EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipes[0][1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, pipes[1][1], STDERR_FILENO);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = -1;
  EXPECT_EQ(::posix_spawn(&child, arguments[0], &actions, nullptr, arguments.data(), environ), 0) << words[0];
  posix_spawn_file_actions_destroy(&actions);
  for (auto& ends : pipes) ::close(ends[1]);

  Outcome outcome;
  std::array<std::string*, 2> texts{&outcome.out, &outcome.err};
  std::array<pollfd, 2> handles{pollfd{pipes[0][0], POLLIN, 0}, pollfd{pipes[1][0], POLLIN, 0}};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(250);
  while (handles[0].fd >= 0 || handles[1].fd >= 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      ::kill(child, SIGKILL);
      ADD_FAILURE() << words[0] << " " << words[1] << " did not end";
      break;
    }
    ::poll(handles.data(), handles.size(), 1000);
    for (size_t i = 0; i < handles.size(); ++i) {
      if (handles[i].fd < 0 || handles[i].revents == 0) continue;
      std::array<char, 4096> buffer{};
      const ssize_t count = ::read(handles[i].fd, buffer.data(), buffer.size());
      if (count > 0) {
        texts[i]->append(buffer.data(), static_cast<size_t>(count));
      } else {
        handles[i].fd = -1;
      }
    }
  }
  for (auto& ends : pipes) ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

class RondoTrain : public ::testing::Test {
 protected:
  static constexpr uint32_t kTrainImages = 400, kTestImages = 610;  // the last batch and the last block are short

  RondoTrain() : before_(fs::current_path()) {
    fs::create_directories(data());
    test::write_small_dataset(data(), {.train = kTrainImages, .test = kTestImages});
    fs::current_path(folder_.path());
  }
  ~RondoTrain() override { fs::current_path(before_); }

  fs::path data() const { return folder_.path() / "data"; }

  /// `rondo train WORDS data=...` with a small batch.
  Outcome train(std::vector<std::string> words) {
    words.insert(words.begin(), {RONDO_PROGRAM, "train"});
    words.push_back("data=" + data().string());
    return run_program(words);
  }
  /// As train(), expecting success; returns summary.json.
  json summary_of(std::vector<std::string> words) {
    const Outcome outcome = train(std::move(words));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return json::parse(test::read_file(fs::path("runs/latest/summary.json")), nullptr, false);
  }
  /// Lines of the latest run's metrics.jsonl of one kind.
  static std::vector<json> metrics(const std::string& kind) {
    std::vector<json> found;
    std::ifstream stream("runs/latest/metrics.jsonl");
    for (std::string line; std::getline(stream, line);) {
      if (json parsed = json::parse(line); parsed["kind"] == kind) found.push_back(std::move(parsed));
    }
    return found;
  }
  static std::set<std::string> runs() {
    std::set<std::string> names;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator("runs", none)) names.insert(entry.path().filename());
    return names;
  }

 private:
  const test::TemporaryFolder folder_;
  const fs::path before_;
};

TEST_F(RondoTrain, TwoRanksTrainTogetherAndLeaveACompleteRun) {
  const Outcome outcome = train({"fmnist-cnn", "epochs=2", "batch=32", "bucket_bytes=64KiB"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json summary = json::parse(test::read_file("runs/latest/summary.json"));
  EXPECT_EQ(summary["world_size"], 2);
  EXPECT_EQ(summary["epochs"], 2);
  EXPECT_EQ(summary["steps"], 2 * 7);  // 400 images in global batches of 64
  EXPECT_EQ(summary["test_samples"], kTestImages);
  EXPECT_EQ(summary["params_equal"], true);
  ASSERT_EQ(summary["params_hash"].size(), 2U);
  EXPECT_EQ(summary["params_hash"][0], summary["params_hash"][1]);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("test accuracy: "),
                                 HasSubstr("parameters: rank 0 " + summary["params_hash"][0].get<std::string>()),
                                 HasSubstr("(equal)")));
  for (const char* file :
       {"config.toml", "metrics.jsonl", "checkpoints/step-00000007/manifest.json",
        "checkpoints/step-00000014/model.safetensors", "checkpoints/step-00000014/optimizer.safetensors"}) {
    EXPECT_TRUE(fs::exists(fs::path("runs/latest") / file)) << file;
  }

  const auto steps = metrics("step");
  ASSERT_EQ(steps.size(), 14U);
  for (size_t i = 1; i < steps.size(); ++i) {  // the first step only shows the order of gradients
    EXPECT_LT(steps[i]["first_launch_us"], steps[i]["backward_end_us"]) << "a bucket goes out while backward runs";
  }
  const auto epochs = metrics("epoch");
  ASSERT_EQ(epochs.size(), 2U);
  EXPECT_NE(epochs[0]["order_hash"], epochs[1]["order_hash"]);
  EXPECT_EQ(epochs[0]["samples"], kTrainImages);
  EXPECT_LT(epochs[1]["loss"], epochs[0]["loss"]) << "it learns";
}

TEST_F(RondoTrain, SaysWhatWillTravelAndOnRequestWhatEachStepDid) {
  ::setenv("RONDO_LOG", "debug", 1);
  const Outcome outcome = train({"fmnist-cnn", "epochs=1", "batch=32", "bucket_bytes=64KiB"});
  ::unsetenv("RONDO_LOG");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::string said = outcome.out + outcome.err;
  EXPECT_THAT(said, HasSubstr("; 1.7 MB of gradients"));
  for (const char* rank : {"rondo[0]", "rondo[1]"}) {
    EXPECT_THAT(said, HasSubstr(std::string(rank) + ": debug: step 7: backward "));
  }
}

TEST_F(RondoTrain, WithoutOverlapBucketsGoOutAfterBackwardAndTheBitsAreTheSame) {
  const json with = summary_of({"fmnist-cnn", "epochs=1", "batch=32", "bucket_bytes=64KiB"});
  const json without = summary_of({"fmnist-cnn", "epochs=1", "batch=32", "bucket_bytes=64KiB", "overlap=off"});
  for (const json& step : metrics("step")) EXPECT_GE(step["first_launch_us"], step["last_ready_us"]);
  EXPECT_EQ(with["params_hash"], without["params_hash"]);
  const json other = summary_of({"fmnist-cnn", "epochs=1", "batch=32", "seed=2"});
  EXPECT_NE(with["params_hash"], other["params_hash"]) << "the comparison sees a difference";
}

TEST_F(RondoTrain, ResumingAtAnEpochBorderEndsLikeTheUninterruptedRun) {
  const json through = summary_of({"fmnist-mlp", "epochs=3", "batch=32"});
  const json part = summary_of({"fmnist-mlp", "epochs=3", "batch=32", "stop_after=1"});
  EXPECT_EQ(part["epochs"], 1);
  EXPECT_NE(part["params_hash"], through["params_hash"]);
  const json resumed = summary_of({"--resume", "latest"});
  EXPECT_EQ(resumed["params_hash"], through["params_hash"]);
  EXPECT_EQ(resumed["test_correct"], through["test_correct"]);
  EXPECT_EQ(resumed["epochs"], 3);
  EXPECT_EQ(resumed["steps"], through["steps"]);
}

TEST_F(RondoTrain, StopsWithACheckpointWhenAskedAndGoesOnFromItToTheSameEnd) {
  const json through = summary_of({"fmnist-mlp", "epochs=16", "batch=8"});
  // A checkpoint when USR1 asks for one, the end when TERM does; both in the middle of an epoch, most likely.
  const std::string script =
      RONDO_PROGRAM " train fmnist-mlp epochs=16 batch=8 --run-dir stopped data=" + data().string() +
      " & pid=$!; ask() { until grep -qs \"$1\" \"$2\"; do kill $3 $pid || exit 99; sleep 0.05; done; }; "
      "ask '\"kind\":\"step\"' stopped/metrics.jsonl -0; ask 'checkpoint on request' stopped/logs/rank-0000.out -USR1; "
      "kill -TERM $pid; wait $pid";
  const Outcome stopped = run_program({"/bin/sh", "-c", script});
  EXPECT_EQ(stopped.exit_code, 75) << stopped.out << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("stopped by signal 15 (SIGTERM), with a checkpoint of all ranks"));
  EXPECT_FALSE(fs::exists("stopped/summary.json"));
  const json resumed = summary_of({"--resume", "stopped"});
  EXPECT_EQ(resumed["params_hash"], through["params_hash"]);
  EXPECT_EQ(resumed["steps"], through["steps"]);
}

TEST_F(RondoTrain, StartsAgainAfterAFailureAndGoesOnFromTheRunsNewestCheckpointToTheSameEnd) {
  const json through = summary_of({"fmnist-mlp", "epochs=12", "batch=8"});
  // Rank 1 is killed before the first step, and once more when the first epoch's checkpoint is there.
  const std::string real = (fs::path(RONDO_PROGRAM).parent_path() / "rondo-train").string();
  test::write_file(
      "mortal",
      "#!/bin/sh\ncase \"$RANK $RONDO_GENERATION\" in\n'1 0') kill -KILL $$ ;;\n"
      "'1 1') (until [ -e $RONDO_RUN_DIR/checkpoints/step-00000025 ]; do sleep 0.01; done; kill -KILL $$) & ;;\n"
      "esac\nexec " +
          real + " \"$@\"\n");
  fs::permissions("mortal", fs::perms::owner_all);
  ::setenv("RONDO_TRAIN", fs::absolute("mortal").c_str(), 1);
  const Outcome outcome =
      train({"fmnist-mlp", "epochs=12", "batch=8", "--max-restarts", "2", "--run-dir", "restarted"});
  ::unsetenv("RONDO_TRAIN");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("restart 1 of 2"), HasSubstr("restart 2 of 2")));
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("restart 1: no checkpoint that all ranks can read, from the beginning\n"),
                    ::testing::ContainsRegex("resumed from [^\n]*/restarted/checkpoints/step-0000[0-9]+\n")));
  const json summary = json::parse(test::read_file("restarted/summary.json"));
  EXPECT_EQ(summary["params_hash"], through["params_hash"]);
  EXPECT_EQ(summary["steps"], through["steps"]);
  EXPECT_EQ(summary["test_correct"], through["test_correct"]);
}

TEST_F(RondoTrain, EvaluationCountsTheSameOnAnyNumberOfRanks) {
  const json trained = summary_of({"fmnist-cnn", "epochs=1", "batch=32"});
  const std::string run = fs::canonical("runs/latest").string();
  for (const char* ranks : {"1", "2", "3"}) {
    const json evaluated = summary_of({"--eval-only", "--resume", run, "--nproc-per-node", ranks});
    EXPECT_EQ(evaluated["test_correct"], trained["test_correct"]) << ranks << " ranks";
    EXPECT_EQ(evaluated["test_samples"], kTestImages);
    EXPECT_EQ(evaluated["params_hash"][0], trained["params_hash"][0]);
  }
}

TEST_F(RondoTrain, ADamagedCheckpointIsNamedAndTheOneBeforeIsTaken) {
  summary_of({"fmnist-mlp", "epochs=2", "batch=64"});
  const std::string run = fs::canonical("runs/latest").string();
  const fs::path checkpoints = fs::path(run) / "checkpoints";
  const auto damage = [&](const std::string& step) {
    const fs::path file = checkpoints / step / "model.safetensors";
    std::string content = test::read_file(file);
    content.back() = static_cast<char>(content.back() ^ 1);
    test::write_file(file, content);
  };
  damage("step-00000008");
  const Outcome older = train({"--eval-only", "--resume", run});
  EXPECT_EQ(older.exit_code, 0) << older.err;
  EXPECT_THAT(older.err + older.out, AllOf(HasSubstr("step-00000008/model.safetensors"), HasSubstr("SHA-256")));
  EXPECT_EQ(json::parse(test::read_file("runs/latest/summary.json"))["steps"], 4);
  damage("step-00000004");
  const auto before = runs();
  const Outcome none = train({"--eval-only", "--resume", run});
  EXPECT_EQ(none.exit_code, 6) << none.err;
  EXPECT_THAT(none.err, AllOf(HasSubstr("step-00000004"), HasSubstr("model.safetensors")));
  EXPECT_EQ(runs(), before) << "nothing is written";
}

TEST_F(RondoTrain, WhatCannotStartSaysWhyAndLeavesNothingBehind) {
  const auto refused = [&](std::vector<std::string> words, int exit_code, const std::string& hint) {
    const Outcome outcome = train(std::move(words));
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(hint));
    EXPECT_TRUE(runs().empty());
  };
  refused({"fmnist-cmn"}, 2, "fmnist-cnn");
  refused({"fmnist-cnn", "epoch=1"}, 2, "epochs");
  refused({"fmnist-cnn", "epochs=none"}, 2, "integer");
  refused({"--resume", "no-such-run"}, 2, "no-such-run");
  test::write_file(data() / "train-labels-idx1-ubyte.gz", "damaged");
  refused({"fmnist-cnn"}, 6, "train-labels-idx1-ubyte.gz");
  fs::remove(data() / "train-labels-idx1-ubyte.gz");
  refused({"fmnist-cnn"}, 3, "dataset-fashion-mnist");
}

TEST_F(RondoTrain, ACheckOfARecipeFindsNothingTrainsNothingAndEndsWithZero) {
  for (const char* recipe : {"fmnist-cnn", "fmnist-mlp"}) {
    const Outcome outcome = train({"--check", recipe, "batch=32"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("check: nothing found on 2 ranks"));
    EXPECT_FALSE(fs::exists("runs/latest/summary.json"));
    EXPECT_FALSE(fs::exists("runs/latest/checkpoints"));
  }
  const json found = json::parse(train({"--check", "fmnist-mlp", "--json", "--nproc-per-node", "3"}).out);
  EXPECT_EQ(found["world_size"], 3);
  EXPECT_TRUE(found["findings"].empty());
}

TEST_F(RondoTrain, ACheckThatFindsAnErrorNamesItAndEndsWithThree) {
  const Outcome outcome = train({"--check", "fmnist-mlp", "lr=1000000", "batch=32"});
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("error loss-not-finite"), HasSubstr("cure: ")));
  EXPECT_THAT(outcome.err, HasSubstr("the check of fmnist-mlp found 1 error"));
  const Outcome both = train({"--check", "--eval-only", "--resume", "latest"});
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_THAT(both.err, HasSubstr("--check looks at training"));
}

TEST_F(RondoTrain, TheDoctorSeesItsLibTorchAndWhatThatMultipliesWith) {
  const json doctor = json::parse(run_program({RONDO_PROGRAM, "doctor", "--here", "--json"}).out);
  std::map<std::string, std::string> texts;
  for (const json& line : doctor["diagnoses"]) texts[line["subject"]] = line["text"];
  EXPECT_THAT(texts["LibTorch"], HasSubstr("2.11"));
  EXPECT_THAT(texts["BLAS"], testing::Not(HasSubstr("not seen")));
}

TEST_F(RondoTrain, ADivergedRunEndsWithSeven) {
  const Outcome outcome = train({"fmnist-mlp", "lr=1000000", "epochs=2"});
  EXPECT_EQ(outcome.exit_code, 7) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("diverged"), HasSubstr("smaller lr")));
  EXPECT_FALSE(fs::exists("runs/latest/summary.json"));
}

TEST_F(RondoTrain, VerifyFindsTheSameBitsInEveryWayAndRoundingAgainstOneProcess) {
  const Outcome outcome =
      train({"fmnist-mlp", "--verify", "--json", "--run-dir", "verified", "batch=16", "limit=120", "epochs=1"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err << outcome.out;
  const json report = json::parse(outcome.out);
  EXPECT_EQ(report["passed"], true);
  EXPECT_EQ(report["world_size"], 2);
  std::set<std::string> ways;
  for (const json& variant : report["variants"]) {
    EXPECT_EQ(variant["equal"], true) << variant;
    ways.insert(variant["what"]);
  }
  EXPECT_EQ(ways, (std::set<std::string>{"once-more", "transport-tcp", "transport-shm", "algorithm-direct",
                                         "algorithm-one-shot", "bucket_bytes-64KiB", "overlap-off"}));
  uint64_t farthest = 0;
  std::set<std::string> kinds;
  for (const json& slot : report["against_one"]) {
    EXPECT_LT(slot["relative"], 1.3e-4) << slot;
    farthest = std::max(farthest, slot["ulp"].get<uint64_t>());
    const auto name = slot["slot"].get<std::string>();
    kinds.insert(name.substr(0, name.find(' ')));
  }
  EXPECT_GT(farthest, 0U) << "one process sums in another order";
  EXPECT_EQ(kinds, (std::set<std::string>{"lr", "momentum_buffer", "parameter"}));
  const json alone = json::parse(test::read_file("verified/one-process/summary.json"));
  EXPECT_EQ(alone["world_size"], 1);
  EXPECT_EQ(report["replicas_equal"], true);
  json summary = json::parse(test::read_file("verified/all-ranks/summary.json"));
  summary["params_hash"][1] = "00";
  test::write_file("verified/all-ranks/summary.json", summary.dump());
  const std::string tool = (fs::path(RONDO_PROGRAM).parent_path() / "rondo-train").string();
  const Outcome unequal = run_program({tool, "verify", "verified", "all-ranks", "one-process", "once-more"});
  EXPECT_EQ(unequal.exit_code, 7) << unequal.err;
  EXPECT_THAT(unequal.out, HasSubstr("DIFFER: parameters, first on rank 1"));
  EXPECT_EQ(alone["steps"], json::parse(test::read_file("verified/all-ranks/summary.json"))["steps"]);
}

TEST_F(RondoTrain, VerifyEndsWithSevenAndNamesWhatChangesTheNumbers) {
  const std::string real = (fs::path(RONDO_PROGRAM).parent_path() / "rondo-train").string();
  test::write_file("defective",
                   "#!/bin/sh\ncase \" $* \" in *' overlap=off '* | *' batch=32 '*) set -- \"$@\" seed=2;; esac\n"
                   "exec " +
                       real + " \"$@\"\n");
  fs::permissions("defective", fs::perms::owner_all);
  ::setenv("RONDO_TRAIN", fs::absolute("defective").c_str(), 1);
  const Outcome outcome = train({"fmnist-mlp", "--verify", "--run-dir", "runs/v", "batch=16", "limit=64", "epochs=1"});
  ::unsetenv("RONDO_TRAIN");
  EXPECT_EQ(outcome.exit_code, 7) << outcome.err << outcome.out;
  EXPECT_THAT(outcome.out,
              AllOf(::testing::ContainsRegex("overlap-off +DIFFERS: first in momentum_buffer of"),
                    ::testing::ContainsRegex("once-more +equal\n"),
                    ::testing::ContainsRegex("parameter .* up to 1.2e-04  DIFFERS\n"), HasSubstr("\nNOT verified\n")));
}

TEST_F(RondoTrain, VerifyRefusesWhatItCannotCompare) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"fmnist-mlp", "--verify", "algorithm=ring"},
                                                {"fmnist-mlp", "--verify", "--max-restarts", "1"},
                                                {"fmnist-mlp", "--verify", "--resume", "x"}}) {
    const Outcome outcome = train(words);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("--verify"));
    EXPECT_TRUE(runs().empty());
  }
}

}  // namespace
}  // namespace rondo::trainer
