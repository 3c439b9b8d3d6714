#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>

#include "launcher/base/descriptor.h"
#include "launcher/base/exit_codes.h"
#include "launcher/cli/nearest_name.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"
#include "launcher/explain/run_record.h"
#include "launcher/remote/run_call.h"
#include "launcher/terminal/live_runs.h"

namespace rondo::launcher {
namespace {

const char* const kUsage = "rondo stop [RUN] [--signal NAME] [--wait]";
const char* const kPurpose = "Stops a run, or sends it another signal, as if its launcher had got that.";
const char* const kFooter =
    "RUN is a run's id, the beginning of one, or its launcher's pid (`rondo ps`); not needed when one run goes on.\n\n"
    "signals:\n"
    "  TERM, INT   the ranks end in order; again: SIGTERM to all; a third time, or after --grace of the run: SIGKILL\n"
    "  KILL        all processes of the ranks are killed\n"
    "  USR1        the ranks save a checkpoint and go on\n"
    "  USR2        the run shows and keeps where each rank is\n\n"
    "examples:\n"
    "  rondo stop                                 the one run that goes on\n"
    "  rondo stop mine-2025 --wait                returns when it has ended\n"
    "  rondo stop --signal USR1                   a checkpoint now\n\n"
    "exit codes:\n"
    "  0     told, and with --wait: ended\n"
    "  2     wrong usage, or no such run\n"
    "  3     the run's launcher does not answer, or ended first\n"
    "  5     it has not ended in time (--timeout)\n";

const std::array kSignals{std::pair{"TERM", SIGTERM}, std::pair{"INT", SIGINT}, std::pair{"KILL", SIGKILL},
                          std::pair{"USR1", SIGUSR1}, std::pair{"USR2", SIGUSR2}};

struct StopFlags {
  std::string run, signal = "TERM";
  bool wait = false;
  double timeout_seconds = 60;
};

void add_flags(CLI::App& app, StopFlags& flags) {
  app.add_option("--signal", flags.signal, "TERM, INT, KILL, USR1 or USR2")->type_name("NAME")->capture_default_str();
  app.add_flag("--wait", flags.wait, "return when the run has ended");
  app.add_option("--timeout", flags.timeout_seconds, "how long --wait waits, in seconds")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  app.add_option("run", flags.run);
  set_usage(app, kUsage);
}

/// 0: there is none of that name.
int signal_named(std::string name) {
  if (name.starts_with("SIG")) name = name.substr(3);
  for (const auto& [known, number] : kSignals)
    if (name == known) return number;
  return 0;
}

int refuse(const comm::Status& status) {
  std::fprintf(stderr, "rondo stop: %s\n", status.message().c_str());
  return exit_code_of(status);
}

/// Whether the process ended before the deadline.
bool wait_for_end(const Descriptor& process, comm::Deadline deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.left(comm::Clock::now()));
    pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
    if (::poll(&ended, 1, static_cast<int>(left.count())) > 0) return true;
    if (deadline.passed(comm::Clock::now())) return false;
  }
}

}  // namespace

void describe_stop(const DescribeVerb& take) {
  CLI::App app(kPurpose, "rondo stop");
  StopFlags flags;
  add_flags(app, flags);
  take(app);
}

int stop_command(const std::vector<std::string>& arguments) {
  CLI::App app(kPurpose, "rondo stop");
  app.allow_extras();
  app.footer(kFooter);
  StopFlags flags;
  add_flags(app, flags);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  const int signal = signal_named(flags.signal);
  if (signal == 0) {
    const std::vector<std::string> names{"TERM", "INT", "KILL", "USR1", "USR2"};
    return usage_error(app, "unknown signal '" + flags.signal + "'" + suggestion(flags.signal, names) +
                                "; there are TERM, INT, KILL, USR1 and USR2");
  }
  if (flags.wait && (signal == SIGUSR1 || signal == SIGUSR2))
    return usage_error(app, "--wait with " + flags.signal + ": that signal ends no run");

  const auto door = find_live_run(flags.run);
  if (!door.ok()) return refuse(door.status());
  const Descriptor process(static_cast<int>(::syscall(SYS_pidfd_open, door->launcher, 0)));
  const auto call = RunCall::open(*door);
  if (!call.ok()) return refuse(call.status());
  const auto run = (*call)->describe(comm::after(RunCall::kAnswerWithin));
  if (!run.ok()) return refuse(run.status());
  const auto answer = (*call)->stop(signal, comm::after(RunCall::kAnswerWithin));
  if (!answer.ok()) return refuse(answer.status());
  if (!answer->accepted()) return refuse({comm::Code::kInvalidArgument, door->run + ": " + answer->text()});
  std::printf("%s: %s\n", door->run.c_str(), answer->text().c_str());
  if (!flags.wait) return kExitOk;
  std::fflush(stdout);
  if (!process.open()) return refuse(system_error("cannot wait for process " + std::to_string(door->launcher)));
  const auto timeout = std::chrono::duration_cast<comm::Duration>(std::chrono::duration<double>(flags.timeout_seconds));
  if (!wait_for_end(process, comm::after(timeout))) {
    std::fprintf(stderr, "rondo stop: %s has not ended after %g s (--timeout); again: `rondo stop %s`\n",
                 door->run.c_str(), flags.timeout_seconds, door->run.c_str());
    return kExitHang;
  }
  const auto record = read_run(run->folder());
  if (record.ok() && record->state != RunState::kCut && record->state != RunState::kRunning) {
    std::printf("%s has ended with code %d\n", door->run.c_str(), record->exit_code);
  } else {
    std::printf("%s has ended\n", door->run.c_str());
  }
  return kExitOk;
}

}  // namespace rondo::launcher
