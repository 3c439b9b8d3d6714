#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "launcher/agent/ask.h"
#include "launcher/agent/programs.h"
#include "launcher/base/exit_codes.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"
#include "launcher/doctor/checks.h"

namespace rondo::launcher {
namespace {

const char* const kFooter =
    "Looks at this host only and changes nothing. A line for each thing: good, note, warning or bad, and the cure.\n\n"
    "examples:\n"
    "  rondo doctor\n"
    "  rondo doctor --json                     for programs\n\n"
    "exit codes:\n"
    "  0     nothing is bad; there may be warnings\n"
    "  2     wrong usage\n"
    "  3     something is bad: runs fail until it is cured\n";

struct DoctorFlags {
  bool json = false;
};

void add_flags(CLI::App& app, DoctorFlags& flags) {
  app.add_flag("--json", flags.json, "one JSON object");
  set_usage(app, "rondo doctor [--json]");
}

/// 4 bytes summed by two ranks, through the launcher, the store and shared memory, as every run does it.
Diagnosis all_reduce() {
  Diagnosis diagnosis{.subject = "all-reduce", .text = "two ranks of this host sum 4 bytes right"};
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  std::string folder = (std::filesystem::temp_directory_path(error) / "rondo-doctor-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) {
    return {.subject = "all-reduce",
            .verdict = Verdict::kBad,
            .text = "not tried: cannot make a folder like " + folder,
            .cure = "have TMPDIR name a folder that you may write to"};
  }
  const auto answer = ask({self.string(), "bench", "all_reduce", "--quick", "--sizes", "4", "-n", "2", "--rounds", "1",
                           "--iterations", "1", "--run-dir", folder + "/run"});
  if (!answer.ok() || answer->exit_code != kExitOk) {
    diagnosis.verdict = Verdict::kBad;
    diagnosis.text = "two ranks of this host did not sum 4 bytes: " +
                     (answer.ok() ? "exit code " + std::to_string(answer->exit_code) : answer.status().message());
    diagnosis.cure = "what it said is above; `rondo bench all_reduce --quick` tries it again";
  }
  std::filesystem::remove_all(folder, error);
  return diagnosis;
}

}  // namespace

void describe_doctor(const DescribeVerb& take) {
  CLI::App app("What on this host is in the way of a run.", "rondo doctor");
  DoctorFlags flags;
  add_flags(app, flags);
  take(app);
}

int doctor_command(const std::vector<std::string>& arguments) {
  CLI::App app("What on this host is in the way of a run.", "rondo doctor");
  app.allow_extras();
  app.footer(kFooter);
  DoctorFlags flags;
  add_flags(app, flags);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  std::vector<Diagnosis> diagnoses = check_host(read_host());
  if (find_part("rondo-comm-bench").ok()) diagnoses.push_back(all_reduce());
  std::fputs((flags.json ? diagnoses_json(diagnoses) : diagnoses_text(diagnoses)).c_str(), stdout);
  return worst(diagnoses) == Verdict::kBad ? kExitPreflight : kExitOk;
}

}  // namespace rondo::launcher
