/// torchrun's flags under `rondo run`, as the ranks and the user see them.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "launcher/agent/meeting_point.h"
#include "launcher/base/descriptor.h"
#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

struct Ran {
  Outcome outcome;
  json variables;  // of rank 0
};
Ran run_with(std::vector<std::string> flags, const std::map<std::string, std::string>& environment = {}) {
  const TemporaryFolder folder;
  std::vector<std::string> words{"run", "--run-dir", "run"};
  words.insert(words.end(), flags.begin(), flags.end());
  words.insert(words.end(), {RONDO_TEST_WORKER, "0:env=1"});
  Ran ran{run_rondo(words, {.environment = environment, .folder = folder.path()}), {}};
  const json facts = json::parse(read_file(folder.path() / "run" / "logs" / "rank-0000.out"), nullptr, false);
  if (facts.is_object()) ran.variables = facts["variables"];
  return ran;
}

TEST(Flags, OfTorchrunReachTheRanksInBothSpellings) {
  for (const auto& flags :
       {std::vector<std::string>{"--nnodes=1:1", "--nproc-per-node=2", "--node-rank=0", "--max-restarts=3",
                                 "--rdzv-id=mine", "--role=actor", "--master-addr=localhost"},
        {"--nnodes=1", "--nproc_per_node=2", "--node_rank=0", "--max_restarts=3", "--rdzv_id=mine", "--role=actor",
         "--master_addr=localhost"}}) {
    const Ran ran = run_with(flags);
    ASSERT_EQ(ran.outcome.exit_code, 0) << ran.outcome.errors;
    EXPECT_EQ(ran.outcome.errors, "") << "nothing to remark";
    EXPECT_EQ(ran.variables["WORLD_SIZE"], "2");
    EXPECT_EQ(ran.variables["TORCHELASTIC_MAX_RESTARTS"], "3");
    EXPECT_EQ(ran.variables["TORCHELASTIC_RUN_ID"], "mine");
    EXPECT_EQ(ran.variables["ROLE_NAME"], "actor");
    EXPECT_EQ(ran.variables["MASTER_ADDR"], "localhost");
  }
}

TEST(Flags, OfOneLetterMayHaveTheirValueJoined) {
  EXPECT_EQ(run_with({"-n2"}).variables["WORLD_SIZE"], "2");
  EXPECT_THAT(run_with({"-n2x"}).outcome.errors, HasSubstr("--nproc-per-node 2x: the number of ranks"));
  const Ran unknown = run_with({"-x2"});
  EXPECT_EQ(unknown.outcome.exit_code, 2);
  EXPECT_THAT(unknown.outcome.errors, HasSubstr("unknown flag '-x2'"));
}

TEST(Flags, ComeFromTheEnvironmentUnlessTyped) {
  const std::map<std::string, std::string> pet{
      {"PET_NPROC_PER_NODE", "3"}, {"PET_ROLE", "of pet"}, {"RONDO_ROLE", "of rondo"}};
  const Ran ran = run_with({}, pet);
  EXPECT_EQ(ran.variables["WORLD_SIZE"], "3");
  EXPECT_EQ(ran.variables["ROLE_NAME"], "of rondo");
  EXPECT_EQ(run_with({"-n", "2"}, pet).variables["WORLD_SIZE"], "2");
  const Ran several = run_with({}, {{"PET_NNODES", "2"}});
  EXPECT_EQ(several.outcome.exit_code, 2);
  EXPECT_THAT(several.outcome.errors,
              HasSubstr("--nnodes 2 (from PET_NNODES): where do the hosts meet? --rdzv-endpoint HOST:PORT"));
  EXPECT_THAT(run_with({}, {{"PET_NNODE", "1"}}).outcome.errors,
              HasSubstr("note: the variable PET_NNODE is no flag of `rondo run` (did you mean 'PET_NNODES'?)"));
}

TEST(Flags, WhoseRondoVariableIsMistypedAreNamedAndOthersOwnVariablesLeftAlone) {
  const Ran slip = run_with({}, {{"RONDO_NPROC_PER_NOD", "4"}});
  EXPECT_EQ(slip.outcome.exit_code, 0);
  EXPECT_THAT(slip.outcome.errors,
              HasSubstr("note: the variable RONDO_NPROC_PER_NOD is no flag of `rondo run` (did you "
                        "mean 'RONDO_NPROC_PER_NODE'?)"));
  // Rondo's own, and a user's.
  EXPECT_EQ(run_with({}, {{"RONDO_RUN_DIR", "/x"}, {"RONDO_MODEL", "gpt"}, {"RONDO_DATA", "here"}}).outcome.errors, "");
}

