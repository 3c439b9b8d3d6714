/// `rondo completion`, and that every flag is in --help or --help-all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

/// What bash offers where the last of `words` is being typed.
std::vector<std::string> offered(const std::vector<std::string>& words) {
  const TemporaryFolder folder;
  std::string line;
  for (const std::string& word : words) line += " '" + word + "'";
  const Outcome bash =
      run_rondo({"--norc", "-c",
                 "eval \"$('" RONDO_PROGRAM "' completion bash)\"; COMP_WORDS=(rondo" + line +
                     "); COMP_CWORD=" + std::to_string(words.size()) + "; _rondo; printf '%s\\n' \"${COMPREPLY[@]}\""},
                {.program = "/bin/bash", .folder = folder.path()});
  EXPECT_EQ(bash.errors, "");
  return lines_of(bash.output);
}

TEST(Completion, InBashKnowsVerbsFlagsAndWords) {
  EXPECT_THAT(offered({"ru"}), ElementsAre("run"));
  EXPECT_THAT(offered({"c"}), ElementsAre("ckpt", "completion"));
  EXPECT_THAT(offered({"run", "--nproc"}), ElementsAre("--nproc-per-node"));
  EXPECT_THAT(offered({"run", "--"}),
              AllOf(Contains("--max-restarts"), Contains("--rdzv-endpoint"), Contains("--help")));
  EXPECT_THAT(offered({"train", "--ev"}), ElementsAre("--eval-only"));
  EXPECT_THAT(offered({"ckpt", "ex"}), ElementsAre("export"));
  EXPECT_THAT(offered({"completion", "z"}), ElementsAre("zsh"));
  EXPECT_THAT(offered({"run", "-n", "2", "/bin/ech"}), Contains("/bin/echo"));
}

TEST(Completion, InBashLeavesTheProgramsOwnFlagsAlone) {
  EXPECT_THAT(offered({"run", "-n", "2", "/bin/echo", "--nproc"}), Not(Contains("--nproc-per-node")));
  EXPECT_THAT(offered({"run", "--standalone", "--nproc"}), ElementsAre("--nproc-per-node")) << "a flag without a value";
  EXPECT_THAT(offered({"run", "--", "/bin/echo", "--nproc"}), Not(Contains("--nproc-per-node")));
}

TEST(Completion, HasAScriptForEachShellAndNoOther) {
  const TemporaryFolder folder;
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Outcome script = run_rondo({"completion", shell}, {.folder = folder.path()});
    EXPECT_EQ(script.exit_code, 0);
    for (const char* part : {"ckpt", "nproc-per-node", "rdzv-conf", "eval-only"})
      EXPECT_THAT(script.output, HasSubstr(part)) << shell;
  }
  const Outcome wrong = run_rondo({"completion", "bsh"}, {.folder = folder.path()});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.errors, HasSubstr("unknown shell 'bsh' (did you mean 'bash'?)"));
}

TEST(Help, AllHasEveryFlagAndTheShortOneTheOftenUsed) {
  const TemporaryFolder folder;
  for (const std::string& verb : offered({""})) {
    if (verb.starts_with("-")) continue;
    const std::string all = run_rondo({verb, "--help-all"}, {.folder = folder.path()}).output;
    for (const std::string& flag : offered({verb, "--"}))
      if (flag.starts_with("--")) {
        EXPECT_THAT(all, HasSubstr(flag)) << verb;
      }
  }
  const std::string some = run_rondo({"run", "--help"}, {.folder = folder.path()}).output;
  for (const char* flag : {"--nproc-per-node", "--max-restarts", "--prefix", "--dry-run", "--help-all"})
    EXPECT_THAT(some, HasSubstr(flag));
  EXPECT_THAT(some, Not(HasSubstr("--rdzv-conf")));
}

}  // namespace
}  // namespace rondo::test
