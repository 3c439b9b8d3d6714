/// `rondo secret new`: a file that only its owner may read, and that a job takes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "rondo/comm/secret.h"
#include "tests/launcher/support/launch.h"

namespace rondo::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

mode_t mode_of(const fs::path& path) {
  struct stat facts {};
  return ::stat(path.c_str(), &facts) == 0 ? facts.st_mode & 07777 : 0;
}

TEST(SecretNew, WritesWhatAJobTakesForItsOwnerOnly) {
  const TemporaryFolder folder;
  for (const mode_t mask : {mode_t{0}, mode_t{022}, mode_t{0277}}) {
    const std::string name = "secret-" + std::to_string(mask);
    const mode_t before = ::umask(mask);
    const Outcome made = run_rondo({"secret", "new", name}, {.folder = folder.path()});
    ::umask(before);
    ASSERT_EQ(made.exit_code, 0) << made.errors;
    const fs::path path = folder.path() / name;
    EXPECT_EQ(mode_of(path), 0600u) << "umask " << mask;
    const auto secret = comm::Secret::read_file(path.string());
    EXPECT_TRUE(secret.ok()) << secret.status().text();
    EXPECT_THAT(made.output, HasSubstr("export RONDO_SECRET_FILE=" + fs::canonical(path).string()));
    EXPECT_THAT(made.output, testing::Not(HasSubstr(read_file(path).substr(0, 64)))) << "it is shown to nobody";
  }
}

TEST(SecretNew, DrawsAnotherOneEachTimeAndHasADefaultName) {
  const TemporaryFolder folder;
  ASSERT_EQ(run_rondo({"secret", "new"}, {.folder = folder.path()}).exit_code, 0);
  ASSERT_EQ(run_rondo({"secret", "new", "other"}, {.folder = folder.path()}).exit_code, 0);
  EXPECT_NE(read_file(folder.path() / "rondo.secret"), read_file(folder.path() / "other"));
}

TEST(SecretNew, NeverWritesOverAnything) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "taken";
  std::ofstream(file) << "precious";
  fs::create_symlink(folder.path() / "elsewhere", folder.path() / "link");
  for (const char* name : {"taken", "link"}) {
    const Outcome refused = run_rondo({"secret", "new", name}, {.folder = folder.path()});
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.errors, HasSubstr("something of that name is there"));
  }
  EXPECT_EQ(read_file(file), "precious");
  EXPECT_FALSE(fs::exists(folder.path() / "elsewhere"));
}

TEST(SecretNew, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const auto errors = [&](const std::vector<std::string>& words, int code) {
    const Outcome refused = run_rondo(words, {.folder = folder.path()});
    EXPECT_EQ(refused.exit_code, code) << refused.errors;
    return refused.errors;
  };
  EXPECT_THAT(errors({"secret"}, 2), HasSubstr("There is the verb new"));
  EXPECT_THAT(errors({"secret", "nwe"}, 2), HasSubstr("unknown verb 'nwe' (did you mean 'new'?)"));
  EXPECT_THAT(errors({"secret", "new", "no/such/folder"}, 2), HasSubstr("its folder does not exist"));
  EXPECT_THAT(errors({"secret", "new", "/proc/secret"}, 2), HasSubstr("'/proc/secret'"));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace rondo::test