TEST(Flags, WithoutAnEffectSaySoOnceAndWhy) {
  const Ran ran = run_with({"-n", "2", "--monitor-interval=5", "--start-method=fork", "--event-log-handler=console",
                            "--rdzv-backend=c10d", "--rdzv-endpoint=elsewhere:1", "--rdzv-conf=timeout=3"});
  EXPECT_EQ(ran.outcome.exit_code, 0);
  for (const char* flag : {"--monitor-interval", "--start-method", "--event-log-handler", "--rdzv-backend",
                           "--rdzv-endpoint", "--rdzv-conf"}) {
    const std::string note = std::string("rondo run: note: ") + flag + " has no effect";
    const size_t first = ran.outcome.errors.find(note);
    ASSERT_NE(first, std::string::npos) << flag << "\n" << ran.outcome.errors;
    EXPECT_EQ(ran.outcome.errors.find(note, first + 1), std::string::npos) << flag;
  }
}

TEST(Flags, OfSeveralHostsAreCheckedBeforeAnybodyWaits) {
  const std::vector<std::string> meet{"--nnodes=2", "--rdzv-endpoint=127.0.0.1:1"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), meet.begin(), meet.end());
    return run_with(more).outcome;
  };
  for (const auto& [outcome, sentence] :
       {std::pair{with({}), "make one with `rondo secret new FILE`"},
        {with({"--secret-file=s", "--node-rank=2"}), "--node-rank 2: a whole number from 0 to 1"},
        {with({"--secret-file=s", "--standalone"}), "--standalone means one host"},
        {with({"--secret-file=s", "--rdzv-conf=join_timeot=5"}),
         "unknown key 'join_timeot' (did you mean 'join_timeout'?)"},
        {with({"--secret-file=s", "--rdzv-conf=join_timeout=soon"}), "join_timeout soon: a whole number from 1"}}) {
    EXPECT_EQ(outcome.exit_code, 2) << sentence;
    EXPECT_THAT(outcome.errors, HasSubstr(sentence));
  }
  const Outcome dry = with({"--secret-file=s", "--node-rank=1", "-n", "3", "--local-addr=10.0.0.1", "--dry-run"});
  EXPECT_EQ(dry.exit_code, 0) << dry.errors;
  for (const char* part :
       {"hosts: 2, they meet at 127.0.0.1:1; ranks as if each had 3 ranks", "rank 5:", "GROUP_RANK=1", "WORLD_SIZE=6",
        "LOCAL_RANK=2", "warning: cannot open secret file 's': No such file"})
    EXPECT_THAT(dry.output, HasSubstr(part));
  EXPECT_THAT(dry.errors, testing::ContainsRegex("--local-addr has no effect.*RONDO_INTERFACE"));
  const Outcome script = with({"--secret-file=s", "--dry-run=sh"});
  EXPECT_THAT(lines_of(script.output), testing::Contains(testing::MatchesRegex("export RONDO_SECRET_FILE=/.*/s")))
      << "ranks started by hand need it, too";
  EXPECT_THAT(script.output, HasSubstr("# warning: cannot open secret file 's'"));
}

TEST(Flags, WhoseAbsenceWouldBeNoticedAreRefusedWithAWayOut) {
  for (const auto& [flag, sentence] :
       std::map<std::string, std::string>{{"--nnodes=2", "where do the hosts meet?"},
                                          {"--nnodes=1:4", "where do the hosts meet?"},
                                          {"--node-rank=1", "there is one host"},
                                          {"--run-path", "rondo run python3 -u SCRIPT"},
                                          {"--logs-specs=mine", "--prefix"},
                                          {"--duplicate-stdout-filters=loss", "grep"},
                                          {"--virtual-local-rank", "CUDA_VISIBLE_DEVICES"},
                                          {"--rdzv-backend=etcd", "there are static and c10d"},
                                          {"--master-addr=192.0.2.1", "is no address of this host"},
                                          {"--master-addr=no..host", "leads nowhere"},
                                          {"--numa-binding=gpu", "there are node, socket"},
                                          {"--prefix=fancy", "there are auto, none, rank"},
                                          {"--max-restarts=-1", "--max-restarts -1: a whole number from 0"},
                                          {"--redirects=9", "0 none, 1 stdout"},
                                          {"--local-ranks-filter=7", "there is no local rank 7"},
                                          {"--signals-to-handle=SIGUSR1", "save a checkpoint"}}) {
    const Ran ran = run_with({flag});
    EXPECT_EQ(ran.outcome.exit_code, 2) << flag;
    EXPECT_THAT(ran.outcome.errors, HasSubstr(sentence)) << flag;
  }
}

