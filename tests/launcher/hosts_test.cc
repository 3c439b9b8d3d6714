/// `rondo run` over several hosts: an agent on each, one of which coordinates. On one machine: agents that meet over
/// loopback, and network namespaces as hosts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "launcher/agent/meeting_point.h"
#include "tests/launcher/support/launch.h"
#include "tests/support/hosts.h"

namespace rondo::test {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;
using namespace std::chrono_literals;

using Words = std::vector<std::string>;

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<json> events_of(const std::filesystem::path& run) {
  std::vector<json> events;
  for (const std::string& line : lines_of(read_file(run / "events.jsonl"))) events.push_back(json::parse(line));
  return events;
}

class OverHosts : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(run_rondo({"secret", "new", "secret"}, options()).exit_code, 0);
    ASSERT_EQ(run_rondo({"secret", "new", "other"}, options()).exit_code, 0);
    auto held = launcher::hold_port({.address = "127.0.0.1", .port = 0});  // the door may bind it all the same
    ASSERT_TRUE(held.ok());
    port_ = std::to_string(held->port);
    holder_ = std::move(held->holder);
  }
  Launch::Options options(std::map<std::string, std::string> environment = {}) const {
    return {.environment = std::move(environment), .folder = folder_.path()};
  }
  Words meet(const std::string& nodes, const std::string& secret = "secret") const {
    return {"run", "--nnodes", nodes, "--rdzv-endpoint", "127.0.0.1:" + port_, "--secret-file", secret};
  }
  Words meet_at(const std::string& host) const {
    return {"run", "--nnodes", "2", "--rdzv-endpoint", host + ":" + port_, "--secret-file", "secret"};
  }
  std::filesystem::path run() const { return folder_.path() / "runs" / "latest"; }
  std::vector<pid_t> workers() const {
    std::vector<pid_t> pids;
    for (const json& event : events_of(run()))
      if (event["kind"] == "spawn") pids.push_back(event["pid"]);
    return pids;
  }
  void expect_no_worker_lives() const {
    for (const pid_t pid : workers()) EXPECT_TRUE(eventually(10s, [&] { return !process_lives(pid); })) << pid;
  }

  const TemporaryFolder folder_;
  launcher::Descriptor holder_;
  std::string port_;
};

TEST_F(OverHosts, RanksAreNumberedHostByHostAndKnowTheirPlace) {
  const Words show{"sh", "-c", "echo $RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $GROUP_RANK $GROUP_WORLD_SIZE"};
  Launch first(meet("3") + Words{"-n", "2"} + show, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  Launch third(meet("3") + Words{"-n", "2", "--node-rank", "2"} + show, options());
  ASSERT_TRUE(third.wait_for("this host attends"));
  Launch second(meet("3") + Words{"-n", "1", "--node-rank", "1"} + show, options());
  const Outcome all = first.wait();
  EXPECT_EQ(all.exit_code, 0) << all.errors;
  EXPECT_THAT(lines_of(all.output),
              UnorderedElementsAre("[rank 0] 0 0 5 2 0 3", "[rank 1] 1 1 5 2 0 3", "[rank 2] 2 0 5 1 1 3",
                                   "[rank 3] 3 0 5 2 2 3", "[rank 4] 4 1 5 2 2 3"))
      << "the coordinator shows the ranks of all hosts";
  const Outcome there = third.wait();
  EXPECT_EQ(there.exit_code, 0) << there.errors;
  EXPECT_THAT(lines_of(there.output), UnorderedElementsAre("[rank 3] 3 0 5 2 2 3", "[rank 4] 4 1 5 2 2 3"));
  EXPECT_EQ(second.wait().exit_code, 0);
  for (const char* rank : {"0", "1", "2", "3", "4"})
    EXPECT_EQ(lines_of(read_file(run() / "logs" / ("rank-000" + std::string(rank) + ".out"))).size(), 1u);
}

TEST_F(OverHosts, WhoseOutputIsShownIsSaidByRankOfTheJob) {
  const Words work{"-n", "2", "--show", "1,3", RONDO_TEST_WORKER, "out=here"};
  Launch first(meet("2") + work, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  Launch second(meet("2") + work, options());
  EXPECT_THAT(lines_of(first.wait().output), UnorderedElementsAre("[rank 1] here", "[rank 3] here"));
  EXPECT_THAT(lines_of(second.wait().output), UnorderedElementsAre("[rank 3] here"));
}

TEST_F(OverHosts, ARecipeTrainsByTheSameCommandOnEveryHost) {
  const std::filesystem::path trainer = folder_.path() / "rondo-train";  // a stand-in
  std::ofstream(trainer) << "#!/bin/sh\n"
                            "if [ $1 = --plan ]; then echo \"recipe = '$2'\"; else echo $RANK of $WORLD_SIZE: $*; fi\n";
  std::filesystem::permissions(trainer, std::filesystem::perms::owner_all);
  Words words = meet("2") + Words{"-n", "2", "fmnist-cnn", "epochs=1"};
  words[0] = "train";
  Launch first(words, options({{"RONDO_TRAIN", trainer}}));
  ASSERT_TRUE(first.wait_for("waiting for hosts")) << first.so_far().errors;
  Launch second(words, options({{"RONDO_TRAIN", trainer}}));
  EXPECT_EQ(second.wait().exit_code, 0);
  const Outcome outcome = first.wait();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("fmnist-cnn: 4 ranks x "), HasSubstr("transport shm inside hosts and tcp across"),
                    HasSubstr("[rank 3] 3 of 4: fmnist-cnn epochs=1")));
}

