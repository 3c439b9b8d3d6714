/// `rondo bench` as a user runs it. Timing fails no test: results must be right and everything that is promised said.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

std::vector<json> rows_of(const fs::path& file, const std::string& kind) {
  std::vector<json> rows;
  for (const std::string& line : lines_of(read_file(file))) {
    auto row = json::parse(line);
    if (row["kind"] == kind) rows.push_back(std::move(row));
  }
  return rows;
}

void expect_complete(const json& row) {
  for (const char* field :
       {"op", "bytes", "elements", "dtype", "algorithm", "transport", "registered", "contender", "round", "min_us",
        "p50_us", "p99_us", "max_us", "algbw_gbs", "busbw_gbs", "wrong", "ratio_best_rival"}) {
    EXPECT_TRUE(row.contains(field)) << field << " is missing in " << row;
  }
  EXPECT_EQ(row["wrong"], 0) << row;
  EXPECT_GT(row["p50_us"].get<double>(), 0);
  EXPECT_LE(row["min_us"].get<double>(), row["p50_us"].get<double>());
  EXPECT_LE(row["p50_us"].get<double>(), row["p99_us"].get<double>());
  EXPECT_LE(row["p99_us"].get<double>(), row["max_us"].get<double>());
}

TEST(Bench, ByMpiIsStartedByMpirun) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "Debian's Open MPI is not built for sanitizers";
#endif
  if (std::system("command -v mpirun.openmpi >/dev/null") != 0) GTEST_SKIP() << "no mpirun.openmpi: `./dev setup`";
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"bench", "all_reduce", "--quick", "--sizes", "100000", "--iterations", "5",
                                 "--transport", "mpi", "--json", "rows.jsonl"},
                                {.environment = {{"TMPDIR", folder.path()}}, .folder = folder.path()});
  ASSERT_EQ(run.exit_code, 0) << run.output << run.errors;
  const auto rows = rows_of(folder.path() / "rows.jsonl", "row");
  ASSERT_FALSE(rows.empty());
  for (const json& row : rows) {
    expect_complete(row);
    EXPECT_EQ(row["transport"], "mpi");
  }
  const Outcome rivals =
      run_rondo({"bench", "all_reduce", "--quick", "--transport", "mpi", "--against", "openmpi"}, {});
  EXPECT_EQ(rivals.exit_code, 2);
  EXPECT_THAT(rivals.errors, HasSubstr("measured alone"));
}

TEST(Bench, OfEveryCollectiveIsRightOnTwoAndThreeRanks) {
  const TemporaryFolder folder;
  for (const char* operation : {"all_reduce", "reduce_scatter", "all_gather", "broadcast", "barrier"}) {
    for (const char* ranks : {"2", "3"}) {
      std::vector<std::string> arguments{"bench",        operation, "-n",     ranks,       "--quick",
                                         "--iterations", "5",       "--json", "rows.jsonl"};
      const size_t sizes = std::string(operation) == "barrier" ? 1 : 2;
      if (sizes == 2) arguments.insert(arguments.end(), {"--sizes", "1KiB,100000"});
      const Outcome run = run_rondo(arguments, {.folder = folder.path()});
      ASSERT_EQ(run.exit_code, 0) << operation << " on " << ranks << ": " << run.errors;
      const auto rows = rows_of(folder.path() / "rows.jsonl", "row");
      EXPECT_EQ(rows.size(), 2 * sizes) << operation;
      for (const json& row : rows) {
        expect_complete(row);
        EXPECT_EQ(row["op"], operation);
        EXPECT_EQ(row["contender"], "rondo");
        EXPECT_EQ(row["ranks"], std::stoi(ranks));
      }
      EXPECT_EQ(rows_of(folder.path() / "rows.jsonl", "summary").size(), sizes);
    }
  }
}

TEST(Bench, SaysWhatAReaderMustKnow) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"bench", "all_reduce", "--quick", "--sizes", "4KiB", "--dtype", "float64", "--json",
                                 "rows.jsonl", "--unregistered"},
                                {.folder = folder.path()});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  for (const char* fact :
       {"# commit: ", "# build: ", "# compiler: ", "# cpu: ", "# load: ", "# pinning: rank 0 on cpu ",
        "started by rondo run", "# group: ", "# flag latency before: ", "# flag latency after: ", "#wrong", "busbw"}) {
    EXPECT_THAT(run.output, HasSubstr(fact));
  }
  const auto header = rows_of(folder.path() / "rows.jsonl", "header");
  ASSERT_EQ(header.size(), 1U);
  EXPECT_TRUE(header[0].contains("compiler"));
  const auto row = rows_of(folder.path() / "rows.jsonl", "row").at(0);
  EXPECT_EQ(row["dtype"], "float64");
  EXPECT_EQ(row["elements"], 512);
  EXPECT_EQ(row["registered"], false);
}