TEST(Flags, GiveTheRanksTheMasterPortThatWasAskedForAndRefuseOneInUse) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  const auto bound = [&] {
    launcher::Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
    return socket;
  };
  const launcher::Descriptor holder = bound();  // keeps others off the port once the listener is gone
  launcher::Descriptor listener = bound();
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  const std::string port = std::to_string(ntohs(address.sin_port));
  const Ran taken = run_with({"--master-port", port});
  EXPECT_EQ(taken.outcome.exit_code, 3);
  EXPECT_THAT(taken.outcome.errors, HasSubstr("somebody listens on 127.0.0.1:" + port + " already"));
  listener.reset();
  EXPECT_EQ(run_with({"--master-port", port}).variables["MASTER_PORT"], port);
  EXPECT_EQ(run_with({"--rdzv-endpoint", "127.0.0.1:" + port}).variables["MASTER_PORT"], port);
}

TEST(Flags, RedirectsTeeAndTheFilterDecideWhatIsShown) {
  const TemporaryFolder folder;
  const auto shown = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> words{"run", "-n", "2"};
    words.insert(words.end(), flags.begin(), flags.end());
    words.insert(words.end(), {RONDO_TEST_WORKER, "out=o", "err=e"});
    const Outcome run = run_rondo(words, {.folder = folder.path()});
    for (const char* file : {"rank-0000.out", "rank-0001.out", "rank-0000.err", "rank-0001.err"})
      EXPECT_THAT(read_file(folder.path() / "runs" / "latest" / "logs" / file), Not(IsEmpty())) << "the logs have all";
    std::vector<std::string> lines = lines_of(run.output);
    for (const std::string& line : lines_of(run.errors)) lines.push_back(line);
    return lines;
  };
  EXPECT_THAT(shown({}), UnorderedElementsAre("[rank 0] o", "[rank 1] o", "[rank 0] e", "[rank 1] e"));
  EXPECT_THAT(shown({"-r", "3"}), IsEmpty());
  EXPECT_THAT(shown({"-r3"}), IsEmpty());
  EXPECT_THAT(shown({"-r3", "-t1:1"}), UnorderedElementsAre("[rank 1] o"));
  EXPECT_THAT(shown({"-r", "1"}), UnorderedElementsAre("[rank 0] e", "[rank 1] e"));
  EXPECT_THAT(shown({"-r", "3", "-t", "1:1"}), UnorderedElementsAre("[rank 1] o"));
  EXPECT_THAT(shown({"--local-ranks-filter=1"}), UnorderedElementsAre("[rank 1] o", "[rank 1] e"));
}

TEST(Flags, ShowDecidesWhoseOutputIsShownAndAFailureIsReportedAllTheSame) {
  const TemporaryFolder folder;
  const auto shown = [&](const std::string& ranks) {
    return run_rondo(
        {"run", "-n", "3", "--show", ranks, RONDO_TEST_WORKER, "out=o", "1:err=no more memory", "1:exit=37"},
        {.folder = folder.path()});
  };
  EXPECT_THAT(lines_of(shown("0,2").output), UnorderedElementsAre("[rank 0] o", "[rank 2] o"));
  EXPECT_THAT(lines_of(shown("first").output), UnorderedElementsAre("[rank 0] o"));
  const Outcome failed = shown("failed");
  EXPECT_EQ(failed.exit_code, 37);
  EXPECT_EQ(failed.output, "");
  EXPECT_THAT(failed.errors, HasSubstr("no more memory")) << "the report has the last lines of who failed";
  EXPECT_THAT(shown("3").errors, HasSubstr("--show 3"));
}

