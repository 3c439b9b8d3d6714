#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launcher/agent/ask.h"
#include "launcher/agent/programs.h"
#include "launcher/base/exit_codes.h"
#include "launcher/base/text.h"
#include "launcher/base/version.h"
#include "launcher/bench/against.h"
#include "launcher/cli/nearest_name.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"
#include "launcher/coordinator/job.h"

namespace rondo::launcher {
namespace {

constexpr const char* kProgram = "rondo-comm-bench";

std::string footer() {
  return "Every rank is bound to a core of its own. Inputs are rewritten before each timed call, a call counts with "
         "its\n"
         "slowest rank, and every result is checked: #wrong. Without an operation it lists them.\n\n"
         "examples:\n"
         "  rondo bench all_reduce                                    five sizes, two ranks\n"
         "  rondo bench all_gather -n 4 --sizes 1KiB,1MiB --dtype int64\n"
         "  rondo bench all_reduce --against gloo,openmpi,mpich --json figures.jsonl\n"
         "  rondo bench mismatch                                      how fast differing calls are noticed\n"
         "  rondo bench create -n 8                                   what forming a group costs\n"
         "  rondo bench train --help                                  training of nets, beside PyTorch\n\n" +
         exit_code_table();
}

struct BenchFlags {
  JobFlags job{.ranks = "2", .run_dir = {}, .log_dir = {}, .grace_seconds = 10};
  std::string operation, against, json_file;
  std::string sizes, rounds, iterations, dtype, wire, algorithm, transport;
  bool unregistered = false, quick = false, choices = false;
};

void add_bench_flags(CLI::App& app, BenchFlags& flags) {
  add_job_flags(app, flags.job);
  app.add_option("operation", flags.operation);
  app.add_option("--sizes", flags.sizes, "bytes of the buffer; default 1KiB,64KiB,1MiB,16MiB,64MiB")->type_name("LIST");
  app.add_option("--dtype", flags.dtype, "element type; default float32")->type_name("TYPE");
  app.add_option("--wire", flags.wire, "what float32 sums travel in: same, bf16, fp16; default same")
      ->type_name("TYPE");
  app.add_option("--rounds", flags.rounds, "sweeps over all sizes; default 9")->type_name("N");
  app.add_option("--iterations", flags.iterations, "timed calls of a size in a round; default by size")->type_name("N");
  app.add_option("--algorithm", flags.algorithm, "by name; default: as the group chooses")->type_name("NAME");
  app.add_option("--transport", flags.transport,
                 "shm, tcp, mpi or shm+mpi (these start the ranks by mpirun); default: as the job chooses")
      ->type_name("NAME");
  app.add_flag("--unregistered", flags.unregistered, "buffers in ordinary memory instead of the group's");
  app.add_flag("--choices", flags.choices, "print what is chosen for which size, the reason, and what was measured");
  app.add_option("--against", flags.against, "measure these beside Rondo, in turn: gloo,openmpi,mpich")
      ->type_name("LIST");
  app.add_option("--json", flags.json_file, "also write a JSON object a line")->type_name("FILE");
  app.add_flag("--quick", flags.quick, "few sizes, rounds and calls: shows that it works, on any build");
}

/// What every contender is told, and what Rondo alone is.
struct Words {
  std::vector<std::string> shared, ours;
};
Words words_of(const BenchFlags& flags) {
  Words words;
  words.shared = {flags.operation};
  const auto pass = [](std::vector<std::string>& to, const char* name, const std::string& value) {
    if (!value.empty()) to.insert(to.end(), {name, value});
  };
  pass(words.shared, "--sizes", flags.sizes);
  pass(words.shared, "--dtype", flags.dtype);
  pass(words.shared, "--iterations", flags.iterations);
  if (flags.quick) words.shared.emplace_back("--quick");
  pass(words.ours, "--wire", flags.wire);
  pass(words.ours, "--algorithm", flags.algorithm);
  pass(words.ours, "--transport", flags.transport);
  if (flags.unregistered) words.ours.emplace_back("--unregistered");
  if (flags.choices) words.ours.emplace_back("--choices");
  return words;
}

void append(std::vector<std::string>& to, const std::vector<std::string>& words) {
  to.insert(to.end(), words.begin(), words.end());
}

/// The operations that the program knows, as it lists them: "name\tpurpose" a line.
comm::Result<std::string> operation_list(const std::string& program) {
  const auto list = ask({program, "--list"});
  RONDO_TRY(list);
  if (list->exit_code == kExitOk) return list->output;
  return comm::Status(comm::Code::kResource,
                      program + " --list ended with exit code " + std::to_string(list->exit_code));
}

std::vector<std::string> names_of(const std::string& list) {
  std::vector<std::string> names;
  std::istringstream stream(list);
  for (std::string line; std::getline(stream, line);) names.push_back(line.substr(0, line.find('\t')));
  return names;
}

int print_operations(const std::string& list) {
  std::istringstream stream(list);
  for (std::string line; std::getline(stream, line);) {
    const size_t tab = line.find('\t');
    std::printf("  %-12s %s\n", line.substr(0, tab).c_str(), tab == std::string::npos ? "" : line.c_str() + tab + 1);
  }
  std::printf("  %-12s %s\n", "train",
              "training of nets, beside PyTorch's DistributedDataParallel: `rondo bench train --help`");
  std::printf("  %-12s %s\n", "start", "how soon ranks run, beside torchrun: `rondo bench start --help`");
  std::printf("`rondo bench --help` has flags and examples.\n");
  return kExitOk;
}

int refuse(const comm::Status& status) {
  std::fprintf(stderr, "rondo bench: %s\n", status.message().c_str());
  return exit_code_of(status);
}

/// What the program says about a request before ranks start.
struct Plan {
  bool collective = true;
  int rounds = 9;
  std::string cpus;
};

bool by_mpi(const BenchFlags& flags) { return flags.transport == "mpi" || flags.transport == "shm+mpi"; }

/// Becomes Open MPI's mpirun: links by MPI need ranks that an MPI's launcher started. Returns only if it cannot.
comm::Status become_mpirun(const BenchFlags& flags, const Words& words, const std::string& program,
                           const std::string& cpus, int ranks) {
  auto mpirun = find_program("mpirun.openmpi");
  if (!mpirun.ok()) mpirun = find_program("mpirun");
  if (!mpirun.ok())
    return {comm::Code::kUnsupported, "--transport " + flags.transport +
                                          " needs an mpirun on the PATH (Debian: openmpi-bin), "
                                          "or start the ranks by yours: mpiexec -n " +
                                          std::to_string(ranks) + " " + program + " " + flags.operation +
                                          " --transport " + flags.transport};
  // As root Open MPI wants to be asked twice; the ranks bind themselves.
  std::vector<std::string> command{"env",
                                   "OMPI_ALLOW_RUN_AS_ROOT=1",
                                   "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                                   *mpirun,
                                   "--bind-to",
                                   "none",
                                   "--oversubscribe",
                                   "-np",
                                   std::to_string(ranks),
                                   program};
  append(command, words.shared);
  append(command, words.ours);
  append(command, {"--cpus", cpus});
  if (!flags.rounds.empty()) append(command, {"--rounds", flags.rounds});
  if (!flags.json_file.empty()) append(command, {"--json", flags.json_file});
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp(argv.front(), argv.data());
  return {comm::Code::kIo, std::string("cannot start env: ") + std::strerror(errno)};
}

comm::Result<int> measure_alone(const BenchFlags& flags, const Words& words, const std::string& program,
                                const std::string& cpus, JobRequest job) {
  job.program = program;
  job.arguments = {program};
  append(job.arguments, words.shared);
  append(job.arguments, words.ours);
  append(job.arguments, {"--cpus", cpus});
  if (!flags.rounds.empty()) append(job.arguments, {"--rounds", flags.rounds});
  if (!flags.json_file.empty()) append(job.arguments, {"--json", flags.json_file});
  job.display.rank_zero = DisplayOptions::RankZero::kBare;
  return run_job(job);
}

}  // namespace

void describe_bench(const DescribeVerb& take) {
  CLI::App app("Measures collectives, each result checked.", "rondo bench");
  BenchFlags flags;
  add_bench_flags(app, flags);
  set_usage(app, "rondo bench OPERATION [flags]");
  take(app);
}

int bench_command(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && arguments.front() == "train")
    return bench_train_command({arguments.begin() + 1, arguments.end()});
  if (!arguments.empty() && arguments.front() == "start")
    return bench_start_command({arguments.begin() + 1, arguments.end()});
  CLI::App app("Measures collectives, each result checked.", "rondo bench");
  app.allow_extras();
  set_usage(app, "rondo bench OPERATION [flags]");
  app.footer(footer());
  BenchFlags flags;
  add_bench_flags(app, flags);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  const auto ranks = parse_ranks(flags.job.ranks);
  if (!ranks.ok()) return usage_error(app, ranks.status().message());
  const auto grace = parse_grace(flags.job.grace_seconds);
  if (!grace.ok()) return usage_error(app, grace.status().message());
  std::vector<Rival> rivals;
  if (!flags.against.empty()) {
    auto parsed = parse_rivals(flags.against);
    if (!parsed.ok()) return usage_error(app, parsed.status().message());
    rivals = *std::move(parsed);
  }
  const auto program = find_part(kProgram);
  if (!program.ok()) return refuse(program.status());
  const auto list = operation_list(*program);
  if (!list.ok()) return refuse(list.status());
  if (flags.operation.empty()) return print_operations(*list);
  const std::vector<std::string> operations = names_of(*list);
  if (std::find(operations.begin(), operations.end(), flags.operation) == operations.end()) {
    return usage_error(app, "unknown operation '" + flags.operation + "'" + suggestion(flags.operation, operations) +
                                "; `rondo bench` lists them");
  }