TEST(Bench, MeasuresTheTransportAndTheWireThatWereAsked) {
  const TemporaryFolder folder;
  for (const char* wire : {"same", "bf16", "fp16"}) {
    const Outcome run = run_rondo({"bench", "all_reduce", "--quick", "--sizes", "100000", "--transport", "tcp",
                                   "--wire", wire, "--json", "rows.jsonl"},
                                  {.folder = folder.path()});
    ASSERT_EQ(run.exit_code, 0) << run.errors;
    const auto row = rows_of(folder.path() / "rows.jsonl", "row").at(0);
    EXPECT_EQ(row["transport"], "tcp");
    EXPECT_EQ(row["wrong"], 0);
    EXPECT_EQ(row["wire"] == "same", std::string(wire) == "same");
  }
}

TEST(Bench, CallsFiguresOnlyThoseOfAReleaseBuild) {
  const TemporaryFolder folder;
  const auto version = json::parse(run_rondo({"version", "--json"}, {.folder = folder.path()}).output);
  const bool release = version["build_type"] == "Release";
  const Outcome full = run_rondo({"bench", "all_reduce", "--sizes", "1KiB", "--rounds", "1", "--iterations", "5"},
                                 {.folder = folder.path()});
  EXPECT_EQ(full.exit_code, release ? 0 : 2) << full.errors;
  EXPECT_EQ(full.errors.find("figures come from a release build") == std::string::npos, release) << full.errors;
  EXPECT_THAT(full.output, testing::Not(HasSubstr("no figure to quote")));
  const Outcome quick = run_rondo({"bench", "all_reduce", "--quick", "--sizes", "1KiB"}, {.folder = folder.path()});
  EXPECT_EQ(quick.exit_code, 0) << quick.errors;
  EXPECT_THAT(quick.output, HasSubstr("no figure to quote"));
}

TEST(Bench, ListsItsOperations) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"bench"}, {.folder = folder.path()});
  EXPECT_EQ(run.exit_code, 0);
  for (const char* operation :
       {"all_reduce", "reduce_scatter", "all_gather", "broadcast", "barrier", "mismatch", "create"}) {
    EXPECT_THAT(run.output, HasSubstr(std::string("  ") + operation + " "));
  }
}

TEST(Bench, OfAMismatchTimesEachWayToDiffer) {
  const TemporaryFolder folder;
  // More trials than a job page has places for aborted groups.
  const Outcome run = run_rondo({"bench", "mismatch", "--quick", "--iterations", "20", "--json", "rows.jsonl"},
                                {.folder = folder.path()});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  std::set<std::string> differences;
  for (const json& row : rows_of(folder.path() / "rows.jsonl", "summary")) {
    const std::string difference = row["difference"];
    differences.insert(difference);
    EXPECT_EQ(row["op"], "mismatch");
    EXPECT_EQ(row["calls"], 40);
    EXPECT_GT(row["p50_us"].get<double>(), 0);
    EXPECT_EQ(row["wrong"], 0) << difference << "\n" << run.errors;
  }
  EXPECT_THAT(differences, testing::ElementsAre("count", "dtype", "kind", "reduction", "root", "tag"));
}

TEST(Bench, OfCreationCountsWhatARankAsksOfTheStore) {
  const TemporaryFolder folder;
  const Outcome run =
      run_rondo({"bench", "create", "-n", "3", "--quick", "--json", "rows.jsonl"}, {.folder = folder.path()});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.output, HasSubstr("store requests per rank: "));
  const auto rows = rows_of(folder.path() / "rows.jsonl", "summary");
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_GE(rows[0]["store_requests_per_rank"].get<int>(), 1);
}

TEST(Bench, RunsUnderAnyLauncherThatSetsTorchrunsVariables) {
  const TemporaryFolder folder;
  const std::string program = (fs::path(RONDO_PROGRAM).parent_path() / "rondo-comm-bench").string();
  const auto environment = [](const char* rank) {
    return std::map<std::string, std::string>{
        {"RANK", rank}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", std::to_string(::getpid())}};
  };
  const std::vector<std::string> arguments{"broadcast", "--quick", "--sizes", "1KiB"};
  Launch first(arguments, {.environment = environment("0"), .program = program, .folder = folder.path()});
  Launch second(arguments, {.environment = environment("1"), .program = program, .folder = folder.path()});
  const Outcome zero = first.wait(), one = second.wait();
  EXPECT_EQ(zero.exit_code, 0) << zero.errors;
  EXPECT_EQ(one.exit_code, 0) << one.errors;
  EXPECT_THAT(zero.output, HasSubstr("#wrong"));
  EXPECT_EQ(one.output, "") << "only rank 0 reports";
}

/// A copy of Rondo's programs in a folder of their own, so that a test decides which drivers lie beside them.
class Installation {
 public:
  Installation() {
    for (const char* program : {"rondo", "rondo-exec", "rondo-comm-bench"}) {
      fs::copy_file(fs::path(RONDO_PROGRAM).parent_path() / program, folder_.path() / program);
    }
  }
  const fs::path& folder() const { return folder_.path(); }
  void add_script(const std::string& name, const std::string& text) const {
    std::ofstream(folder_.path() / name) << "#!/bin/sh\n" << text;
    fs::permissions(folder_.path() / name, fs::perms::owner_all);
  }
  Outcome bench(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "bench");
    return run_rondo(arguments, {.environment = {{"PATH", folder_.path().string() + ":/usr/bin:/bin"}},
                                 .program = (folder_.path() / "rondo").string(),
                                 .folder = folder_.path()});
  }

 private:
  TemporaryFolder folder_;
};

