/// `rondo ps`, `logs`, `top` and `stop` beside a live run. Others of this user may go on at the same time: runs are
/// named by their launcher's pid.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <nlohmann/json.hpp>

#include "launcher/remote/operations.h"
#include "launcher/remote/run_call.h"
#include "launcher/terminal/live_runs.h"
#include "tests/launcher/support/events.h"
#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

using launcher::RunCall;
using launcher::RunDoor;
using nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;
using testing::UnorderedElementsAre;
using namespace std::chrono_literals;

using Words = std::vector<std::string>;

class Terminals : public testing::Test {
 protected:
  Launch::Options here() const { return {.environment = {}, .folder = folder_.path()}; }
  /// Two ranks.
  Launch job(Words actions, Words flags = {}) const {
    Words arguments{"run", "-n", "2"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    arguments.emplace_back(RONDO_TEST_WORKER);
    arguments.insert(arguments.end(), actions.begin(), actions.end());
    return Launch(arguments, here());
  }
  static std::string name_of(const Launch& run) { return std::to_string(run.pid()); }
  Outcome terminal(Words words) const { return run_rondo(words, here()); }
  void go() const { std::ofstream(folder_.path() / "go") << "go"; }
  std::filesystem::path latest() const { return folder_.path() / "runs" / "latest"; }
  static RunDoor door_of(const Launch& run) {
    for (const RunDoor& door : launcher::live_runs())
      if (door.launcher == run.pid()) return door;
    ADD_FAILURE() << "no door of process " << run.pid();
    return {};
  }

  const TemporaryFolder folder_;
};

TEST_F(Terminals, SeeALiveRunUntilItHasEnded) {
  Launch run = job({"1:progress=2,7", "out=ready", "until=go"});
  ASSERT_TRUE(run.wait_for("[rank 0] ready") && run.wait_for("[rank 1] ready"));
  const auto entry = [&] {
    const Outcome listed = terminal({"ps", "--json"});
    EXPECT_EQ(listed.exit_code, 0) << listed.errors;
    const json all = json::parse(listed.output, nullptr, false);
    for (const json& one : all["runs"])
      if (one["launcher_pid"] == run.pid()) return one;
    return json();
  };
  const json seen = entry();
  ASSERT_FALSE(seen.is_null());
  EXPECT_EQ(seen["run"], std::filesystem::canonical(latest()).filename().string());
  EXPECT_EQ(seen["program"], RONDO_TEST_WORKER);
  EXPECT_EQ(seen["ranks"], 2);
  EXPECT_EQ(seen["hosts"], 1);
  EXPECT_EQ(seen["state"], "running");
  EXPECT_TRUE(eventually(20s, [&] { return entry()["training"]["step"] == 7; }));
  EXPECT_THAT(terminal({"ps"}).output, AllOf(HasSubstr("RUN "), HasSubstr("epoch 2/3 step 7/100")));
  go();
  EXPECT_EQ(run.wait().exit_code, 0);
  EXPECT_TRUE(entry().is_null());
  EXPECT_THAT(read_file("/proc/net/unix"), Not(HasSubstr("-" + std::to_string(run.pid()) + "-launcher_worker")));
}

TEST_F(Terminals, StopARunAsASignalWould) {
  Launch run = job({"on-signal=0", "out=ready", "wait"});
  ASSERT_TRUE(run.wait_for("[rank 0] ready") && run.wait_for("[rank 1] ready"));
  const Outcome stop = terminal({"stop", name_of(run), "--wait"});
  EXPECT_EQ(stop.exit_code, 0) << stop.errors;
  EXPECT_THAT(stop.output, AllOf(HasSubstr("15 (SIGTERM): passed on, the ranks end in order"),
                                 HasSubstr("has ended with code 143")));
  const Outcome ended = run.wait();
  EXPECT_EQ(ended.exit_code, 143);
  EXPECT_THAT(lines_of(ended.output), IsSupersetOf({"[rank 0] got signal 15", "[rank 1] got signal 15"}));
}

TEST_F(Terminals, KillAtOnceOrWhenTheyHaveNoPatienceLeft) {
  for (const bool patient : {false, true}) {
    Launch run = job({"ignore-term", "out=ready", "wait"}, {"--grace", "600"});
    ASSERT_TRUE(run.wait_for("[rank 0] ready") && run.wait_for("[rank 1] ready"));
    const std::vector<pid_t> ranks = pids_of(latest());
    if (patient) {
      EXPECT_EQ(terminal({"stop", name_of(run), "--wait", "--timeout", "0.1"}).exit_code, 5);
      const Outcome seen = terminal({"ps", "--json"});
      EXPECT_THAT(seen.output, HasSubstr("\"state\":\"stopping\""));
    }
    EXPECT_THAT(terminal({"stop", name_of(run), "--signal", "KILL"}).output, HasSubstr("SIGKILL to all"));
    EXPECT_EQ(run.wait().exit_code, patient ? 143 : 137);
    for (const pid_t rank : ranks) EXPECT_FALSE(process_lives(rank));
  }
}

TEST_F(Terminals, AskForACheckpointAndStacksWithoutEndingAnything) {
  Launch run = job({"handle=10", "out=ready", "until=go"});
  ASSERT_TRUE(run.wait_for("[rank 0] ready") && run.wait_for("[rank 1] ready"));
  EXPECT_EQ(terminal({"stop", name_of(run), "--signal", "USR1"}).exit_code, 0);
  EXPECT_TRUE(run.wait_for("[rank 0] handled signal 10") && run.wait_for("[rank 1] handled signal 10"));
  EXPECT_EQ(terminal({"stop", name_of(run), "--signal", "SIGUSR2"}).exit_code, 0);
  EXPECT_TRUE(run.wait_for("12 (SIGUSR2): not sent to ranks 0 and 1"));
  go();
  EXPECT_EQ(run.wait().exit_code, 0);
}

TEST_F(Terminals, NameWhatIsNotThere) {
  Launch run = job({"out=ready", "until=go"});
  ASSERT_TRUE(run.wait_for("[rank 0] ready"));
  for (const char* verb : {"logs", "top", "stop"}) {
    const Outcome unknown = terminal({verb, "no-such-run"});
    EXPECT_EQ(unknown.exit_code, 2);
    EXPECT_THAT(unknown.errors, AllOf(HasSubstr("no live run 'no-such-run'"), HasSubstr("(pid " + name_of(run) + ")")));
  }
  EXPECT_THAT(terminal({"stop", name_of(run), "--signal", "TREM"}).errors, HasSubstr("did you mean 'TERM'?"));
  EXPECT_THAT(terminal({"stop", name_of(run), "--signal", "USR1", "--wait"}).errors, HasSubstr("ends no run"));
  EXPECT_THAT(terminal({"logs", name_of(run), "--ranks", "all"}).errors, HasSubstr("expected ranks"));
  EXPECT_THAT(lines_of(terminal({"completion", "--words", "stop"}).output), Contains(door_of(run).run));
  const std::string namesake = folder_.path() / "elsewhere" / door_of(run).run;  // an ended run of another folder
  std::filesystem::create_directories(namesake);
  std::ofstream(namesake + "/events.jsonl") << "";
  EXPECT_THAT(terminal({"stop", namesake}).errors, HasSubstr("has ended"));
  go();
  EXPECT_EQ(run.wait().exit_code, 0);
  EXPECT_THAT(terminal({"top", "latest"}).errors, HasSubstr("has ended"));
}

TEST_F(Terminals, FollowLinesInTheirOrderUntilTheEnd) {
  Launch run = job({"out=first", "out=second", "1:err=oops", "out=third", "until=go", "say=bye", "out=last"});
  ASSERT_TRUE(run.wait_for("[rank 0] third") && run.wait_for("[rank 1] third") && run.wait_for("oops"));
  EXPECT_THAT(lines_of(terminal({"logs", name_of(run), "--ranks", "1"}).output),
              ElementsAre("[rank 1] first", "[rank 1] second", "[rank 1] third"));
  const Outcome last = terminal({"logs", name_of(run), "--ranks", "0", "--tail", "2"});
  EXPECT_EQ(last.exit_code, 0);
  EXPECT_THAT(lines_of(last.output), ElementsAre("[rank 0] second", "[rank 0] third"));
  Launch guest({"logs", name_of(run), "-f", "--ranks", "1"}, here());
  ASSERT_TRUE(guest.wait_for("[rank 1] third"));
  go();
  const Outcome followed = guest.wait();
  EXPECT_EQ(followed.exit_code, 0) << followed.errors;
  // What is said comes by another way than what is written.
  EXPECT_THAT(lines_of(followed.output),
              UnorderedElementsAre("[rank 1] first", "[rank 1] second", "[rank 1] third", "bye", "[rank 1] last"));
  EXPECT_THAT(lines_of(followed.errors), ElementsAre("[rank 1] oops"));
  EXPECT_EQ(run.wait().exit_code, 0);
  const Outcome recorded = terminal({"logs", "latest", "--ranks", "1", "--tail", "2"});
  EXPECT_EQ(recorded.exit_code, 0) << recorded.errors;
  EXPECT_THAT(lines_of(recorded.output), UnorderedElementsAre("[rank 1] bye", "[rank 1] last"));
  EXPECT_THAT(lines_of(recorded.errors), ElementsAre("[rank 1] oops"));
}

TEST_F(Terminals, SeeThePrefixesOfTheRun) {
  Launch run = job({"out=ready", "until=go"}, {"--prefix", "json"});
  ASSERT_TRUE(run.wait_for("ready"));
  const json line = json::parse(lines_of(terminal({"logs", name_of(run), "--tail", "1"}).output).at(0));
  EXPECT_EQ(line["line"], "ready");
  go();
  EXPECT_EQ(run.wait().exit_code, 0);
}

TEST_F(Terminals, FollowIntoTheNextGeneration) {
  Launch run = job({"out=ready", "until=go", "1:fail-until=1", "out=done"}, {"--max-restarts", "1"});
  ASSERT_TRUE(run.wait_for("[rank 0] ready") && run.wait_for("[rank 1] ready"));
  Launch guest({"logs", name_of(run), "-f"}, here());
  ASSERT_TRUE(guest.wait_for("ready"));
  go();
  const Outcome followed = guest.wait();
  EXPECT_EQ(followed.exit_code, 0) << followed.errors;
  EXPECT_THAT(lines_of(followed.output), Contains("[rank 1] ready").Times(2));
  EXPECT_THAT(lines_of(followed.output), Contains("[rank 1] done").Times(1));
  const Outcome ended = run.wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.errors;
}

TEST_F(Terminals, SeeWhatRanksUseAndHowFarTheyAre) {
  Launch run = job({"0:progress=1,5", "1:progress=1,6", "out=ready", "until=go"});
  ASSERT_TRUE(run.wait_for("[rank 0] ready") && run.wait_for("[rank 1] ready"));
  const Outcome once = terminal({"top", name_of(run), "--once", "--json"});
  ASSERT_EQ(once.exit_code, 0) << once.errors;
  const json seen = json::parse(once.output);
  const std::vector<pid_t> ranks = pids_of(latest());
  for (size_t rank : {0U, 1U}) {
    const json& one = seen["ranks"][rank];
    EXPECT_EQ(one["pid"], ranks[rank]);
    EXPECT_EQ(one["state"], "running");
    EXPECT_EQ(one["training"]["step"], 5 + static_cast<int>(rank));
    EXPECT_GT(one["resident_bytes"], 100'000);
    EXPECT_GE(one["cpu_percent"], 0.0);
    EXPECT_GE(one["line_age_ms"], 0);
  }
  Launch guest({"top", name_of(run)}, here());
  ASSERT_TRUE(guest.wait_for("RANK  HOST"));
  go();
  EXPECT_EQ(guest.wait().exit_code, 0);
  EXPECT_EQ(run.wait().exit_code, 0);
}

TEST_F(Terminals, ThatAreKilledCostTheRunNothing) {
  Launch run = job({"out=ready", "until=go", "lines=200", "out=done"});
  ASSERT_TRUE(run.wait_for("[rank 0] ready") && run.wait_for("[rank 1] ready"));
  for (const Words& words : {Words{"logs", name_of(run), "-f"}, Words{"top", name_of(run)}}) {
    Launch guest(words, here());
    ASSERT_TRUE(guest.wait_for(words[0] == "logs" ? "[rank 0] ready" : "RANK"));
    guest.signal(SIGKILL);
    EXPECT_EQ(guest.wait().signal, SIGKILL);
  }
  go();
  const Outcome ended = run.wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.errors;
  EXPECT_THAT(lines_of(ended.output), AllOf(Contains("[rank 0] done"), Contains("[rank 1] done")));
}

TEST_F(Terminals, ThatDoNotReadLoseLinesAndNobodyWaitsForThem) {
  Launch run = job({"out=ready", "until=go", "lines=10000"});
  ASSERT_TRUE(run.wait_for("[rank 0] ready") && run.wait_for("[rank 1] ready"));
  const auto call = RunCall::open(door_of(run));
  ASSERT_TRUE(call.ok()) << call.status().text();
  control::LogsRequest request;
  request.set_follow(true);
  std::promise<void> begun, all_said;
  uint64_t lines = 0, skipped = 0;
  auto guest = std::async(std::launch::async, [&] {
    bool first = true;
    return (*call)->logs(request, [&](const control::LogsSays& says) {
      if (std::exchange(first, false)) {
        begun.set_value();
        all_said.get_future().wait_for(60s);  // a terminal that stands still
      }
      for (const control::LogLine& line : says.lines().lines()) {
        skipped += line.skipped();
        if (line.skipped() == 0) ++lines;
      }
      return RunCall::More::kYes;
    });
  });
  ASSERT_EQ(begun.get_future().wait_for(20s), std::future_status::ready);
  go();
  const Outcome ended = run.wait();
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(std::ranges::count(ended.output, '\n'), 2 + 2 * 10000);
  all_said.set_value();
  EXPECT_EQ(guest.get().code(), comm::Code::kPeerLost) << "it was not waited for";
  EXPECT_LT(lines, 2u + 4 * 10000);
}

TEST_F(Terminals, MoreThanTheRunTakesAreRefusedUntilOneLeaves) {
  Launch run = job({"out=ready", "until=go"});
  ASSERT_TRUE(run.wait_for("[rank 0] ready"));
  const auto env = comm::real_env();
  std::vector<std::unique_ptr<comm::Stream>> guests;
  for (size_t at = 0; at <= launcher::Operations::kMostGuests; ++at) {
    auto stream = env->dial(launcher::address_of(door_of(run)));
    ASSERT_TRUE(stream.ok()) << stream.status().text();
    guests.push_back(*std::move(stream));
  }
  EXPECT_TRUE(eventually(10s, [&] {
    return read_file(latest() / "events.jsonl").find("there are 64 terminals already") != std::string::npos;
  }));
  EXPECT_EQ(terminal({"stop", name_of(run), "--signal", "USR1"}).exit_code, 3);
  guests.clear();
  EXPECT_THAT(terminal({"top", name_of(run), "--once"}).output, HasSubstr("RANK  HOST"));
  go();
  EXPECT_EQ(run.wait().exit_code, 0);
}

TEST_F(Terminals, OfAnotherUserAreNotLetIn) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can play another user";
  Launch run = job({"out=ready", "until=go"});
  ASSERT_TRUE(run.wait_for("[rank 0] ready"));
  const comm::Address address = launcher::address_of(door_of(run));
  const pid_t other = ::fork();  // no gRPC in this test's process before
  if (other == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(9);
    const auto env = comm::real_env();
    const auto stream = env->dial(address);
    if (!stream.ok()) ::_exit(8);
    std::byte byte{};
    comm::IoResult read{.state = comm::IoResult::State::kWouldBlock};
    for (int tries = 0; tries < 200 && read.state == comm::IoResult::State::kWouldBlock; ++tries) {
      const comm::WaitHandle wait{.handle = (*stream)->handle()};
      env->idle({&wait, 1}, 100ms);
      read = (*stream)->read({&byte, 1});
    }
    ::_exit(read.state == comm::IoResult::State::kClosed || read.state == comm::IoResult::State::kFailed ? 7 : 6);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(other, &status, 0), other);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_TRUE(eventually(10s, [&] {
    return read_file(latest() / "events.jsonl").find("the other side is user 65534") != std::string::npos;
  }));
  go();
  EXPECT_EQ(run.wait().exit_code, 0);
}

}  // namespace
}  // namespace rondo::test