TEST_F(OverHosts, AFailureOnAnotherHostIsNamedWithItsCodeAndItsLastLines) {
  const Words work{RONDO_TEST_WORKER, "3:err=out of paper", "3:exit=37", "wait"};
  Launch first(meet("2") + Words{"-n", "2"} + work, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  Launch second(meet("2") + Words{"-n", "2"} + work, options());
  const Outcome outcome = first.wait();
  EXPECT_EQ(outcome.exit_code, 37);
  EXPECT_THAT(outcome.errors, AllOf(HasSubstr("rank 3 (host "), HasSubstr("exited with code 37"),
                                    HasSubstr("    out of paper"), HasSubstr("ended because of it: rank 0 (stopped)")));
  EXPECT_EQ(second.wait().exit_code, 37);
  expect_no_worker_lives();
}

TEST_F(OverHosts, AllRanksStartAgainAfterAFailureOnAnyHost) {
  const Words work{RONDO_TEST_WORKER, "3:fail-until=1", "out=done"};
  Launch first(meet("2") + Words{"-n", "2", "--max-restarts", "1"} + work, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  Launch second(meet("2") + Words{"-n", "2"} + work, options());
  const Outcome outcome = first.wait();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_THAT(outcome.errors, HasSubstr("all ranks start again, restart 1 of 1"));
  EXPECT_THAT(outcome.output, HasSubstr("[rank 3] done"));
  EXPECT_EQ(second.wait().exit_code, 0);
}

TEST_F(OverHosts, AnAgentThatNeverComesIsNamedAtTheDeadline) {
  const Words wait{"--rdzv-conf", "join_timeout=5", "true"};
  Launch first(meet("3") + Words{"--node-rank", "0"} + wait, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  Launch third(meet("3") + Words{"--node-rank", "2"} + wait, options());
  for (Launch* launch : {&first, &third}) {
    const Outcome outcome = launch->wait();
    EXPECT_EQ(outcome.exit_code, 4);
    EXPECT_THAT(outcome.errors, AllOf(HasSubstr("after 5 s not all hosts are there"), HasSubstr("absent: node rank 1"),
                                      HasSubstr("was `rondo run` started")));
  }
}

TEST_F(OverHosts, ACoordinatorThatIsNotThereIsSaid) {
  const Outcome alone =
      run_rondo(meet("2") + Words{"--node-rank", "1", "--rdzv-conf", "join_timeout=1", "true"}, options());
  EXPECT_EQ(alone.exit_code, 4);
  EXPECT_THAT(alone.errors, HasSubstr("127.0.0.1:" + port_));
}

TEST_F(OverHosts, ANameThatLeadsNowhereYetIsWaitedFor) {
  const std::filesystem::path names = folder_.path() / "names";
  std::vector<std::unique_ptr<Launch>> agents;
  for (const char* node : {"0", "1"})
    agents.push_back(std::make_unique<Launch>(
        with_names(names, "127.0.0.1 localhost\n") + Words{RONDO_PROGRAM} + meet_at("first.invalid") +
            Words{"--node-rank", node, "true"},
        Launch::Options{.environment = {{"RES_OPTIONS", "timeout:1 attempts:1"}, {"RONDO_INTERFACE", "lo"}},
                        .program = "/usr/bin/env",
                        .folder = folder_.path()}));
  for (auto& agent : agents)
    ASSERT_TRUE(agent->wait_for("waiting for the name: --rdzv-endpoint first.invalid leads nowhere"))
        << agent->so_far().errors;
  std::ofstream(names, std::ios::app) << "127.0.0.1 first.invalid\n";
  for (auto& agent : agents) {
    const Outcome outcome = agent->wait();
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    const size_t first = outcome.errors.find("waiting for the name");
    EXPECT_EQ(outcome.errors.find("waiting for the name", first + 1), std::string::npos) << "said once";
  }
}

TEST_F(OverHosts, ANameThatLeadsNowhereIsSaidAtTheDeadlineOfEveryHost) {
  const auto at = [&](const std::string& name, const Words& more) {
    return run_rondo(meet_at(name) + more, options({{"RES_OPTIONS", "timeout:1 attempts:1"}}));
  };
  for (const char* node : {"0", "1"}) {
    const Outcome outcome = at("nowhere.invalid", {"--node-rank", node, "--rdzv-conf", "join_timeout=1", "true"});
    EXPECT_EQ(outcome.exit_code, 4) << outcome.errors;
    EXPECT_THAT(outcome.errors, AllOf(HasSubstr("after 1 s --rdzv-endpoint nowhere.invalid leads nowhere: "),
                                      HasSubstr("Is the name spelled right")));
  }
  const Outcome never = at("no..where", {"true"});
  EXPECT_EQ(never.exit_code, 2);
  EXPECT_THAT(never.errors, HasSubstr("--rdzv-endpoint no..where leads nowhere"));
}

TEST_F(OverHosts, ASignalEndsTheWaitForAName) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Launch agent(meet_at("nowhere.invalid") + Words{"true"}, options({{"RES_OPTIONS", "timeout:1 attempts:1"}}));
    ASSERT_TRUE(agent.wait_for("waiting for the name")) << agent.so_far().errors;
    agent.signal(signal);
    const Outcome outcome = agent.wait();
    EXPECT_EQ(outcome.exit_code, 128 + signal) << outcome.errors;
    EXPECT_THAT(outcome.errors, HasSubstr("before nowhere.invalid led anywhere"));
  }
}

TEST_F(OverHosts, AWrongSecretNeverJoins) {
  Launch first(meet("2") + Words{"--rdzv-conf", "join_timeout=4", "true"}, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  const Outcome stranger =
      run_rondo(meet("2", "other") + Words{"--node-rank", "1", "--rdzv-conf", "join_timeout=4", "true"}, options());
  EXPECT_NE(stranger.exit_code, 0);
  EXPECT_THAT(stranger.errors, HasSubstr("secret"));
  const Outcome outcome = first.wait();
  EXPECT_EQ(outcome.exit_code, 4);
  const auto events = events_of(run());
  EXPECT_TRUE(std::ranges::any_of(events, [](const json& event) { return event["kind"] == "agent_refused"; }));
  EXPECT_TRUE(std::ranges::none_of(events, [](const json& event) { return event["kind"] == "host"; }));
}

TEST_F(OverHosts, WhoCannotTakePartIsToldWhyAndTheOthersWaitOn) {
  Launch first(meet("2") + Words{"--rdzv-id", "a", "true"}, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  const Outcome same = run_rondo(meet("2") + Words{"--rdzv-id", "b", "--node-rank", "1", "true"}, options());
  EXPECT_EQ(same.exit_code, 2);
  EXPECT_THAT(same.errors, HasSubstr("its --rdzv-id is 'b', here it is 'a'"));
  Launch second(meet("2") + Words{"--rdzv-id", "a", "--node-rank", "1", "true"}, options());
  EXPECT_EQ(first.wait().exit_code, 0);
  EXPECT_EQ(second.wait().exit_code, 0);
}

TEST_F(OverHosts, ALostAgentIsNamedAndItsRanksAndAllOthersEnd) {
  const Words work{"-n", "2", RONDO_TEST_WORKER, "out=ready", "wait"};
  Launch first(meet("2") + work, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  Launch second(meet("2") + work, options());
  for (const char* rank : {"[rank 0] ready", "[rank 1] ready", "[rank 2] ready", "[rank 3] ready"})
    ASSERT_TRUE(first.wait_for(rank)) << rank;
  second.signal(SIGKILL);
  const Outcome outcome = first.wait();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.errors, AllOf(HasSubstr("is lost: its connection ended"), HasSubstr("rank 2 (host "),
                                    HasSubstr("is lost with its host"),
                                    HasSubstr("  its last lines on stdout that came here (all of them: in the logs on "
                                              "its host; it wrote nothing to stderr):\n    ready\n")));
  expect_no_worker_lives();
}

TEST_F(OverHosts, ALostHostIsNotWaitedForInANextGeneration) {
  const Words work{"-n", "1", "--max-restarts", "1", RONDO_TEST_WORKER, "out=ready", "wait"};
  Launch first(meet("2") + work, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  Launch second(meet("2") + work, options());
  ASSERT_TRUE(first.wait_for("[rank 0] ready"));
  ASSERT_TRUE(first.wait_for("[rank 1] ready"));
  second.signal(SIGKILL);
  EXPECT_EQ(first.wait().exit_code, 5);
  expect_no_worker_lives();
}

TEST_F(OverHosts, AnAgentThatLeftBeforeTheStartMayComeAgain) {
  Launch first(meet("3") + Words{"true"}, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  const Words of_second = meet("3") + Words{"--node-rank", "1", "true"};
  {
    Launch second(of_second, options());
    ASSERT_TRUE(second.wait_for("this host attends"));
    second.signal(SIGINT);
    EXPECT_EQ(second.wait().exit_code, 130);
  }
  Launch third(meet("3") + Words{"--node-rank", "2", "true"}, options());
  // The coordinator may hear of the end after the next beginning: it says why, and the agent is started again.
  EXPECT_TRUE(eventually(20s, [&] { return run_rondo(of_second, options()).exit_code == 0; }));
  EXPECT_EQ(third.wait().exit_code, 0);
  EXPECT_EQ(first.wait().exit_code, 0);
}

TEST_F(OverHosts, AFolderThatCannotBeMadeOnAnotherHostEndsTheRun) {
  std::ofstream(folder_.path() / "file") << "no folder";
  Launch first(meet("2") + Words{"true"}, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  const Outcome there = run_rondo(meet("2") + Words{"--run-dir", "file/run", "true"}, options());
  EXPECT_NE(there.exit_code, 0);
  EXPECT_THAT(there.errors, HasSubstr("cannot make the folder"));
  const Outcome outcome = first.wait();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.errors, HasSubstr("is lost: its agent ended with code"));
}

TEST_F(OverHosts, ALostCoordinatorEndsTheRanksOfEveryHost) {
  const Words work{"-n", "2", RONDO_TEST_WORKER, "out=ready", "wait"};
  Launch first(meet("2") + work, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  Launch second(meet("2") + work, options());
  for (const char* rank : {"[rank 2] ready", "[rank 3] ready"}) ASSERT_TRUE(second.wait_for(rank)) << rank;
  ASSERT_TRUE(first.wait_for("[rank 3] ready"));
  first.signal(SIGKILL);
  const Outcome outcome = second.wait();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.errors, HasSubstr("the coordinator at 127.0.0.1:" + port_ + " is lost"));
  expect_no_worker_lives();
}

TEST_F(OverHosts, ASignalAtAnyAgentStopsTheRun) {
  const Words work{"-n", "1", RONDO_TEST_WORKER, "on-signal=0", "out=ready", "wait"};
  Launch first(meet("2") + work, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  Launch second(meet("2") + work, options());
  ASSERT_TRUE(first.wait_for("[rank 0] ready"));
  ASSERT_TRUE(first.wait_for("[rank 1] ready"));
  second.signal(SIGINT);
  const Outcome outcome = first.wait();
  EXPECT_EQ(outcome.exit_code, 130);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("[rank 0] got signal 2"), HasSubstr("[rank 1] got signal 2")));
  EXPECT_EQ(second.wait().exit_code, 130);
}

TEST_F(OverHosts, ManyLinesFromAnotherHostComeWholeAndInOrder) {
  const Words work{"-n", "1", RONDO_TEST_WORKER, "1:lines=5000"};
  Launch first(meet("2") + work, options());
  ASSERT_TRUE(first.wait_for("waiting for hosts"));
  Launch second(meet("2") + work, options());
  const Outcome outcome = first.wait();
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(lines_of(outcome.output).size(), 5000u);
  EXPECT_EQ(lines_of(outcome.output), lines_of(second.wait().output));
}

/// Four hosts, each joined to every other; all meet at an address of the first.
class InNamespaces : public OverHosts {
 protected:
  static constexpr int kHosts = 4;
  void SetUp() override {
    ASSERT_EQ(Hosts::refusal(), "");
    OverHosts::SetUp();
    hosts_.emplace(kHosts);
    std::map<std::pair<int, int>, int> cables;
    for (int a = 0; a < kHosts; ++a)
      for (int b = a + 1; b < kHosts; ++b) cables[{a, b}] = hosts_->connect({.first = a, .second = b});
    door_ = hosts_->ipv4(cables.at({0, 1}), 0);
    for (int host = 2; host < kHosts; ++host) {
      Process route(hosts_->on(
          host, {.program = "/usr/bin/env",
                 .arguments = {"ip", "route", "add", door_ + "/32", "via", hosts_->ipv4(cables.at({0, host}), 0)},
                 .environment = {}}));
      ASSERT_EQ(route.end(), 0);
    }
  }
  std::unique_ptr<Launch> agent(int host, const Words& flags, const std::string& secret = "secret") const {
    const auto on = hosts_->on(
        host, {.program = RONDO_PROGRAM,
               .arguments = Words{"run", "--nnodes", std::to_string(kHosts), "--node-rank", std::to_string(host),
                                  "--rdzv-endpoint", door_ + ":29400", "--secret-file", secret} +
                            flags,
               .environment = {}});
    return std::make_unique<Launch>(on.arguments,
                                    Launch::Options{.environment = {{"RONDO_HOST_ID", "host-" + std::to_string(host)}},
                                                    .program = on.program,
                                                    .folder = folder_.path()});
  }

  std::optional<Hosts> hosts_;
  std::string door_;
};

TEST_F(InNamespaces, RanksReduceOverTlsAndTcpAndNobodyListensEverywhere) {
  const Words work{"-n",        "2",        RONDO_TEST_WORKER, "join", "reduce=100000",
                   "out=ready", "until=go", "reduce=1000",     "leave"};
  std::vector<std::unique_ptr<Launch>> agents;
  for (int host = 0; host < kHosts; ++host) agents.push_back(agent(host, work));
  for (int rank = 0; rank < 2 * kHosts; ++rank)
    ASSERT_TRUE(agents[0]->wait_for("[rank " + std::to_string(rank) + "] ready", 60s)) << agents[0]->so_far().errors;
  for (int host = 0; host < kHosts; ++host) {
    const auto open = hosts_->listeners(host);
    EXPECT_FALSE(open.empty()) << host;
    for (const auto& listener : open) EXPECT_FALSE(listener.everywhere()) << listener.address;
  }
  std::ofstream(folder_.path() / "go") << "go";
  for (auto& each : agents) {
    const Outcome outcome = each->wait(60s);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  }
  EXPECT_THAT(agents[0]->so_far().output, HasSubstr("[rank 7] left"));
}

TEST_F(InNamespaces, ATerminalOfTheCoordinatorsHostSeesTheRanksOfAllHosts) {
  const Words work{RONDO_TEST_WORKER, "3:progress=1,9", "on-signal=0", "out=ready", "wait"};
  std::vector<std::unique_ptr<Launch>> agents;
  for (int host = 0; host < kHosts; ++host) agents.push_back(agent(host, work));
  for (int rank = 0; rank < kHosts; ++rank)
    ASSERT_TRUE(agents[0]->wait_for("[rank " + std::to_string(rank) + "] ready", 60s)) << agents[0]->so_far().errors;
  const auto terminal = [&](const Words& words) {
    const auto on = hosts_->on(0, {.program = RONDO_PROGRAM, .arguments = words, .environment = {}});
    return run_rondo(on.arguments, {.program = on.program, .folder = folder_.path()});
  };
  EXPECT_EQ(lines_of(terminal({"logs", "--ranks", "3", "--tail", "1"}).output), Words{"[rank 3] ready"});
  const Outcome once = terminal({"top", "--once", "--json"});
  ASSERT_EQ(once.exit_code, 0) << once.errors;
  const json seen = json::parse(once.output);
  EXPECT_EQ(seen["hosts"], kHosts);
  EXPECT_EQ(seen["ranks"][3]["training"]["step"], 9);
  for (const json& rank : seen["ranks"]) {
    EXPECT_TRUE(process_lives(rank["pid"])) << rank;
    EXPECT_GT(rank["resident_bytes"], 100'000) << rank;
    EXPECT_GE(rank["cpu_percent"], 0.0) << rank;
  }
  EXPECT_EQ(terminal({"stop", "--signal", "INT"}).exit_code, 0);
  for (auto& each : agents) EXPECT_EQ(each->wait().exit_code, 130);
}

TEST_F(InNamespaces, AWrongSecretAndAnAbsentHostAreNamed) {
  const Words wait{"--rdzv-conf", "join_timeout=5", "true"};
  std::vector<std::unique_ptr<Launch>> agents;
  for (int host : {0, 1}) agents.push_back(agent(host, wait));
  ASSERT_TRUE(agents[0]->wait_for("waiting for hosts"));
  const auto stranger = agent(2, wait, "other");
  const Outcome refused = stranger->wait();
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.errors, HasSubstr("secret"));
  for (auto& each : agents) {
    const Outcome outcome = each->wait();
    EXPECT_EQ(outcome.exit_code, 4);
    EXPECT_THAT(outcome.errors, HasSubstr("absent: node rank 2 and node rank 3"));
  }
}

}  // namespace
}  // namespace rondo::test
