#include "launcher/base/text.h"

#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

TEST(Printable, EscapesWhatSteersATerminalAndKeepsTabsAndUtf8) {
  EXPECT_EQ(printable("a\tb"), "a\tb");
  EXPECT_EQ(printable("\x1b[31mred"), "\\x1b[31mred");
  EXPECT_EQ(printable(std::string("nul\0.", 5)), "nul\\x00.");
  EXPECT_EQ(printable("bell\a del\x7f"), "bell\\x07 del\\x7f");
  EXPECT_EQ(printable("Grüße 日本"), "Grüße 日本");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b"
            "31m")
      << "U+009B is the one-character form of ESC [";
}

TEST(ShellQuoted, ReadsBackAsTheSameWords) {
  EXPECT_EQ(shell_quoted("plain-1.0/x=y"), "plain-1.0/x=y");
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(shell_quoted("a b"), "'a b'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted(std::vector<std::string>{"rondo", "run", "$HOME"}), "rondo run '$HOME'");
}

TEST(TomlString, EscapesQuotesBackslashesAndControls) { EXPECT_EQ(toml_string("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\""); }

TEST(SignalText, HasNumberAndName) {
  EXPECT_EQ(signal_text(9), "9 (SIGKILL)");
  EXPECT_EQ(signal_text(11), "11 (SIGSEGV)");
  EXPECT_EQ(signal_text(63), "63") << "real-time signals have no name";
}

}  // namespace
}  // namespace rondo::launcher