  const Words words = words_of(flags);
  std::vector<std::string> question{*program, "--plan", "--ranks", std::to_string(*ranks)};
  append(question, words.shared);
  append(question, words.ours);
  if (!flags.rounds.empty()) append(question, {"--rounds", flags.rounds});
  const auto answer = ask(question);
  if (!answer.ok()) return refuse(answer.status());
  if (answer->exit_code != kExitOk) return answer->exit_code;  // it said why
  Plan plan;
  try {
    const auto json = nlohmann::json::parse(answer->output);
    plan = {.collective = json.at("collective"), .rounds = json.at("rounds"), .cpus = json.at("cpus")};
  } catch (const nlohmann::json::exception& error) {
    return refuse({comm::Code::kCorrupt, *program + " --plan answered something else than a plan: " + error.what()});
  }
  if (!rivals.empty() && !plan.collective) {
    return usage_error(app, "--against: only collectives have rivals, and " + flags.operation + " is none");
  }

  if (by_mpi(flags)) {
    if (!rivals.empty())
      return usage_error(app, "--transport " + flags.transport + " is measured alone: leave --against out");
    return refuse(become_mpirun(flags, words, *program, plan.cpus, *ranks));
  }

  std::vector<std::string> command{"rondo", "bench"};
  append(command, arguments);
  const RunFolderOptions folder{.name = run_name("bench-" + flags.operation),
                                .directory = flags.job.run_dir,
                                .log_directory = flags.job.log_dir,
                                .command = std::move(command),
                                .config_toml = "[bench]\noperation = " + toml_string(flags.operation) +
                                               "\nnproc_per_node = " + std::to_string(*ranks) +
                                               "\nagainst = " + toml_string(flags.against) + "\n",
                                .version_json = version_json()};
  if (rivals.empty()) {
    JobRequest job;
    job.ranks = *ranks;
    job.grace = *grace;
    job.folder = folder;
    const auto code = measure_alone(flags, words, *program, plan.cpus, std::move(job));
    return code.ok() ? *code : refuse(code.status());
  }
  AgainstRequest request{.rivals = rivals,
                         .field = {.operation = flags.operation, .ranks = *ranks},
                         .rounds = plan.rounds,
                         .flags = words.shared,
                         .our_flags = words.ours,
                         .json_file = flags.json_file,
                         .title = flags.operation + " " + (flags.dtype.empty() ? "float32" : flags.dtype) + ", " +
                                  counted(static_cast<size_t>(*ranks), "rank") + ", " +
                                  counted(static_cast<size_t>(plan.rounds), "round"),
                         .grace = *grace,
                         .folder = folder};
  const auto cpus = static_cast<int>(1 + std::count(plan.cpus.begin(), plan.cpus.end(), ','));
  if (cpus < *ranks) {
    request.field.cores = Field::Cores::kShared;
    request.title += ", ranks share cores";
  }
  append(request.flags, {"--cpus", plan.cpus});
  const auto code = measure_against(request);
  return code.ok() ? *code : refuse(code.status());
}

}  // namespace rondo::launcher
