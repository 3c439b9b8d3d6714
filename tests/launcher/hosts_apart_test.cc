/// `rondo run` over two hosts that share no disk: what the coordinator knows of the other host's ranks all the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "launcher/agent/meeting_point.h"
#include "rondo/comm/flight.h"
#include "tests/launcher/support/events.h"
#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::StartsWith;
using namespace std::chrono_literals;

using Words = std::vector<std::string>;

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// Ranks 0 and 1 are the coordinator's, 2 and 3 those of the other host.
class HostsApart : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(run_rondo({"secret", "new", "secret"}, here()).exit_code, 0);
    auto held = launcher::hold_port({.address = "127.0.0.1", .port = 0});  // the door may bind it all the same
    ASSERT_TRUE(held.ok());
    port_ = std::to_string(held->port);
    holder_ = std::move(held->holder);
  }
  Launch::Options here() const { return {.environment = {}, .folder = here_.path()}; }
  Launch::Options there() const { return {.environment = {}, .folder = there_.path()}; }
  void begin(const Words& actions, const Words& flags = {}) {
    const Words words =
        Words{"run", "--nnodes", "2", "--rdzv-endpoint", "127.0.0.1:" + port_, "--secret-file", here_.path() / "secret",
              "-n",  "2"} +
        flags + Words{RONDO_TEST_WORKER} + actions;
    first_.emplace(words, here());
    ASSERT_TRUE(first_->wait_for("waiting for hosts")) << first_->so_far().errors;
    second_.emplace(words, there());
  }
  bool all_say(const std::string& what) {
    for (int rank = 0; rank < 4; ++rank)
      if (!first_->wait_for("[rank " + std::to_string(rank) + "] " + what)) return false;
    return true;
  }
  void go() const {
    for (const TemporaryFolder* folder : {&here_, &there_}) std::ofstream(folder->path() / "go") << "go";
  }
  fs::path run() const { return here_.path() / "runs" / "latest"; }
  json explained() const {
    const Outcome outcome = run_rondo({"explain", "latest", "--json"}, here());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    return json::parse(outcome.output, nullptr, false);
  }
  json failure() const { return json::parse(read_file(run() / "failure.json"), nullptr, false); }
  std::vector<json> events(const std::string& kind) const {
    std::vector<json> found;
    for (const std::string& line : lines_of(read_file(run() / "events.jsonl"))) {
      const json event = json::parse(line, nullptr, false);  // the last may be half written
      if (event.is_object() && event["kind"] == kind) found.push_back(event);
    }
    return found;
  }

  const TemporaryFolder here_, there_;
  launcher::Descriptor holder_;
  std::string port_;
  std::optional<Launch> first_, second_;
};

TEST_F(HostsApart, TheReportKnowsWhatTheRanksOfEveryHostWereDoingAndWhereTheCulpritCrashed) {
  begin({"join", "reduce=10", "3:crash", "reduce=20"});
  const Outcome outcome = first_->wait();
  EXPECT_EQ(outcome.exit_code, 139) << outcome.errors;
  EXPECT_EQ(second_->wait().exit_code, 139);
  for (const char* rank : {"0000", "0001", "0002", "0003"})
    EXPECT_EQ(fs::file_size(run() / "flight" / ("rank-" + std::string(rank) + ".bin")), comm::kFlightBytes) << rank;
  const json failed = failure();
  EXPECT_EQ(failed["rank"], 3);
  for (const json& rank : failed["ranks"])
    EXPECT_THAT(rank["doing"].dump(), HasSubstr("all_reduce of ")) << rank.dump();
  EXPECT_THAT(failed["backtrace"].dump(), HasSubstr("use_memory_that_is_not_ours"));
  EXPECT_THAT(outcome.errors, AllOf(HasSubstr("what the ranks were doing:"), HasSubstr("use_memory_that_is_not_ours")));
  const json all = explained();
  ASSERT_EQ(all["ranks"].size(), 4u);
  for (const json& rank : all["ranks"]) EXPECT_TRUE(rank["recorded"]) << rank["rank"];
}

TEST_F(HostsApart, ExplainSeesTheRanksOfTheOtherHostWhileTheJobRuns) {
  begin({"join", "reduce=10", "2:out=sleeping", "2:until=go", "reduce=20", "leave"});
  ASSERT_TRUE(first_->wait_for("[rank 2] sleeping"));
  json finding;
  ASSERT_TRUE(eventually(20s, [&] {
    const json all = explained();
    for (const json& one : all["findings"])
      if (one["kind"] == "behind" && one["waiting"] == json({0, 1, 3})) finding = one;
    return !finding.is_null();
  }));
  EXPECT_EQ(finding["ranks"], json({2}));
  for (const json& event : events("flight")) EXPECT_EQ(event["missing"], json::array());
  go();
  EXPECT_EQ(first_->wait().exit_code, 0);
  EXPECT_EQ(second_->wait().exit_code, 0);
}

TEST_F(HostsApart, OfALostHostTheReportSaysThatItsRecordsAreMissing) {
  begin({"join", "reduce=10", "out=ready", "wait"});
  ASSERT_TRUE(all_say("ready"));
  second_->signal(SIGKILL);
  const Outcome outcome = first_->wait();
  EXPECT_EQ(outcome.exit_code, 5) << outcome.errors;
  const json failed = failure();
  EXPECT_THAT(failed["ranks"][0]["doing"].get<std::string>(), HasSubstr("all_reduce of 10"));
  for (const int rank : {2, 3})
    EXPECT_THAT(failed["ranks"][rank]["doing"].get<std::string>(),
                AllOf(StartsWith("not known: host "), HasSubstr(" is lost")));
  ASSERT_FALSE(events("flight").empty());
  EXPECT_EQ(events("flight").back()["missing"], json({2, 3}));
}

TEST_F(HostsApart, StacksOfTheOtherHostComeWhole) {
  begin({"join", "out=ready", "until=go", "reduce=1000", "leave"});
  ASSERT_TRUE(all_say("ready"));
  first_->signal(SIGUSR2);
  for (const char* rank : {"rank 0", "rank 1", "rank 2", "rank 3"})
    ASSERT_TRUE(first_->wait_for("rondo: where " + std::string(rank) + " is (kept: ")) << rank;
  go();
  EXPECT_EQ(first_->wait().exit_code, 0) << first_->so_far().errors;
  const std::string stacks = read_file(run() / "stacks" / "rank-0003.txt");
  EXPECT_THAT(stacks, HasSubstr("thread rondo-keeper ("));
  EXPECT_THAT(stacks, HasSubstr("main+0x"));
}

TEST_F(HostsApart, AMessageThatIsTooLargeIsCutAndSaid) {
  constexpr int kLetters = (1 << 20) - 10;  // fits between rank and agent, but not with the rank's number
  begin({"3:say-bytes=" + std::to_string(kLetters), "3:say=after it"});
  const Outcome outcome = first_->wait();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_THAT(outcome.errors, HasSubstr("of rank 3, a message of it had 10485"));
  EXPECT_THAT(outcome.errors, HasSubstr("between hosts the limit is 1048576"));
  const auto lines = lines_of(outcome.output);
  EXPECT_THAT(lines, Contains(testing::SizeIs(testing::AllOf(testing::Gt(1'000'000u), testing::Lt(1u << 20)))));
  EXPECT_THAT(lines, Contains("after it"));
  ASSERT_EQ(events("shortened").size(), 1u);
  EXPECT_EQ(events("shortened")[0]["rank"], 3);
  EXPECT_EQ(events("shortened")[0]["limit"], 1 << 20);
}

}  // namespace
}  // namespace rondo::test
