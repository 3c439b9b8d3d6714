#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "rondo/comm/bootstrap.h"
#include "rondo/job.h"
#include "trainer/init/job_state.h"
#include "trainer/torch_bridge/errors.h"

namespace rondo {
namespace {

// The value of `--flag VALUE` or `--flag=VALUE`; the last one counts.
std::optional<std::string> flag_value(int argc, char** argv, std::string_view flag) {
  std::optional<std::string> value;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--") break;
    if (!argument.starts_with(flag)) continue;
    const std::string_view rest = argument.substr(flag.size());
    if (rest.starts_with('=')) value = std::string(rest.substr(1));
    if (rest.empty() && i + 1 < argc) value = argv[++i];
  }
  return value;
}

std::optional<int> flag_number(int argc, char** argv, std::string_view flag) {
  const auto text = flag_value(argc, argv, flag);
  if (!text) return std::nullopt;
  char* end = nullptr;
  const long number = std::strtol(text->c_str(), &end, 10);
  if (text->empty() || *end != '\0' || number < 0 || number > 1'000'000) {
    throw Error(std::string(flag) + " needs a number >= 0, not \"" + *text + "\"", ExitCode::kUsage);
  }
  return static_cast<int>(number);
}

void print_to_stderr(comm::LogLevel level, std::string_view line) {
  if (level < comm::LogLevel::kWarning) return;
  std::fprintf(stderr, "rondo: %.*s\n", static_cast<int>(line.size()), line.data());
}

}  // namespace

Job init(int argc, char** argv, const InitOptions& options) {
  const comm::BootstrapFlags flags{
      .rank = flag_number(argc, argv, "--rank"),
      .world_size = flag_number(argc, argv, "--world-size"),
      .local_rank = flag_number(argc, argv, "--local-rank"),
      .local_world_size = flag_number(argc, argv, "--local-world-size"),
      .endpoint = flag_value(argc, argv, "--endpoint"),
      .secret_file = flag_value(argc, argv, "--secret-file"),
      .transport = options.transport.empty() ? std::nullopt : std::optional(options.transport),
      .interface = flag_value(argc, argv, "--interface")};
  comm::Bootstrap bootstrap = trainer::value_or_throw(comm::read_bootstrap(flags, comm::process_environment()));
  if (bootstrap.at.rank == 0) std::fprintf(stderr, "rondo: %s\n", bootstrap.describe().c_str());
  auto joined = comm::join(bootstrap, print_to_stderr, comm::after(options.join_timeout));
  trainer::throw_if_error(joined.status(), ExitCode::kRendezvous);
  return Job(trainer::JobState::create(std::move(*joined), std::move(bootstrap), options, print_to_stderr));
}

}  // namespace rondo
