#include "launcher/bench/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// A line as a driver writes it.
std::string line(const std::string& contender, int64_t bytes, int round, double p50, int64_t wrong = 0) {
  return json{{"kind", "row"},
              {"op", "all_reduce"},
              {"bytes", bytes},
              {"elements", bytes / 4},
              {"dtype", "float32"},
              {"algorithm", "a"},
              {"transport", contender == "rondo" ? "shm" : "mpi"},
              {"registered", contender == "rondo"},
              {"contender", contender},
              {"round", round},
              {"calls", 100},
              {"min_us", p50 / 2},
              {"p50_us", p50},
              {"p99_us", p50 * 2},
              {"max_us", p50 * 3},
              {"algbw_gbs", static_cast<double>(bytes) / p50 / 1000},
              {"busbw_gbs", static_cast<double>(bytes) / p50 / 1000 * 1.5},
              {"wrong", wrong},
              {"ratio_best_rival", nullptr},
              {"flag_before_ns", 40.0},
              {"flag_after_ns", 41.0},
              {"floor_share", contender == "rondo" ? json(0.5) : json()}}
             .dump() +
         "\n";
}

std::vector<MeasuredRow> rows_of(const std::string& text) {
  auto output = parse_output(text);
  EXPECT_TRUE(output.ok()) << output.status().text();
  return output.ok() ? std::move(output->rows) : std::vector<MeasuredRow>();
}

const std::vector<Contender> kContenders{{.name = "rondo", .camp = Camp::kOurs},
                                         {.name = "openmpi", .camp = Camp::kMpi},
                                         {.name = "mpich", .camp = Camp::kMpi},
                                         {.name = "gloo-ring", .camp = Camp::kGloo}};

/// Nine rounds of 1 KiB: Rondo takes 1 us, mpich twice as long, openmpi three times, Gloo a hundred times; round r is
/// slower for all by a factor of r.
std::string nine_rounds() {
  std::string text;
  for (int round = 1; round <= 9; ++round) {
    for (const auto& [name, time] : {std::pair{"rondo", 1.0}, {"openmpi", 3.0}, {"mpich", 2.0}, {"gloo-ring", 100.0}}) {
      text += line(name, 1024, round, time * round);
    }
  }
  return text;
}

TEST(ParseOutput, TakesHeaderAndRowsAndLeavesTheDriversOwnSummary) {
  const auto output = parse_output(R"({"kind":"header","commit":"abc","pinning":"rank 0 on cpu 0"})"
                                   "\n" +
                                   line("gloo-ring", 65536, 4, 12.5, 3) +
                                   R"({"kind":"summary","contender":"gloo-ring","round":null})" + "\n");
  ASSERT_TRUE(output.ok()) << output.status().text();
  EXPECT_EQ(output->header["commit"], "abc");
  ASSERT_EQ(output->rows.size(), 1U);
  const MeasuredRow& row = output->rows[0];
  EXPECT_EQ(row.contender, "gloo-ring");
  EXPECT_EQ(row.byte_count, 65536);
  EXPECT_EQ(row.round, 4);
  EXPECT_EQ(row.p50_us, 12.5);
  EXPECT_EQ(row.p99_us, 25);
  EXPECT_EQ(row.wrong, 3);
  EXPECT_EQ(row.json["dtype"], "float32");
}

TEST(ParseOutput, RefusesWhatIsNoRowAndShowsIt) {
  for (const std::string text : {"mpirun noticed that a process died\n", "{\"kind\":\"row\",\"contender\":\"x\"}\n",
                                 "{\"kind\":\"row\"\n", "[]\n", "{}\n"}) {
    const auto output = parse_output(text);
    ASSERT_FALSE(output.ok()) << text;
    EXPECT_EQ(output.status().code(), comm::Code::kCorrupt);
    EXPECT_THAT(output.status().message(), HasSubstr(text.substr(0, text.size() - 1)));
  }
  EXPECT_THAT(parse_output("").status().message(), HasSubstr("no row"));
}

TEST(ParseOutput, AContenderThatServesNoneOfTheSizesHasAHeaderAlone) {
  const auto output = parse_output("{\"kind\":\"header\"}\n");
  ASSERT_TRUE(output.ok()) << output.status().text();
  EXPECT_TRUE(output->rows.empty());
}

TEST(Comparison, QuotesTheBestOfEachCampByMediansOverRounds) {
  const auto comparisons = compare(rows_of(nine_rounds()), kContenders);
  ASSERT_EQ(comparisons.size(), 1U);
  const SizeComparison& comparison = comparisons[0];
  ASSERT_EQ(comparison.standings.size(), 4U);
  EXPECT_EQ(comparison.standings[0].p50_us, 5) << "the median of 1 to 9";
  ASSERT_EQ(comparison.ratios.size(), 2U);
  EXPECT_EQ(comparison.ratios[0].camp, Camp::kMpi);
  EXPECT_EQ(comparison.ratios[0].best, "mpich");
  EXPECT_DOUBLE_EQ(comparison.ratios[0].ratio, 2);
  EXPECT_DOUBLE_EQ(comparison.ratios[0].interval->low, 2);
  EXPECT_EQ(comparison.ratios[1].best, "gloo-ring");
  EXPECT_DOUBLE_EQ(comparison.ratios[1].ratio, 100);
  EXPECT_DOUBLE_EQ(*comparison.floor_share, 0.5);
}

