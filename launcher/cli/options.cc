#include "launcher/cli/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>

#include "launcher/agent/gpus.h"
#include "launcher/agent/topology.h"
#include "launcher/base/exit_codes.h"
#include "launcher/cli/nearest_name.h"

namespace rondo::launcher {
namespace {

/// "--nproc_per_node=2" -> "--nproc-per-node=2": torchrun takes both spellings. Values stay as they are.
std::string with_dashes(std::string word) {
  if (!word.starts_with("--")) return word;
  const size_t end = std::min(word.find('='), word.size());
  std::replace(word.begin(), word.begin() + static_cast<ptrdiff_t>(end), '_', '-');
  return word;
}

std::string flag_name(const std::string& word) { return word.substr(0, word.find('=')); }

bool takes_value(const CLI::Option& option) { return option.get_items_expected_min() > 0; }

/// "-n4": a short flag whose value is joined to it.
bool has_joined_value(const CLI::App& app, const std::string& word) {
  if (word.size() < 3 || word[1] == '-' || word[2] == '=') return false;
  const CLI::Option* option = app.get_option_no_throw(word.substr(0, 2));
  return option != nullptr && takes_value(*option);
}

class VerbHelp : public CLI::Formatter {
 public:
  explicit VerbHelp(std::string usage) : usage_(std::move(usage)) { column_width(32); }
  std::string make_usage(const CLI::App*, std::string) const override { return "usage: " + usage_ + "\n"; }
  // "Positionals:" would only repeat the usage line.
  std::string make_positionals(const CLI::App*) const override { return ""; }
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    all_ = mode == CLI::AppFormatMode::All;
    return CLI::Formatter::make_help(app, std::move(name), mode);
  }
  std::string make_group(std::string group, bool positional, std::vector<const CLI::Option*> options) const override {
    if (!all_ && group == kFurtherFlags) return "\n`--help-all` has the further flags of torchrun.\n";
    return CLI::Formatter::make_group(std::move(group), positional, std::move(options));
  }

 private:
  const std::string usage_;
  mutable bool all_ = false;  // CLI11 asks for the groups one by one and does not say what for
};

}  // namespace

void set_usage(CLI::App& app, const std::string& usage) {
  app.formatter(std::make_shared<VerbHelp>(usage));
  app.set_help_all_flag("--help-all", "this, with every flag there is");
}

void add_job_flags(CLI::App& app, JobFlags& flags) {
  app.add_option(
         "-n,--nproc-per-node", flags.ranks,
         "ranks to start: a number; cpu or auto: one per hardware thread that may be used, within the cgroup's cpu "
         "limit; gpu: one per GPU (auto never looks at GPUs)")
      ->type_name("N")
      ->capture_default_str();
  app.add_option("--run-dir", flags.run_dir, "the run's folder; default runs/<name>-<date>-<pid>")->type_name("DIR");
  app.add_option("--log-dir", flags.log_dir,
                 "where the ranks' output is kept, in a folder named as the run's; default logs/ in the run's folder")
      ->type_name("DIR");
  app.add_option("--grace", flags.grace_seconds, "seconds between asking ranks to stop and killing them")
      ->type_name("S")
      ->capture_default_str();
}

comm::Result<int> parse_ranks(const std::string& text) {
  if (text == "auto" || text == "cpu")
    return within_limit(static_cast<int>(usable_cpus().size()), cpu_limit(comm::system_files()));
  if (text == "gpu") {
    if (const int gpus = count_gpus(); gpus > 0) return gpus;
    return comm::Status(comm::Code::kInvalidArgument,
                        "--nproc-per-node gpu: no NVIDIA GPU is to be seen here (/dev/nvidia0, CUDA_VISIBLE_DEVICES)");
  }
  int ranks = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ranks);
  if (error != std::errc() || end != text.data() + text.size() || ranks < 1 || ranks > kMostRanks) {
    return comm::Status(comm::Code::kInvalidArgument, "--nproc-per-node " + text +
                                                          ": the number of ranks is a whole number from 1 to " +
                                                          std::to_string(kMostRanks) + ", or auto, cpu, gpu");
  }
  return ranks;
}

comm::Result<std::chrono::milliseconds> parse_grace(double seconds) {
  if (!(seconds >= 0 && seconds <= 86400)) {
    return comm::Status(comm::Code::kInvalidArgument, "--grace: seconds from 0 to 86400");
  }
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

std::string unknown_flag(const CLI::App& app, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return "unknown flag '" + flag_name(word) + "'" + suggestion(with_dashes(flag_name(word)), names);
}

comm::Result<SplitArguments> split_at_program(const CLI::App& app, const std::vector<std::string>& arguments) {
  SplitArguments split;
  size_t at = 0;
  for (; at < arguments.size(); ++at) {
    const std::string& word = arguments[at];
    if (word == "--") {
      ++at;
      break;
    }
    if (!word.starts_with('-') || word == "-") break;
    if (has_joined_value(app, word)) {
      split.flags.insert(split.flags.end(), {word.substr(0, 2), word.substr(2)});
      continue;
    }
    split.flags.push_back(with_dashes(word));
    const CLI::Option* option = app.get_option_no_throw(flag_name(split.flags.back()));
    if (option == nullptr) return comm::Status(comm::Code::kInvalidArgument, unknown_flag(app, word));
    const bool value_follows = takes_value(*option) && word.find('=') == std::string::npos;
    if (value_follows && at + 1 < arguments.size()) split.flags.push_back(arguments[++at]);
  }
  split.rest.assign(arguments.begin() + static_cast<ptrdiff_t>(at), arguments.end());
  return split;
}

std::vector<std::string> without_run_dir(const std::vector<std::string>& words) {
  std::vector<std::string> kept;
  for (size_t at = 0; at < words.size(); ++at) {
    const std::string word = with_dashes(words[at]);
    if (flag_name(word) != "--run-dir") {
      kept.push_back(words[at]);
    } else if (word.find('=') == std::string::npos) {
      ++at;
    }
  }
  return kept;
}

Parsed parse(CLI::App& app, std::vector<std::string> arguments) {
  for (std::string& word : arguments) word = with_dashes(word);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them last first
  try {
    app.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return {.go_on = false, .exit_code = kExitOk};
  } catch (const CLI::CallForAllHelp&) {
    std::fputs(app.help("", CLI::AppFormatMode::All).c_str(), stdout);
    return {.go_on = false, .exit_code = kExitOk};
  } catch (const CLI::ParseError& error) {
    return {.go_on = false, .exit_code = usage_error(app, error.what())};
  }
  for (const std::string& word : app.remaining()) {
    if (word.starts_with('-')) return {.go_on = false, .exit_code = usage_error(app, unknown_flag(app, word))};
    return {.go_on = false, .exit_code = usage_error(app, "unexpected argument '" + word + "'")};
  }
  return {};
}

int usage_error(const CLI::App& app, const std::string& message) {
  std::fprintf(stderr, "%s: %s\n`%s --help` shows the flags.\n", app.get_name().c_str(), message.c_str(),
               app.get_name().c_str());
  return kExitUsage;
}

}  // namespace rondo::launcher
