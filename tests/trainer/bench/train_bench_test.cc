/// `rondo bench train` as a user runs it. Timing fails no test: losses must agree and everything that is promised said.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr std::chrono::seconds kDeadline{120};

TEST(TrainBench, MeasuresOverlapTheWrapperAndItsMemoryWithEqualLosses) {
  const TemporaryFolder folder;
  Launch launch({"bench", "train", "--models", "cnn", "--quick", "--json", "rows.jsonl"}, {.folder = folder.path()});
  const Outcome run = launch.wait(kDeadline);
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  for (const char* said : {"no figure to quote", "cnn, 2 ranks x 1 thread, batch 4 a rank, SGD, 1 rounds",
                           "overlap on over off: ", "one worker, wrapped over the plain loop: ",
                           "moves 4.8 MB of gradients through buckets", "gradient sizes (4.8 MB) to a rank's peak"}) {
    EXPECT_THAT(run.output, HasSubstr(said));
  }
  std::map<std::string, json> rows;
  std::map<std::string, int> kinds;
  for (const std::string& line : lines_of(read_file(folder.path() / "rows.jsonl"))) {
    const json row = json::parse(line);
    ++kinds[row["kind"]];
    if (row["kind"] == "row") rows[row["contender"]] = row;
  }
  EXPECT_EQ(kinds["header"], 1);
  EXPECT_EQ(kinds["ratio"], 3);
  EXPECT_EQ(kinds["memory"], 1);
  EXPECT_EQ(kinds["refused"], 0);
  ASSERT_EQ(rows.size(), 7U);
  for (const auto& [name, row] : rows) {
    EXPECT_EQ(row["parameters"], 1'199'882) << name;
    EXPECT_GT(row["samples_per_second"].get<double>(), 0) << name;
    EXPECT_GT(row["peak_rss_bytes"].get<int64_t>(), row["gradient_bytes"].get<int64_t>()) << name;
    EXPECT_EQ(row["ranks"], name == "loop" || name.starts_with("wrapped") ? 1 : 2) << name;
  }
  EXPECT_EQ(rows["rondo"]["loss"], rows["rondo-no-overlap"]["loss"]) << "overlap must not change a bit";
  EXPECT_EQ(rows["wrapped"]["loss"], rows["loop"]["loss"]) << "one worker's mean is its own gradient";
  EXPECT_EQ(rows["rondo"]["sent_bytes"], rows["rondo"]["bucket_bytes"]) << "2(n-1)/n of the bytes, n = 2";
  EXPECT_EQ(rows["rondo-no-overlap"]["first_bucket_before_last_gradient"], 0);
}

TEST(TrainBench, RefusesWhatItCannotMeasureAndSaysWhy) {
  const TemporaryFolder folder;
  const auto errors_of = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> arguments{"bench", "train"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    Launch launch(arguments, {.environment = {{"RONDO_PYTHON", ""}}, .folder = folder.path()});
    const Outcome run = launch.wait(kDeadline);
    EXPECT_NE(run.exit_code, 0);
    return run.errors;
  };
  EXPECT_THAT(errors_of({"--models", "cn", "--quick"}), HasSubstr("there is no 'cn' (did you mean 'cnn'?)"));
  EXPECT_THAT(errors_of({"--against", "horovod", "--quick"}), HasSubstr("beside pytorch only"));
  EXPECT_THAT(errors_of({"--rounds", "0", "--quick"}), HasSubstr("--rounds"));
  EXPECT_THAT(errors_of({"--models", "cnn", "--against", "pytorch", "--quick"}), HasSubstr("RONDO_PYTHON"));
}

}  // namespace
}  // namespace rondo::test
