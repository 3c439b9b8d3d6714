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
#include "tests/support/hosts.h"

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
  /// The same in two network namespaces, which share no memory either. A `name` is that of the first host, and leads to
  /// loopback there, as Debian has it.
  void begin_in_namespaces(const Words& actions, const std::string& name = "") {
    ASSERT_EQ(Hosts::refusal(), "");
    hosts_.emplace(2);
    const int cable = hosts_->connect({.first = 0, .second = 1});
    const std::string address = hosts_->ipv4(cable, 0);
    const auto agent = [&](int host, const Launch::Options& where) {
      Words words{RONDO_PROGRAM,
                  "run",
                  "--nnodes",
                  "2",
                  "--rdzv-endpoint",
                  (name.empty() ? address : name) + ":29400",
                  "--secret-file",
                  here_.path() / "secret",
                  "-n",
                  "2",
                  RONDO_TEST_WORKER};
      if (!name.empty())
        words = with_names(where.folder / "names", (host == 0 ? "127.0.1.1" : address) + " " + name + "\n") + words;
      const auto on = hosts_->on(host, {.program = "/usr/bin/env", .arguments = words + actions, .environment = {}});
      return std::pair{on.arguments, Launch::Options{.environment = {{"RONDO_HOST_ID", "h" + std::to_string(host)}},
                                                     .program = on.program,
                                                     .folder = where.folder}};
    };
    const auto coordinator = agent(0, here()), other = agent(1, there());
    first_.emplace(coordinator.first, coordinator.second);
    ASSERT_TRUE(first_->wait_for("waiting for hosts")) << first_->so_far().errors;
    second_.emplace(other.first, other.second);
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
  /// Whether every rank of both hosts, and `launcher`, is stopped, or none of them.
  bool all_are(bool stopped, const Launch& launcher) const {
    const auto is_stopped = [](pid_t pid) {
      const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
      return stat.substr(stat.rfind(')') + 2, 1) == "T";
    };
    std::vector<pid_t> all = pids_of(run());
    all.push_back(launcher.pid());
    return all.size() == 5 && std::ranges::all_of(all, [&](pid_t pid) { return is_stopped(pid) == stopped; });
  }
  void expect_all_end_well() {
    for (auto* each : {&first_, &second_}) {
      const Outcome outcome = (*each)->wait();
      EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    }
    for (const char* rank : {"0", "1", "2", "3"})
      EXPECT_THAT(lines_of(first_->so_far().output), Contains("[rank " + std::string(rank) + "] left"));
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
  std::optional<Hosts> hosts_;
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

TEST_F(HostsApart, ARequestByASignalAtAnyAgentReachesTheRanksOfAllHosts) {
  begin({"handle=10", "on-signal=0", "out=ready", "wait"});
  ASSERT_TRUE(all_say("ready"));
  size_t answers = 0;
  for (auto* at : {&first_, &second_}) {
    (*at)->signal(SIGUSR1);
    answers += 2;  // one a host
    ASSERT_TRUE(eventually(20s, [&] { return events("asked").size() == answers; })) << answers;
  }
  std::vector<int> asked;
  for (const json& event : events("asked")) {
    EXPECT_EQ(event["signal"], SIGUSR1);
    for (const json& rank : event["ranks"]) asked.push_back(rank);
  }
  EXPECT_THAT(asked, testing::UnorderedElementsAre(0, 1, 2, 3, 0, 1, 2, 3));
  for (const char* rank : {"[rank 0]", "[rank 3]"})
    EXPECT_TRUE(first_->wait_for(rank + std::string(" handled signal 10"))) << rank;
  second_->signal(SIGTERM);
  EXPECT_EQ(first_->wait().exit_code, 143);
  EXPECT_EQ(second_->wait().exit_code, 143);
}

TEST_F(HostsApart, StacksAskedForAtAnotherHostsAgentAreShownByTheCoordinator) {
  begin({"join", "out=ready", "until=go", "reduce=1000", "leave"});
  ASSERT_TRUE(all_say("ready"));
  second_->signal(SIGUSR2);
  for (const char* rank : {"rank 0", "rank 3"})
    ASSERT_TRUE(first_->wait_for("rondo: where " + std::string(rank) + " is (kept: ")) << rank;
  go();
  expect_all_end_well();
}

// Collectives that would not wait as long as the ranks are stopped.
const Words kStopped{"timeout=1500", "join", "out=ready", "until=go", "reduce=1000", "leave"};

TEST_F(HostsApart, CtrlZAtTheCoordinatorStopsTheRanksOfAllHostsAndAllGoOnTogether) {
  begin(kStopped);
  ASSERT_TRUE(all_say("ready"));
  first_->signal(SIGTSTP);
  ASSERT_TRUE(eventually(20s, [&] { return all_are(true, *first_); }));
  EXPECT_FALSE(eventually(3s, [&] { return !all_are(true, *first_); })) << "one went on by itself";
  first_->signal(SIGCONT);
  ASSERT_TRUE(eventually(20s, [&] { return all_are(false, *first_); }));
  go();
  expect_all_end_well();
}

TEST_F(HostsApart, CtrlZAtAnotherAgentStopsTheWholeJobAndItGoesOnWithIt) {
  begin_in_namespaces(kStopped);
  ASSERT_TRUE(all_say("ready")) << first_->so_far().errors;
  second_->signal(SIGTSTP);
  ASSERT_TRUE(eventually(20s, [&] { return all_are(true, *second_); }));
  ASSERT_TRUE(first_->wait_for("rondo: all ranks are stopped with the launcher on host "));
  EXPECT_TRUE(explained().is_object()) << "a job that stands still can be looked at";
  const std::vector<json> looked = events("flight");
  ASSERT_EQ(looked.size(), 1u);
  EXPECT_EQ(looked[0]["ranks"], json({0, 1}));
  EXPECT_EQ(looked[0]["missing"], json({2, 3}));
  // Longer than a coordinator waits for an agent that says nothing.
  EXPECT_FALSE(eventually(13s, [&] { return !all_are(true, *second_); })) << "one went on by itself";
  second_->signal(SIGCONT);
  ASSERT_TRUE(eventually(20s, [&] { return all_are(false, *second_); })) << first_->so_far().errors;
  go();
  expect_all_end_well();
}

TEST_F(HostsApart, AFirstHostWhoseNameLeadsToItsLoopbackIsMetAtItsAddress) {
  begin_in_namespaces({"join", "reduce=10", "leave"}, "first.invalid");
  expect_all_end_well();
  EXPECT_THAT(first_->so_far().errors, AllOf(HasSubstr("first.invalid leads to loopback on this host"),
                                             HasSubstr("they meet at " + hosts_->ipv4(0, 0) + ":29400 instead")));
}

TEST_F(HostsApart, ALauncherThatStaysStoppedKeepsTheJobStopped) {
  begin(kStopped);
  ASSERT_TRUE(all_say("ready"));
  second_->signal(SIGTSTP);
  ASSERT_TRUE(eventually(20s, [&] { return all_are(true, *second_); }));
  first_->signal(SIGTSTP);
  ASSERT_TRUE(eventually(20s, [&] { return all_are(true, *first_); }));
  second_->signal(SIGCONT);
  EXPECT_FALSE(eventually(1s, [&] { return !all_are(true, *first_); })) << "half a job went on";
  first_->signal(SIGCONT);
  ASSERT_TRUE(eventually(20s, [&] { return all_are(false, *first_); }));
  go();
  expect_all_end_well();
}

TEST_F(HostsApart, CtrlZAtAnAgentWhileTheCoordinatorIsStoppedStopsNothingMore) {
  begin(kStopped);
  ASSERT_TRUE(all_say("ready"));
  first_->signal(SIGTSTP);
  ASSERT_TRUE(eventually(20s, [&] { return all_are(true, *first_); }));
  second_->signal(SIGTSTP);
  ASSERT_TRUE(second_->wait_for("not stopped: the coordinator at ")) << second_->so_far().errors;
  first_->signal(SIGCONT);
  ASSERT_TRUE(eventually(20s, [&] { return all_are(false, *second_); })) << first_->so_far().errors;
  go();
  expect_all_end_well();
}

TEST_F(HostsApart, ACoordinatorThatIsKilledWhileTheJobIsStoppedEndsTheRanksOfEveryHost) {
  begin({"out=ready", "wait"});
  ASSERT_TRUE(all_say("ready"));
  first_->signal(SIGTSTP);
  ASSERT_TRUE(eventually(20s, [&] { return all_are(true, *first_); }));
  const std::vector<pid_t> workers = pids_of(run());
  first_->signal(SIGKILL);
  EXPECT_EQ(second_->wait().exit_code, 5);
  for (const pid_t pid : workers) EXPECT_TRUE(eventually(10s, [&] { return !process_lives(pid); })) << pid;
}

TEST_F(HostsApart, AnAgentThatIsKilledWhileTheJobIsStoppedIsNamedAndAllEnd) {
  begin({"out=ready", "wait"});
  ASSERT_TRUE(all_say("ready"));
  second_->signal(SIGTSTP);
  ASSERT_TRUE(eventually(20s, [&] { return all_are(true, *second_); }));
  const std::vector<pid_t> workers = pids_of(run());
  second_->signal(SIGKILL);
  const Outcome outcome = first_->wait();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.errors, HasSubstr("is lost: its connection ended"));
  for (const pid_t pid : workers) EXPECT_TRUE(eventually(10s, [&] { return !process_lives(pid); })) << pid;
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
