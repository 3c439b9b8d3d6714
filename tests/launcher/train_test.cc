/// `rondo train` with a stand-in for rondo-train: what it asks, what it passes on, what it prints.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

/// Takes the place of rondo-train. It knows one wrong key, refuses the recipe "gone" as missing data, and ends with the
/// code of the key "exit".
constexpr const char* kStandIn = R"sh(#!/bin/bash
case "$1" in
  --list) echo "fmnist-cnn ($*)"; exit ;;
  --plan)
    shift
    [[ $1 == gone ]] && { echo "data folder /none is missing" >&2; exit 3; }
    for word; do [[ $word == epohcs=* ]] && { echo "unknown key 'epohcs' (did you mean 'epochs'?)" >&2; exit 2; }; done
    echo "recipe = \"$1\""; exit ;;
esac
echo "rank $RANK of $WORLD_SIZE: $*"
for word; do [[ $word == exit=* ]] && exit "${word#exit=}"; done
exit 0
)sh";

class Train : public testing::Test {
 protected:
  Train() {
    const fs::path script = folder_.path() / "rondo-train";
    std::ofstream(script) << kStandIn;
    fs::permissions(script, fs::perms::owner_all);
    options_ = {.environment = {{"RONDO_TRAIN", script.string()}}, .folder = folder_.path()};
  }

  const TemporaryFolder folder_;
  Launch::Options options_;
};

TEST_F(Train, StartsTwoRanksAfterAHeaderAndPassesTheSettingsOn) {
  const Outcome run =
      run_rondo({"train", "fmnist-cnn", "--resume", "latest", "epochs=1", "batch=32", "--eval-only"}, options_);
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  const auto lines = lines_of(run.output);
  ASSERT_EQ(lines.size(), 3u) << run.output;
  EXPECT_THAT(lines[0], testing::MatchesRegex(
                            "fmnist-cnn: 2 ranks x [0-9]+ threads?, transport shm, run folder runs/fmnist-cnn-.*"));
  const std::vector<std::string> rest(lines.begin() + 1, lines.end());
  EXPECT_THAT(rest, testing::UnorderedElementsAre(
                        "rank 0 of 2: fmnist-cnn --resume latest --eval-only epochs=1 batch=32",
                        "[rank 1] rank 1 of 2: fmnist-cnn --resume latest --eval-only epochs=1 batch=32"));
  EXPECT_EQ(read_file(folder_.path() / "runs" / "latest" / "config.toml"), "recipe = \"fmnist-cnn\"\n");
}

TEST_F(Train, ThatFailedSaysACommandThatDoesTheSameInAFolderOfItsOwn) {
  const Outcome run = run_rondo({"train", "fmnist-cnn", "--run_dir", "own", "-n", "1", "exit=37"}, options_);
  EXPECT_EQ(run.exit_code, 37) << run.errors;
  EXPECT_THAT(lines_of(run.errors), testing::Contains("  again: rondo train fmnist-cnn -n 1 exit=37"));
}

TEST_F(Train, TakesTheNumberOfRanks) {
  EXPECT_THAT(run_rondo({"train", "fmnist-cnn", "--nproc-per-node", "3"}, options_).output,
              HasSubstr("[rank 2] rank 2 of 3"));
}

TEST_F(Train, TakesTheFlagsAboutItsRanks) {
  const Outcome run =
      run_rondo({"train", "fmnist-cnn", "--prefix", "rank", "--show", "1", "--log-cap", "64KiB"}, options_);
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.output, HasSubstr("[rank 1] rank 1 of 2: fmnist-cnn"));
  EXPECT_THAT(run.output, testing::Not(HasSubstr("rank 0 of 2")));
  const Outcome collapsed = run_rondo({"train", "fmnist-cnn", "--collapse", "--redirects", "1"}, options_);
  EXPECT_THAT(collapsed.output, testing::Not(HasSubstr("of 2: fmnist-cnn"))) << "into the logs only";
  const Outcome wrong = run_rondo({"train", "fmnist-cnn", "--numa-binding", "nod"}, options_);
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.errors, HasSubstr("--numa-binding nod"));
  const Outcome often = run_rondo({"train", "fmnist-cnn", "--max-restarts", "often"}, options_);
  EXPECT_EQ(often.exit_code, 2);
  EXPECT_THAT(often.errors, HasSubstr("--max-restarts"));
}

TEST_F(Train, OverSeveralHostsNeedsASecretAndVerifiesNothing) {
  const Outcome secretless = run_rondo({"train", "fmnist-cnn", "--nnodes", "2", "--rdzv-endpoint", "a"}, options_);
  EXPECT_EQ(secretless.exit_code, 2);
  EXPECT_THAT(secretless.errors, HasSubstr("rondo secret new FILE"));
  const Outcome verified =
      run_rondo({"train", "fmnist-cnn", "--verify", "--nnodes", "2", "--rdzv-endpoint", "a", "--secret-file", "secret"},
                options_);
  EXPECT_EQ(verified.exit_code, 2);
  EXPECT_THAT(verified.errors, HasSubstr("not with --nnodes"));
}

TEST_F(Train, PassesOnWhatThePlanRefusesAndStartsNothing) {
  const Outcome key = run_rondo({"train", "fmnist-cnn", "epohcs=1"}, options_);
  EXPECT_EQ(key.exit_code, 2);
  EXPECT_EQ(key.errors, "unknown key 'epohcs' (did you mean 'epochs'?)\n");
  const Outcome data = run_rondo({"train", "gone"}, options_);
  EXPECT_EQ(data.exit_code, 3);
  EXPECT_EQ(data.errors, "data folder /none is missing\n");
  EXPECT_FALSE(fs::exists(folder_.path() / "runs"));
}

TEST_F(Train, ListsTheRecipes) {
  EXPECT_EQ(run_rondo({"train"}, options_).output, "fmnist-cnn (--list)\n");
  EXPECT_EQ(run_rondo({"train", "--list"}, options_).output, "fmnist-cnn (--list)\n");
  EXPECT_EQ(run_rondo({"train", "--list", "--json"}, options_).output, "fmnist-cnn (--list --json)\n");
}

TEST_F(Train, KeepsStdoutForTheResultWhenItIsJson) {
  const Outcome run = run_rondo({"train", "fmnist-cnn", "--json", "--nproc-per-node", "1"}, options_);
  EXPECT_EQ(run.output, "rank 0 of 1: fmnist-cnn --json\n");
  EXPECT_THAT(run.errors, HasSubstr("fmnist-cnn: 1 rank x"));
}

TEST_F(Train, SaysWhichTrainerIsMissing) {
  options_.environment["RONDO_TRAIN"] = "/none/rondo-train";
  const Outcome run = run_rondo({"train", "fmnist-cnn"}, options_);
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.errors, HasSubstr("cannot run '/none/rondo-train': no such file"));
}

}  // namespace
}  // namespace rondo::test
