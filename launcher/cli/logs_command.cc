#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <utility>

#include "launcher/agent/display.h"
#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/cli/options.h"
#include "launcher/cli/torchrun_values.h"
#include "launcher/cli/verbs.h"
#include "launcher/explain/run_record.h"
#include "launcher/remote/run_call.h"
#include "launcher/terminal/live_runs.h"
#include "launcher/terminal/recorded_lines.h"

namespace rondo::launcher {
namespace {

constexpr int kMostRanksOfAJob = 1 << 20;
constexpr int kMostTail = 1'000'000;

const char* const kUsage = "rondo logs [RUN] [-f] [--ranks 0,3-5] [--tail N]";
const char* const kPurpose = "What the ranks of a run write, from another terminal.";
const char* const kFooter =
    "RUN is a run's id, the beginning of one, or its launcher's pid (`rondo ps`); not needed when one run goes on. Of "
    "a\n"
    "run that has ended it is its folder, its name in runs/, or latest.\n\n"
    "Lines look as `rondo run` shows them, stdout on stdout and stderr on stderr. Of a live run the last 2000 lines "
    "of\n"
    "all ranks are there, older ones are in its folder's logs/. A terminal that is too slow loses lines and is told "
    "how\n"
    "many; the run never waits for it. Ctrl-C ends this terminal alone.\n\n"
    "examples:\n"
    "  rondo logs -f                              the one run that goes on, until it ends\n"
    "  rondo logs mine-2025 --tail 20 --ranks 3   the last lines of rank 3\n"
    "  rondo logs latest                          also when it has ended\n\n"
    "exit codes:\n"
    "  0     shown; with -f: the run has ended\n"
    "  2     wrong usage, or no such run\n"
    "  3     the run's launcher was killed\n";

struct LogsFlags {
  std::string run, ranks;
  bool follow = false;
  int tail = -1;
};

void add_flags(CLI::App& app, LogsFlags& flags) {
  app.add_flag("-f,--follow", flags.follow, "go on until the run ends");
  app.add_option("--ranks", flags.ranks, "of these ranks only, such as 0,3-5")->type_name("RANKS");
  app.add_option("--tail", flags.tail, "at most so many of the lines that are there already")
      ->type_name("N")
      ->check(CLI::Range(0, kMostTail));
  app.add_option("run", flags.run);
  set_usage(app, kUsage);
}

int refuse(const comm::Status& status) {
  std::fprintf(stderr, "rondo logs: %s\n", status.message().c_str());
  return exit_code_of(status);
}

/// Shows lines as the run's own launcher does.
class Shown {
 public:
  void begin(const control::LogsHeader& header) {
    if (header.has_prefix()) options_.prefix = static_cast<Prefix>(header.prefix());
    if (header.rank_zero_bare()) options_.rank_zero = DisplayOptions::RankZero::kBare;
    options_.prefix_template = {.text = header.prefix_template(), .role = header.role()};
    for (const control::RankPlace& place : header.places())
      places_.push_back({.host = place.host(), .local_rank = place.local_rank()});
  }
  void begin(int ranks) { places_.assign(static_cast<size_t>(ranks), {}); }

  void line(const control::LogLine& line) {
    if (line.skipped() > 0) {
      std::fprintf(stderr, "rondo logs: ... %llu lines skipped, this terminal is too slow\n",
                   static_cast<unsigned long long>(line.skipped()));
      return;
    }
    if (line.rank() < 0 || static_cast<size_t>(line.rank()) >= places_.size()) return;
    const bool errors = line.stream() == control::OUTPUT_STREAM_ERR;
    const ShownLine shown{.ranks = {line.rank()},
                          .channel = errors ? Channel::kErrors : Channel::kOutput,
                          .time = std::chrono::system_clock::time_point(std::chrono::milliseconds(line.time_ms())),
                          .colour = errors ? error_colour_ : output_colour_};
    const std::string text = line.said() ? shown_saying(options_, places_, shown, line.text())
                                         : shown_line(options_, places_, shown, line.text());
    std::FILE* const stream = errors ? stderr : stdout;
    std::fwrite(text.data(), 1, text.size(), stream);
    std::fputc('\n', stream);
  }

 private:
  const Colour output_colour_ = colour_of(STDOUT_FILENO), error_colour_ = colour_of(STDERR_FILENO);
  DisplayOptions options_;
  std::vector<RankPlace> places_;
};

int show_live(const RunDoor& door, const control::LogsRequest& request) {
  const auto call = RunCall::open(door);
  if (!call.ok()) return refuse(call.status());
  if (const auto answers = (*call)->describe(comm::after(RunCall::kAnswerWithin)); !answers.ok())
    return refuse(answers.status());
  Shown shown;
  const comm::Status ended = (*call)->logs(request, [&](const control::LogsSays& says) {
    if (says.has_header()) shown.begin(says.header());
    for (const control::LogLine& line : says.lines().lines()) shown.line(line);
    const bool read = std::fflush(stdout) == 0;  // whoever reads us may have gone
    return read ? RunCall::More::kYes : RunCall::More::kNo;
  });
  return ended.ok() ? kExitOk : refuse(ended);
}

int show_recorded(const std::string& folder, const RecordedWish& wish) {
  Shown shown;
  bool begun = false;
  const comm::Status told = tell_recorded_lines(folder, wish, [&](const RecordedLine& of, std::string_view text) {
    if (!std::exchange(begun, true)) shown.begin(of.ranks);
    control::LogLine line;
    line.set_rank(of.rank);
    line.set_stream(of.channel == Channel::kErrors ? control::OUTPUT_STREAM_ERR : control::OUTPUT_STREAM_OUT);
    line.set_text(std::string(text));
    shown.line(line);
  });
  return told.ok() ? kExitOk : refuse(told);
}

}  // namespace

void describe_logs(const DescribeVerb& take) {
  CLI::App app(kPurpose, "rondo logs");
  LogsFlags flags;
  add_flags(app, flags);
  take(app);
}

int logs_command(const std::vector<std::string>& arguments) {
  CLI::App app(kPurpose, "rondo logs");
  app.allow_extras();
  app.footer(kFooter);
  LogsFlags flags;
  add_flags(app, flags);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  control::LogsRequest request;
  if (!flags.ranks.empty()) {
    const bool numbers = flags.ranks.find_first_not_of("0123456789,-") == std::string::npos;
    const auto ranks = parse_shown(flags.ranks, kMostRanksOfAJob);
    if (!numbers || !ranks.ok()) return usage_error(app, "--ranks " + flags.ranks + ": expected ranks, such as 0,3-5");
    for (const int rank : *ranks) request.add_ranks(rank);
  }
  if (flags.tail >= 0) request.set_tail(flags.tail);
  request.set_follow(flags.follow);

  const auto door = find_live_run(flags.run);
  if (door.ok()) return show_live(*door, request);
  const auto folder = flags.run.empty() ? comm::Result<std::string>(door.status()) : find_run(flags.run);
  if (!folder.ok())
    return refuse({door.status().code(),
                   door.status().message() +
                       (flags.run.empty() ? "" : "; of those that have ended: " + folder.status().message())});
  RecordedWish wish{.ranks = {request.ranks().begin(), request.ranks().end()}, .tail = std::nullopt};
  if (request.has_tail()) wish.tail = request.tail();
  return show_recorded(*folder, wish);
}

}  // namespace rondo::launcher
