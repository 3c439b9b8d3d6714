#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "rondo/comm/bootstrap.h"
#include "rondo/job.h"
#include "trainer/init/job_state.h"
#include "trainer/observe/error_file.h"
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

LogLevel wished_log_level(const comm::Environment& environment, int rank) {
  const std::string word = environment("RONDO_LOG").value_or("");
  if (word.empty()) return trainer::default_log_level(rank);
  const auto level = log_level(word);
  if (!level) throw Error("RONDO_LOG is \"" + word + "\"; expected debug, info, warn or error", ExitCode::kUsage);
  return *level;
}

Job join_job(int argc, char** argv, const InitOptions& options, const comm::Environment& environment,
             const std::string& error_file) {
  const comm::BootstrapFlags flags{
      .rank = flag_number(argc, argv, "--rank"),
      .world_size = flag_number(argc, argv, "--world-size"),
      .local_rank = flag_number(argc, argv, "--local-rank"),
      .local_world_size = flag_number(argc, argv, "--local-world-size"),
      .endpoint = flag_value(argc, argv, "--endpoint"),
      .secret_file = flag_value(argc, argv, "--secret-file"),
      .transport = options.transport.empty() ? std::nullopt : std::optional(options.transport),
      .interface = flag_value(argc, argv, "--interface")};
  comm::Bootstrap bootstrap = trainer::value_or_throw(comm::read_bootstrap(flags, environment));
  const int rank = bootstrap.at.rank;
  const LogLevel least = wished_log_level(environment, rank);
  const comm::LogSink log = trainer::log_to_stderr(rank, least);
  log(rank == 0 ? LogLevel::kInfo : LogLevel::kDebug, bootstrap.describe());
  auto joined = comm::join(bootstrap, log, comm::after(options.join_timeout));
  trainer::throw_if_error(joined.status(), ExitCode::kRendezvous);
  auto state = trainer::JobState::create(std::move(*joined), std::move(bootstrap), options, log);
  state->set_shows_debug(least == LogLevel::kDebug);
  state->install_last_words(error_file);
  if (const auto folder = environment("RONDO_CHECK"); folder && !folder->empty()) state->look_at_program(*folder);
  return Job(std::move(state));
}

}  // namespace

Job init(int argc, char** argv, const InitOptions& options) {
  const comm::Environment environment = comm::process_environment();
  const std::string error_file = environment("TORCHELASTIC_ERROR_FILE").value_or("");
  try {
    return join_job(argc, argv, options, environment, error_file);
  } catch (const Error& error) {
    constexpr int kNobody = -1;  // a place in the job may be what this process lacks
    trainer::write_error_file(error_file,
                              {.code = error.code(),
                               .text = error.what(),
                               .culprit_rank = error.culprit_rank(),
                               .exit_code = static_cast<int>(error.exit_code())},
                              kNobody);
    throw;
  }
}

}  // namespace rondo
