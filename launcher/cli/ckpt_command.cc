#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "launcher/agent/programs.h"
#include "launcher/base/exit_codes.h"
#include "launcher/cli/nearest_name.h"
#include "launcher/cli/options.h"
#include "launcher/cli/verbs.h"

namespace rondo::launcher {
namespace {

const char* const kFooter =
    "verbs:\n"
    "  ls RUN                       the checkpoints of a run: size, date, metrics, valid or damaged (by file size)\n"
    "  show RUN|CHECKPOINT          what is in one: config, metrics, parts, tensors with type and shape\n"
    "  verify RUN|CHECKPOINT        compare every byte with the hashes of the manifest\n"
    "  export RUN|CHECKPOINT FILE   write its model as .pt (torch.load of Python) or safetensors\n\n"
    "RUN is a run's folder, its name in runs/, or latest; of a run the newest checkpoint is meant unless --which says\n"
    "another. CHECKPOINT is a checkpoint's folder.\n\n"
    "examples:\n"
    "  rondo ckpt ls latest\n"
    "  rondo ckpt show runs/mine-20250131-120000-4711 --which best\n"
    "  rondo ckpt verify latest --json\n"
    "  rondo ckpt export latest model.pt\n"
    "  rondo ckpt export latest averages.safetensors --part ema\n\n"
    "exit codes:\n"
    "  0     done; verify: all bytes are right\n"
    "  2     wrong usage, or there is no such run, checkpoint or part\n"
    "  3     the run has no checkpoint\n"
    "  6     a checkpoint is damaged; the file is named\n";

const std::vector<std::string> kVerbs{"ls", "show", "verify", "export"};
const std::vector<std::string> kFormats{"pt", "safetensors"};

struct CkptFlags {
  std::string verb, place, file, which, part, format;
  bool json = false;
};

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// What is wrong with the words; empty: nothing. Fills in what follows from others.
std::string check(CkptFlags& flags) {
  if (flags.verb.empty()) return "what? There are the verbs " + listed(kVerbs);
  if (std::ranges::find(kVerbs, flags.verb) == kVerbs.end())
    return "unknown verb '" + flags.verb + "'" + suggestion(flags.verb, kVerbs) + "; there are " + listed(kVerbs);
  if (flags.place.empty()) return "which run? Its folder, its name in runs/, or latest";
  const bool exports = flags.verb == "export";
  if (!exports && !flags.file.empty()) return "unexpected argument '" + flags.file + "'";
  if (exports && flags.file.empty()) return "which FILE is to be written? For example model.pt";
  if (exports && flags.json) return "--json is for ls, show and verify";
  if (!exports && !flags.format.empty()) return "--format is for export";
  if (!exports && !flags.part.empty()) return "--part is for export";
  if (!exports && flags.verb != "show" && !flags.which.empty()) return "--which is for show and export";
  if (!exports) return "";
  if (flags.format.empty()) {
    const size_t dot = flags.file.rfind('.');
    const std::string ending = dot == std::string::npos ? "" : flags.file.substr(dot + 1);
    flags.format = ending == "pth" ? "pt" : ending;
    if (std::ranges::find(kFormats, flags.format) == kFormats.end())
      return "which format is '" + flags.file + "'? Say --format " + kFormats[0] + " or --format " + kFormats[1];
  }
  if (std::ranges::find(kFormats, flags.format) == kFormats.end())
    return "unknown format '" + flags.format + "'" + suggestion(flags.format, kFormats) + "; there are " +
           listed(kFormats);
  return "";
}

void add_flags(CLI::App& app, CkptFlags& flags) {
  app.add_option("verb", flags.verb);
  app.add_option("place", flags.place);
  app.add_option("file", flags.file);
  app.add_option("--which", flags.which, "newest, best, or a name such as step-00001407; default newest")
      ->type_name("NAME");
  app.add_option("--format", flags.format, "of the exported file: pt or safetensors; default: as its name ends")
      ->type_name("NAME");
  app.add_option("--part", flags.part, "export this part instead of the model, e.g. averages of weights")
      ->type_name("NAME");
  app.add_flag("--json", flags.json, "one JSON object");
}

}  // namespace

void describe_ckpt(const DescribeVerb& take) {
  CLI::App app("Checkpoints: which there are, what is in them, whether they are whole; and to Python.", "rondo ckpt");
  CkptFlags flags;
  add_flags(app, flags);
  set_usage(app, "rondo ckpt VERB RUN|CHECKPOINT [FILE] [flags]");
  take(app);
}

int ckpt_command(const std::vector<std::string>& arguments) {
  CLI::App app("Checkpoints: which there are, what is in them, whether they are whole; and to Python.", "rondo ckpt");
  app.allow_extras();
  set_usage(app, "rondo ckpt VERB RUN|CHECKPOINT [FILE] [flags]");
  app.footer(kFooter);
  CkptFlags flags;
  add_flags(app, flags);
  if (const Parsed parsed = parse(app, arguments); !parsed.go_on) return parsed.exit_code;
  if (const std::string mistake = check(flags); !mistake.empty()) return usage_error(app, mistake);

  const auto trainer = find_trainer();
  if (!trainer.ok()) {
    std::fprintf(stderr, "rondo ckpt: %s\n", trainer.status().message().c_str());
    return exit_code_of(trainer.status());
  }
  std::vector<std::string> words{*trainer, "ckpt", flags.verb, flags.place};
  if (!flags.file.empty()) words.push_back(flags.file);
  const auto pass = [&](const char* name, const std::string& value) {
    if (!value.empty()) words.insert(words.end(), {name, value});
  };
  pass("--which", flags.which);
  pass("--format", flags.format);
  pass("--part", flags.part);
  if (flags.json) words.emplace_back("--json");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv(trainer->c_str(), argv.data());
  std::perror(trainer->c_str());
  return kExitPreflight;
}

}  // namespace rondo::launcher