TEST(Flags, OfThePrefixMayBeTorchrunsTemplate) {
  const TemporaryFolder folder;
  const auto lines = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> words{"run", "-n", "2", "--role", "actor"};
    words.insert(words.end(), flags.begin(), flags.end());
    words.insert(words.end(), {RONDO_TEST_WORKER, "out=o"});
    return lines_of(run_rondo(words, {.environment = {{"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE",
                                                       "<${role_name}$rank.${local_rank}> "}},
                                      .folder = folder.path()})
                        .output);
  };
  EXPECT_THAT(lines({}), UnorderedElementsAre("<actor0.0> o", "<actor1.1> o"));
  EXPECT_THAT(lines({"--collapse"}), testing::ElementsAre("<actor0-1.0-1> o"));
  EXPECT_THAT(lines({"--prefix", "rank"}), testing::Contains(HasSubstr("[rank 1] o"))) << "what is typed wins";
}

TEST(Flags, ModuleRunsAPythonModule) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"run", "--dry-run", "-m", "some.module", "--flag"},
                                {.environment = {{"PATH", "/usr/bin:/bin"}}, .folder = folder.path()});
  EXPECT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.output, HasSubstr("command: python3 -u -m some.module --flag\n"));
}

TEST(Flags, ModuleMayComeFromAFileAsWrittenByHandOrByAnEarlierRun) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "mine.py") << "print('ran')\n";
  std::ofstream(folder.path() / "job.toml") << "[launch]\nmodule = true\ncommand = [\"mine\"]\n";
  const Launch::Options options{.environment = {{"PATH", "/usr/bin:/bin"}}, .folder = folder.path()};
  const auto latest = folder.path() / "runs" / "latest";
  const Outcome by_hand = run_rondo({"run", "--config", "job.toml"}, options);
  EXPECT_EQ(by_hand.exit_code, 0) << by_hand.errors;
  EXPECT_EQ(by_hand.output, "ran\n");
  EXPECT_THAT(fs::read_symlink(latest).string(), testing::StartsWith("mine-"));
  const Outcome again = run_rondo({"run", "-m", "--config", "runs/latest/config.toml"}, options);
  EXPECT_EQ(again.exit_code, 0) << again.errors;
  EXPECT_EQ(again.output, "ran\n");
  EXPECT_THAT(read_file(latest / "config.toml"), HasSubstr("command = [\"python3\", \"-u\", \"-m\", \"mine\"]"));
}

TEST(DryRun, SaysWhatWouldBeStartedAndStartsNothing) {
  const TemporaryFolder folder;
  const std::vector<std::string> words{"run", "-n", "3", "--dry-run", "--role", "actor", RONDO_TEST_WORKER, "out=a b"};
  const Outcome text = run_rondo(words, {.folder = folder.path()});
  EXPECT_EQ(text.exit_code, 0) << text.errors;
  EXPECT_THAT(text.output, HasSubstr("command: " RONDO_TEST_WORKER " 'out=a b'\n"));
  EXPECT_THAT(text.output, HasSubstr("\nrank 2: device cpu, cpus "));
  EXPECT_THAT(text.output, HasSubstr("  ROLE_NAME=actor\n"));
  EXPECT_THAT(text.output, HasSubstr("  RONDO_STORE=<chosen at the start>\n"));
  EXPECT_TRUE(fs::is_empty(folder.path()));

  std::vector<std::string> as_json = words;
  as_json.insert(as_json.begin() + 1, "--json");
  const json plan = json::parse(run_rondo(as_json, {.folder = folder.path()}).output);
  ASSERT_EQ(plan["ranks"].size(), 3u);
  const Outcome real =
      run_rondo({"run", "-n", "3", "--role", "actor", RONDO_TEST_WORKER, "2:env=1"}, {.folder = folder.path()});
  const json facts = json::parse(read_file(folder.path() / "runs" / "latest" / "logs" / "rank-0002.out"));
  EXPECT_EQ(plan["ranks"][2]["cpus"], facts["cpus"]) << "the real run does what was said";
  for (const auto& [name, value] : plan["ranks"][2]["environment"].items()) {
    ASSERT_TRUE(facts["variables"].contains(name)) << name;
    if (!value.is_null()) {
      EXPECT_EQ(facts["variables"][name], value) << name;
    }
  }
}