TEST(Comparison, EverySizeHasABestOfItsOwn) {
  const auto comparisons =
      compare(rows_of(line("rondo", 1024, 1, 1) + line("openmpi", 1024, 1, 2) + line("mpich", 1024, 1, 3) +
                      line("rondo", 4096, 1, 1) + line("openmpi", 4096, 1, 9) + line("mpich", 4096, 1, 3)),
              kContenders);
  ASSERT_EQ(comparisons.size(), 2U);
  EXPECT_EQ(comparisons[0].ratios[0].best, "openmpi");
  EXPECT_EQ(comparisons[1].ratios[0].best, "mpich");
  EXPECT_EQ(comparisons[0].ratios.size(), 1U) << "no Gloo was measured";
}

TEST(Comparison, RowsOfRondoCarryTheRatioToTheBestRivalOfTheirRound) {
  auto rows = rows_of(line("rondo", 1024, 1, 2) + line("openmpi", 1024, 1, 10) + line("gloo-ring", 1024, 1, 90) +
                      line("gloo-ring", 1024, 2, 8) + line("rondo", 1024, 2, 4) + line("openmpi", 1024, 2, 12));
  fill_ratios(rows, "rondo");
  EXPECT_EQ(rows[0].json["ratio_best_rival"], 5.0);
  EXPECT_EQ(rows[4].json["ratio_best_rival"], 2.0);
  EXPECT_TRUE(rows[1].json["ratio_best_rival"].is_null());
}

TEST(Comparison, IntervalOfTheMedianFollowsTheBinomialDistribution) {
  EXPECT_FALSE(median_interval({1, 2, 3, 4, 5})) << "five values say nothing with 95 % confidence";
  const auto six = median_interval({6, 5, 4, 3, 2, 1});  // 2 / 2^6 = 3.1 %: the extremes
  ASSERT_TRUE(six);
  EXPECT_EQ(six->low, 1);
  EXPECT_EQ(six->high, 6);
  const auto nine = median_interval({9, 8, 7, 6, 5, 4, 3, 2, 1});  // 2 (1 + 9) / 2^9 = 3.9 %: the second from each end
  ASSERT_TRUE(nine);
  EXPECT_EQ(nine->low, 2);
  EXPECT_EQ(nine->high, 8);
}

TEST(Comparison, TextNamesTheBestTheSpreadAndTheFloor) {
  const auto comparisons = compare(rows_of(nine_rounds()), kContenders);
  const std::string text = comparison_text(comparisons[0], "all_reduce float32, 2 ranks, 9 rounds");
  EXPECT_THAT(text, testing::StartsWith("1 KiB, all_reduce float32, 2 ranks, 9 rounds\n"));
  EXPECT_THAT(text, HasSubstr("best MPI takes 2.00 x as long as Rondo: mpich; rounds 2.00 to 2.00"));
  EXPECT_THAT(text, HasSubstr("best Gloo takes 100.00 x as long as Rondo: gloo-ring"));
  EXPECT_THAT(text, HasSubstr("95 % interval of the median 2.00 to 2.00"));
  EXPECT_THAT(text, HasSubstr("50 % of the memory floor"));
}

TEST(Comparison, WhoCannotServeASizeIsNamedAndIsNotTheBest) {
  auto rows = rows_of(nine_rounds());
  std::erase_if(rows, [](const MeasuredRow& row) { return row.contender == "mpich"; });
  const auto comparisons = compare(rows, kContenders);
  ASSERT_EQ(comparisons.size(), 1U);
  EXPECT_NE(comparisons[0].ratios[0].best, "mpich");
  EXPECT_THAT(comparison_text(comparisons[0], "title"), testing::ContainsRegex("mpich +cannot serve this size"));
}

TEST(Comparison, SummariesKeepTheFieldsOfRows) {
  const auto rows = rows_of(nine_rounds());
  const auto comparisons = compare(rows, kContenders);
  std::istringstream lines(comparison_json(comparisons[0], rows));
  std::string first;
  std::getline(lines, first);
  const auto ours = json::parse(first);
  EXPECT_EQ(ours["kind"], "summary");
  EXPECT_EQ(ours["contender"], "rondo");
  EXPECT_TRUE(ours["round"].is_null());
  EXPECT_EQ(ours["calls"], 900);
  EXPECT_EQ(ours["min_us"], 0.5);
  EXPECT_EQ(ours["p50_us"], 5.0);
  EXPECT_EQ(ours["max_us"], 27.0);
  EXPECT_EQ(ours["ratio_best_rival"], 2.0);
  EXPECT_EQ(ours["ratios"]["MPI"]["best"], "mpich");
  EXPECT_EQ(ours["ratios"]["Gloo"]["ratio"], 100.0);
  EXPECT_NEAR(ours["busbw_gbs"].get<double>() / ours["algbw_gbs"].get<double>(), 1.5, 1e-9);
  EXPECT_FALSE(ours.contains("flag_before_ns")) << "of one round only";
}

}  // namespace
}  // namespace rondo::launcher
