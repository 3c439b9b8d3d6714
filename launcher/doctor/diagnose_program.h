/// `rondo doctor --program`: runs a program of the user's, in which the library looks at the training, and says what
/// was found.
#pragma once

#include <string>
#include <vector>

namespace rondo::launcher {

struct ProgramDoctor {
  std::string path;
  std::vector<std::string> words;  // argv, as the user typed it
  int ranks = 2;
  enum class Output { kText, kJson } output = Output::kText;
};
/// The exit code: 3 for an error or when nothing could be looked at, else the program's own.
int diagnose_program(const ProgramDoctor& doctor);

/// What a program's check.json and its end say together. Pure.
struct ProgramReport {
  std::string program;
  int ranks = 0;
  int program_code = 0;
  std::string check_json;  // empty: there was none
};
struct ProgramVerdict {
  std::string text, json;
  int exit_code = 0;
};
ProgramVerdict judge(const ProgramReport& report);

}  // namespace rondo::launcher