TEST(DryRun, AsAScriptStartsTheSameRanksWithoutTheLauncher) {
  const TemporaryFolder folder;
  const auto script = [&](const std::vector<std::string>& actions) {
    std::vector<std::string> words{"run", "-n", "2", "--role", "actor", "--dry-run=sh", RONDO_TEST_WORKER};
    words.insert(words.end(), actions.begin(), actions.end());
    const Outcome printed = run_rondo(words, {.folder = folder.path()});
    EXPECT_EQ(printed.exit_code, 0) << printed.errors;
    return printed.output;
  };
  const auto held = launcher::hold_port({.address = "127.0.0.1", .port = 0});
  ASSERT_TRUE(held.ok());
  const std::string port = std::to_string(held->port);
  const auto run = [&](const std::string& text) {
    return run_rondo({"-c", text},
                     {.environment = {{"MASTER_PORT", port}}, .program = "/bin/sh", .folder = folder.path()});
  };
  const Outcome met = run(script({"join", "reduce=5", "leave"}));
  EXPECT_EQ(met.exit_code, 0) << met.errors;
  EXPECT_THAT(met.output, HasSubstr("joined"));

  const Outcome first = run(script({"1:out=a 'quoted' word", "0:env=1", "1:exit=37"}));
  EXPECT_EQ(first.exit_code, 37);
  EXPECT_THAT(first.output, HasSubstr("a 'quoted' word\n"));
  json variables;
  for (const std::string& line : lines_of(first.output))
    if (line.starts_with("{")) variables = json::parse(line)["variables"];
  for (const auto& [name, value] : std::map<std::string, std::string>{{"RANK", "0"},
                                                                      {"WORLD_SIZE", "2"},
                                                                      {"LOCAL_WORLD_SIZE", "2"},
                                                                      {"ROLE_NAME", "actor"},
                                                                      {"MASTER_PORT", port}})
    EXPECT_EQ(variables[name], value) << name;
  EXPECT_FALSE(variables.contains("RONDO_STORE"));
  EXPECT_EQ(run_rondo({"run", "--dry-run=sj", RONDO_TEST_WORKER}, {.folder = folder.path()}).exit_code, 2);
}

TEST(DryRun, EndsWithThreeWhenTheRunCouldNotStart) {
  const TemporaryFolder folder;
  const Outcome run = run_rondo({"run", "--dry-run", "--master-addr", "192.0.2.1", "true"}, {.folder = folder.path()});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.output, HasSubstr("would fail: --master-addr 192.0.2.1 is no address of this host"));
}

TEST(PrintConfig, NamesTheOriginOfEachValueAndCanBeReadBack) {
  const TemporaryFolder folder;
  const std::vector<std::string> flags{"run", "--print-config", "-n", "2"};
  std::vector<std::string> first = flags;
  first.insert(first.end(), {RONDO_TEST_WORKER, "out=hello"});
  const Outcome printed = run_rondo(first, {.environment = {{"PET_ROLE", "actor"}}, .folder = folder.path()});
  EXPECT_EQ(printed.exit_code, 0) << printed.errors;
  EXPECT_THAT(printed.output, HasSubstr("nproc_per_node = 2  # command line\n"));
  EXPECT_THAT(printed.output, HasSubstr("role = \"actor\"  # PET_ROLE\n"));
  EXPECT_THAT(printed.output, HasSubstr("standalone = false  # default\n"));

  ASSERT_EQ(run_rondo({"run", "-n", "2", "--run-dir", "one", RONDO_TEST_WORKER, "out=hello"}, {.folder = folder.path()})
                .exit_code,
            0);
  EXPECT_THAT(read_file(folder.path() / "one" / "config.toml"), HasSubstr("nproc_per_node = 2  # command line\n"));
  const Outcome again =
      run_rondo({"run", "--config", "one/config.toml", "--run-dir", "two"}, {.folder = folder.path()});
  EXPECT_EQ(again.exit_code, 0) << again.errors;
  EXPECT_THAT(lines_of(again.output), UnorderedElementsAre("[rank 0] hello", "[rank 1] hello"));
  EXPECT_THAT(read_file(folder.path() / "two" / "config.toml"),
              HasSubstr("nproc_per_node = 2  # one/config.toml line "));
}

}  // namespace
}  // namespace rondo::test
