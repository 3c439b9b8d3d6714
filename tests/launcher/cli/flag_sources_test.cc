#include "launcher/cli/flag_sources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <map>

#include "tests/launcher/support/launch.h"

namespace rondo::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Flags {
  std::string nnodes = "1:1", role = "default", run_dir, config;
  bool standalone = false;
};

class Sources : public testing::Test {
 protected:
  Sources() {
    app_.add_option("--nnodes", flags_.nnodes)->capture_default_str();
    app_.add_option("--role", flags_.role)->capture_default_str();
    app_.add_option("--run-dir", flags_.run_dir)->capture_default_str();
    app_.add_option("--config", flags_.config);
    app_.add_flag("--standalone", flags_.standalone);
  }
  comm::Result<FlagSources> resolve(const std::vector<std::string>& words,
                                    const std::map<std::string, std::string>& variables = {}) {
    return FlagSources::resolve(app_, words, "launch", [&](const char* name) {
      const auto found = variables.find(name);
      return found == variables.end() ? nullptr : found->second.c_str();
    });
  }
  std::string file(const std::string& text) {
    const std::string path = folder_.path() / ("file" + std::to_string(++files_) + ".toml");
    std::ofstream(path) << text;
    return path;
  }
  static std::string value_and_origin(const comm::Result<FlagSources>& sources, const char* flag) {
    if (!sources.ok()) return sources.status().message();
    return sources->find(flag)->value + " | " + sources->find(flag)->origin;
  }

  const test::TemporaryFolder folder_;
  int files_ = 0;
  Flags flags_;
  CLI::App app_;
};

TEST_F(Sources, WinInTheOrderCommandLineRondoPetFileDefault) {
  const std::string config = file("[launch]\nrole = \"file\"\n");
  const std::map<std::string, std::string> pet{{"PET_ROLE", "pet"}}, both{{"PET_ROLE", "pet"}, {"RONDO_ROLE", "rondo"}};
  EXPECT_EQ(value_and_origin(resolve({}), "role"), "default | default");
  EXPECT_EQ(value_and_origin(resolve({"--config", config}), "role"), "file | " + config + " line 2");
  EXPECT_EQ(value_and_origin(resolve({"--config", config}, pet), "role"), "pet | PET_ROLE");
  EXPECT_EQ(value_and_origin(resolve({"--config", config}, both), "role"), "rondo | RONDO_ROLE");
  EXPECT_EQ(value_and_origin(resolve({"--config", config, "--role", "typed"}, both), "role"), "typed | command line");
}

TEST_F(Sources, TakeTheLastOfTwoEqualFlagsAndOfTwoFiles) {
  EXPECT_EQ(value_and_origin(resolve({"--role", "one", "--role=two"}), "role"), "two | command line");
  const std::string first = file("[launch]\nrole = \"one\"\nnnodes = 7\n"), second = file("[launch]\nrole = \"two\"\n");
  const auto sources = resolve({"--config", first, "--config=" + second});
  EXPECT_EQ(value_and_origin(sources, "role"), "two | " + second + " line 2");
  EXPECT_EQ(value_and_origin(sources, "nnodes"), "7 | " + first + " line 3");
  EXPECT_THAT(sources->words(), ElementsAre("--nnodes=7", "--role=two", "--config=" + second));
}

TEST_F(Sources, CountAnEmptyVariableAsNotSetAndReadSwitchesAsTorchrunDoes) {
  EXPECT_EQ(value_and_origin(resolve({}, {{"PET_ROLE", ""}}), "role"), "default | default");
  EXPECT_TRUE(resolve({}, {{"PET_STANDALONE", "1"}})->given("standalone"));
  EXPECT_FALSE(resolve({}, {{"PET_STANDALONE", "0"}})->given("standalone"));
  EXPECT_TRUE(resolve({"--standalone"}, {{"PET_STANDALONE", "0"}})->given("standalone"));
  EXPECT_EQ(resolve({}, {{"RONDO_STANDALONE", "perhaps"}}).status().message(),
            "--standalone (from RONDO_STANDALONE) is 'perhaps'; it is 1 or 0");
}

TEST_F(Sources, DoNotTakeTheRunFolderThatAnAgentTellsItsWorkers) {
  EXPECT_EQ(value_and_origin(resolve({}, {{"RONDO_RUN_DIR", "/of/the/outer/run"}}), "run-dir"), " | default");
  EXPECT_EQ(value_and_origin(resolve({}, {{"PET_RUN_DIR", "/mine"}}), "run-dir"), "/mine | PET_RUN_DIR");
}

TEST_F(Sources, NameTheNearestKeyAndThePlaceOfAMistakeInAFile) {
  const auto mistake = [&](const std::string& text) { return resolve({"--config", file(text)}).status().message(); };
  EXPECT_THAT(mistake("[launch]\nnnodse = 2\n"),
              HasSubstr(".toml line 2: unknown key 'nnodse' (did you mean 'nnodes'?)"));
  EXPECT_THAT(mistake("[luanch]\nnnodes = 2\n"), HasSubstr("unknown key 'luanch'; flags are in the table [launch]"));
  EXPECT_THAT(mistake("[launch]\nrole = {a = 1}\n"), HasSubstr("line 2: role is a number, a text"));
  EXPECT_THAT(mistake("[launch\n"), HasSubstr(".toml line 1: "));
  EXPECT_THAT(mistake("[launch]\ncommand = \"x\"\n"), HasSubstr("command is a list of words"));
  EXPECT_THAT(resolve({"--config", "/nowhere.toml"}).status().message(), HasSubstr("--config /nowhere.toml"));
}

TEST_F(Sources, TakeKeysInBothSpellingsListsAndTheCommandOfAFile) {
  const auto sources = resolve(
      {"--config",
       file("[launch]\nrun-dir = \"x\"\nrole = [\"a\", \"b\"]\nstandalone = true\ncommand = [\"./mine\", \"-v\"]\n")});
  ASSERT_TRUE(sources.ok()) << sources.status().message();
  EXPECT_EQ(sources->find("run-dir")->value, "x");
  EXPECT_EQ(sources->find("role")->value, "a,b");
  EXPECT_TRUE(sources->given("standalone"));
  EXPECT_THAT(sources->command(), ElementsAre("./mine", "-v"));
}

TEST_F(Sources, SayInAMessageWhereAFlagComesFromUnlessItWasTyped) {
  const auto sources = resolve({"--role", "x"}, {{"PET_NNODES", "2"}});
  EXPECT_EQ(sources->with_origins("--nnodes 2: no"), "--nnodes 2 (from PET_NNODES): no");
  EXPECT_EQ(sources->with_origins("--role x: no"), "--role x: no");
  EXPECT_EQ(sources->with_origins("--nnodes-more: no"), "--nnodes-more: no");
}

}  // namespace
}  // namespace rondo::launcher
