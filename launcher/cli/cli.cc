#include "launcher/cli/cli.h"

#include <cstdio>

#include "launcher/base/exit_codes.h"
#include "launcher/cli/nearest_name.h"
#include "launcher/cli/verbs.h"

namespace rondo::launcher {
namespace {

void print_help(std::FILE* out) {
  std::fputs("rondo: data-parallel training for LibTorch programs\n\nusage: rondo VERB ...\n\n", out);
  for (const Verb& verb : all_verbs()) std::fprintf(out, "  %-10s %s\n", verb.name, verb.purpose);
  std::fputs(
      "\n`rondo VERB --help` has the flags of a verb.\n\n"
      "examples:\n"
      "  rondo train fmnist-cnn                       two ranks, three epochs, about 91 % test accuracy\n"
      "  rondo train fmnist-cnn epochs=1 batch=128    settings are written key=value\n"
      "  rondo run --nproc-per-node 4 ./mine --lr 0.1 four ranks of an own program\n"
      "  rondo explain latest                         who waits for whom, or why it failed\n\n",
      out);
  std::fputs(exit_code_table().c_str(), out);
}

}  // namespace

const std::vector<Verb>& all_verbs() {
  static const std::vector<Verb> kVerbs{
      {"run", "start a program once per rank, on this host or several", run_command, describe_run},
      {"train", "train a shipped recipe on real data", train_command, describe_train},
      {"schedule", "what each rank does in an all-reduce, algorithm by algorithm", schedule_command, describe_schedule},
      {"explain", "who waits for whom in a run, or why it failed", explain_command, describe_explain},
      {"ps", "the runs that go on on this host", ps_command, describe_ps},
      {"logs", "what the ranks of a run write, from another terminal", logs_command, describe_logs},
      {"top", "what each rank of a run does and uses", top_command, describe_top},
      {"stop", "stop a run, or have it save a checkpoint or show its stacks", stop_command, describe_stop},
      {"ckpt", "list, show, verify and export checkpoints", ckpt_command, describe_ckpt},
      {"bench", "measure collectives and training, alone or beside rivals", bench_command, describe_bench},
      {"doctor", "what on this host, or on all, is in the way of a run, and the cure", doctor_command, describe_doctor},
      {"secret", "make the secret that hosts prove to each other", secret_command, describe_secret},
      {"completion", "a script that completes verbs and flags in bash, zsh or fish", completion_command,
       describe_completion},
      {"version", "what this build is (--json for programs)", version_command, describe_version},
  };
  return kVerbs;
}

int run_cli(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2) {
    print_help(stderr);
    return kExitUsage;
  }
  const std::string& word = arguments[1];
  const std::vector<std::string> rest(arguments.begin() + 2, arguments.end());
  if (word == "--help" || word == "-h" || word == "help") {
    print_help(stdout);
    return kExitOk;
  }
  if (word == "--version") return version_command(rest);

  std::vector<std::string> names;
  for (const Verb& verb : all_verbs()) {
    if (word == verb.name) return verb.run(rest);
    names.emplace_back(verb.name);
  }
  names.emplace_back("--help");
  names.emplace_back("--version");
  std::fprintf(stderr, "rondo: unknown %s '%s'%s; `rondo --help` lists them\n", word.starts_with('-') ? "flag" : "verb",
               word.c_str(), suggestion(word, names).c_str());
  return kExitUsage;
}

}  // namespace rondo::launcher
