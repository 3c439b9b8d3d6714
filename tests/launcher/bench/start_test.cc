/// `rondo bench start` as a user runs it, beside a stand-in for torchrun. Timing fails no test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

/// Does of torchrun what is measured: starts the ranks, and after a failure all of them once more.
constexpr const char* kTorchrun = R"(#!/bin/sh
while :; do
  case $1 in
    --nproc-per-node) ranks=$2; shift 2 ;;
    --no-python) shift ;;
    --*) shift 2 ;;
    *) break ;;
  esac
done
for count in 0 1; do
  pids=
  for rank in $(seq 0 $((ranks - 1))); do
    RANK=$rank TORCHELASTIC_RESTART_COUNT=$count "$@" &
    pids="$pids $!"
  done
  wait $! && wait && exit 0
  kill $pids 2>/dev/null
  wait
done
exit 1
)";

class BenchStart : public testing::Test {
 protected:
  void add_torchrun(const std::string& script) {
    const fs::path path = folder_.path() / "torchrun";
    std::ofstream(path) << script;
    fs::permissions(path, fs::perms::owner_all);
  }
  Outcome bench(const std::vector<std::string>& flags) const {
    std::vector<std::string> arguments{"bench", "start", "--quick", "--cases", "empty,restart"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return run_rondo(arguments,
                     {.environment = {{"PATH", folder_.path().string() + ":/usr/bin:/bin"}, {"RONDO_PYTHON", ""}},
                      .folder = folder_.path()});
  }
  std::map<std::string, std::vector<json>> rows_by_kind() const {
    std::map<std::string, std::vector<json>> rows;
    for (const std::string& line : lines_of(read_file(folder_.path() / "rows.jsonl"))) {
      const json row = json::parse(line);
      rows[row["kind"]].push_back(row);
    }
    return rows;
  }
  const fs::path& folder() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

TEST_F(BenchStart, TimesEveryContenderInEveryRoundAndComparesThem) {
  add_torchrun(kTorchrun);
  const Outcome run = bench({"--against", "torchrun", "--rounds", "2", "--json", "rows.jsonl"});
  ASSERT_EQ(run.exit_code, 0) << run.errors << run.output;
  for (const char* said : {"2 ranks, empty programs, start to exit (ms)",
                           "2 ranks, a rank is killed, until all ranks run again (ms)", "# --quick: no figure to quote",
                           "# load: ", "bar: Rondo's median below 100 ms", "too few rounds for an interval"})
    EXPECT_THAT(run.output, HasSubstr(said));
  auto rows = rows_by_kind();
  EXPECT_EQ(rows["header"].size(), 1U);
  std::multiset<std::string> measured;
  for (const json& row : rows["row"]) {
    EXPECT_GT(row["ms"].get<double>(), 0) << row;
    EXPECT_EQ(row["ranks"], 2);
    measured.insert(row["case"].get<std::string>() + " " + row["contender"].get<std::string>());
  }
  EXPECT_EQ(measured,
            (std::multiset<std::string>{"empty rondo", "empty rondo", "empty torchrun", "empty torchrun",
                                        "restart rondo", "restart rondo", "restart torchrun", "restart torchrun",
                                        "restart torchrun-eager", "restart torchrun-eager"}))
      << run.errors;
  EXPECT_EQ(rows["ratio"].size(), 3U);
  EXPECT_EQ(rows["bar"].size(), 2U);
  const std::string events = read_file(folder() / "runs/latest/round-1/restart-rondo/events.jsonl");
  EXPECT_THAT(events, HasSubstr("killed by signal 9 (SIGKILL)"));
  EXPECT_THAT(events, HasSubstr(R"("kind":"restart")"));
}

TEST_F(BenchStart, WithoutTorchrunMeasuresRondoAloneAndSaysHowToGetIt) {
  const Outcome run = bench({"--against", "torchrun", "--json", "rows.jsonl"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.output, HasSubstr("# torchrun is not measured"));
  EXPECT_THAT(run.output, HasSubstr("`./dev setup --pytorch` installs it"));
  EXPECT_THAT(run.output, HasSubstr("torchrun takes at least 5 x as long as Rondo: not measured"));
  EXPECT_EQ(rows_by_kind()["row"].size(), 2U);
  EXPECT_EQ(rows_by_kind()["ratio"].size(), 0U);
}

TEST_F(BenchStart, GoesOnWithoutARivalThatFailsAndNamesItsLog) {
  add_torchrun("#!/bin/sh\necho 'no module named torch'\nexit 9\n");
  const Outcome run = bench({"--against", "torchrun"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.errors, HasSubstr("torchrun, empty, round 1: ended with exit code 9"));
  EXPECT_THAT(run.errors, HasSubstr("restart-torchrun.log"));
  EXPECT_THAT(run.output, HasSubstr("# torchrun, restart failed in 1 starts"));
  EXPECT_THAT(run.output, Not(HasSubstr("x as long as Rondo (")));
  EXPECT_EQ(read_file(folder() / "runs/latest/round-1/empty-torchrun.log"), "no module named torch\n");
}

TEST_F(BenchStart, RefusesWhatItCannotMeasure) {
  EXPECT_THAT(bench({"--against", "horovod"}).errors, HasSubstr("beside torchrun only"));
  EXPECT_THAT(bench({"--model", "ccn"}).errors, HasSubstr("did you mean 'cnn'?"));
  EXPECT_THAT(run_rondo({"bench", "start", "--cases", "emty"}, {.folder = folder()}).errors,
              HasSubstr("did you mean 'empty'?"));
}

}  // namespace
}  // namespace rondo::test