/// A driver that measures nothing: its calls take 1000 us in every round.
constexpr const char* kFakeDriver = R"(
while [ $# -gt 0 ]; do
  case $1 in
    --json) file=$2 ;;
    --first-round) round=$2 ;;
    --variant) variant=-$2 ;;
  esac
  shift
done
[ "${RANK:-0}" = 0 ] || exit 0
printf '{"kind":"row","op":"all_reduce","bytes":1024,"elements":256,"dtype":"float32","algorithm":"x","transport":"tcp","registered":false,"contender":"%s","round":%s,"calls":1,"min_us":1000,"p50_us":1000,"p99_us":1000,"max_us":1000,"algbw_gbs":0.001,"busbw_gbs":0.001,"wrong":0,"ratio_best_rival":null}\n' "NAME$variant" "$round" >"$file"
)";

std::string fake_driver(const std::string& library) {
  std::string text = kFakeDriver;
  return text.replace(text.find("NAME"), 4, library);
}

TEST(BenchAgainst, OfARivalThatIsNotThereSaysHowToGetIt) {
  const Installation here;
  const Outcome run = here.bench({"all_reduce", "--quick", "--against", "gloo"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.errors, HasSubstr("gloo-ring cannot be measured: its driver rondo-bench-gloo is not built"));
  EXPECT_THAT(run.errors, HasSubstr("`./dev setup --rivals`"));
  EXPECT_FALSE(fs::exists(here.folder() / "runs")) << "nothing was started";
}

TEST(BenchAgainst, MeasuresEveryoneInEveryRoundAndComparesThem) {
  const Installation here;
  here.add_script("rondo-bench-gloo", fake_driver("gloo"));
  here.add_script("rondo-bench-openmpi", fake_driver("openmpi"));
  here.add_script("mpirun.openmpi", "while [ \"$1\" != -np ]; do shift; done\nshift 2\nexec \"$@\"\n");
  const Outcome run = here.bench({"all_reduce", "--quick", "--sizes", "1KiB", "--rounds", "2", "--against",
                                  "gloo,openmpi", "--json", "rows.jsonl"});
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.output, HasSubstr("1 KiB, all_reduce float32, 2 ranks, 2 rounds"));
  EXPECT_THAT(run.output, testing::ContainsRegex("best MPI takes [0-9.]+ x as long as Rondo: openmpi"));
  EXPECT_THAT(run.output, testing::ContainsRegex("best Gloo takes [0-9.]+ x as long as Rondo: gloo-"));
  EXPECT_THAT(run.output, HasSubstr("# pinning: "));
  std::map<std::string, std::set<int>> rounds;
  for (const json& row : rows_of(here.folder() / "rows.jsonl", "row")) {
    expect_complete(row);
    rounds[row["contender"]].insert(row["round"].get<int>());
    EXPECT_EQ(row["ratio_best_rival"].is_number(), row["contender"] == "rondo");
    if (row["contender"] == "rondo") {
      EXPECT_DOUBLE_EQ(row["ratio_best_rival"].get<double>(), 1000 / row["p50_us"].get<double>());
    }
  }
  for (const auto& [contender, seen] : rounds) EXPECT_THAT(seen, testing::ElementsAre(1, 2)) << contender;
  EXPECT_TRUE(rounds.contains("rondo") && rounds.contains("gloo-bcube") && rounds.contains("openmpi-ring"));
  EXPECT_EQ(rows_of(here.folder() / "rows.jsonl", "summary").size(), rounds.size());
}

TEST(BenchAgainst, StopsAtARivalThatFailsAndNamesIt) {
  const Installation here;
  here.add_script("rondo-bench-gloo", "echo 'no route to rank 1' >&2\nexit 9\n");
  const Outcome run = here.bench({"all_reduce", "--quick", "--sizes", "1KiB", "--against", "gloo"});
  EXPECT_EQ(run.exit_code, 9);
  EXPECT_THAT(run.errors, HasSubstr("gloo-ring failed in round 1"));
  EXPECT_THAT(run.errors, HasSubstr("no route to rank 1"));
}

TEST(BenchAgainst, RefusesARivalsOutputThatIsNoRow) {
  const Installation here;
  std::string driver = fake_driver("gloo");
  driver += "echo 'Segmentation fault' >\"$file\"\n";
  here.add_script("rondo-bench-gloo", driver);
  const Outcome run = here.bench({"all_reduce", "--quick", "--sizes", "1KiB", "--against", "gloo"});
  EXPECT_NE(run.exit_code, 0);
  EXPECT_THAT(run.errors, HasSubstr("not a row of a benchmark: Segmentation fault"));
}

}  // namespace
}  // namespace rondo::test
