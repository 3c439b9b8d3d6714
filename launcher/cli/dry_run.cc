#include "launcher/cli/dry_run.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

using Json = nlohmann::ordered_json;

/// What only the start of a run decides.
constexpr const char* kAtStart = "<chosen at the start>";
constexpr std::array kDecidedAtStart{"MASTER_PORT", "RONDO_JOB", "RONDO_RUN_DIR", "RONDO_STORE",
                                     "TORCHELASTIC_ERROR_FILE"};

/// torchrun's own default.
constexpr int kPortByHand = 29500;

struct Variable {
  std::string name, value;
};

/// As far as they are known before the start.
JobFacts facts_before(const JobRequest& job) { return {.host = expected_place(job), .master = job.master}; }

std::vector<Variable> additions(const DryRun& run, const RankPlan& rank, const std::vector<std::string>& inherited) {
  const std::set<std::string> old(inherited.begin(), inherited.end());
  std::vector<Variable> added;
  for (const std::string& entry : worker_environment(inherited, place_of(run.job, rank, facts_before(run.job)))) {
    Variable variable{entry.substr(0, entry.find('=')), entry.substr(entry.find('=') + 1)};
    const bool later = std::ranges::find(kDecidedAtStart, variable.name) != kDecidedAtStart.end();
    if (variable.name == "MASTER_PORT" && run.job.master.port != 0) {
      variable.value = std::to_string(run.job.master.port);
    } else if (later || (variable.name == "TORCHELASTIC_RUN_ID" && run.job.run_id.empty())) {
      variable.value = kAtStart;
    }
    if (!old.contains(entry)) added.push_back(std::move(variable));
  }
  return added;
}

std::string cpus_text(const CoreShare& share) {
  return share.cpus.empty() ? "as the launcher's" : cpu_list(share.cpus);
}

bool is_number(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() &&
         text.find_first_not_of("0123456789.") == std::string::npos;
}

std::string toml_value(const FlagValue& value) {
  if (value.kind == FlagValue::Kind::kSwitch || is_number(value.value)) return value.value;
  return toml_string(value.value);
}

std::string toml_key(std::string flag) {
  std::ranges::replace(flag, '-', '_');
  return flag;
}

}  // namespace

std::string dry_run_text(const DryRun& run, const std::vector<std::string>& inherited) {
  const int port = run.job.master.port;
  std::string text = "host " + run.host + ": " + counted(run.ranks.size(), "rank") + ", " +
                     counted(static_cast<size_t>(run.ranks[0].share.threads), "thread") + " each, restarts " +
                     std::to_string(run.job.max_restarts) + "\n";
  if (run.cpu_limit)
    text += "cpu limit: the cgroup grants the time of " + counted(static_cast<size_t>(*run.cpu_limit), "cpu") +
            ", which the ranks' threads share\n";
  text += "program: " + run.job.program + "\ncommand: " + shell_quoted(run.job.arguments) + "\n";
  if (const auto& hosts = run.job.hosts) {
    text += "hosts: " + std::to_string(hosts->least) +
            (hosts->most == hosts->least ? "" : " to " + std::to_string(hosts->most)) + ", they meet at " +
            hosts->address + ":" + std::to_string(hosts->port) + "; ranks as if each had " +
            counted(run.ranks.size(), "rank") + (hosts->node_rank ? "\n" : ", and this one were the first\n");
  }
  text += "ports: " + run.job.master.address + ":" + (port == 0 ? "a free one" : std::to_string(port)) +
          " (MASTER_PORT, for rank 0), " + (run.job.hosts ? run.job.hosts->address : "127.0.0.1") +
          ":a free one (the launcher's store)\n";
  for (const RankPlan& rank : run.ranks) {
    text += "\nrank " + std::to_string(rank.rank) + ": device cpu, cpus " + cpus_text(rank.share) + "\n";
    for (const Variable& variable : additions(run, rank, inherited))
      text +=
          "  " + variable.name + "=" + (variable.value == kAtStart ? kAtStart : shell_quoted(variable.value)) + "\n";
  }
  for (const std::string& problem : run.problems) text += "\nwould fail: " + problem + "\n";
  for (const std::string& warning : run.warnings) text += "\nwarning: " + warning + "\n";
  return text;
}

std::string dry_run_script(const DryRun& run) {
  const std::set<std::string> only_by_launcher{"MASTER_PORT", "TORCHELASTIC_ERROR_FILE", "TORCHELASTIC_RUN_ID",
                                               "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS"};
  const std::string command =
      shell_quoted(run.job.program) + " " + shell_quoted(std::span(run.job.arguments).subspan(1));
  const int port = run.job.master.port;
  std::string text = "#!/bin/sh\n# " + counted(run.ranks.size(), "rank") +
                     " of: " + printable(shell_quoted(run.job.arguments)) +
                     "\n# By hand: nobody names a rank that fails, or starts it again. MASTER_PORT must be free.\n"
                     "export MASTER_PORT=\"${MASTER_PORT:-" +
                     std::to_string(port == 0 ? kPortByHand : port) +
                     "}\"\n"
                     "pids=\ntrap 'kill $pids 2>/dev/null' INT TERM\n";
  if (run.job.hosts) text += "export RONDO_SECRET_FILE=" + shell_quoted(run.job.hosts->secret_file) + "\n";
  for (const RankPlan& rank : run.ranks) {
    text += "\nenv";
    for (const std::string& entry : worker_environment({}, place_of(run.job, rank, facts_before(run.job)))) {
      const std::string name = entry.substr(0, entry.find('='));
      if (!name.starts_with("RONDO_") && !only_by_launcher.contains(name)) text += " " + shell_quoted(entry);
    }
    if (!rank.share.cpus.empty()) text += " \\\n  taskset -c " + cpu_list(rank.share.cpus);
    text += " \\\n  " + command + " &\npids=\"$pids $!\"\n";
  }
  text += "\nfailed=0\nfor pid in $pids; do wait \"$pid\" || failed=$?; done\nexit \"$failed\"\n";
  for (const std::string& problem : run.problems) text += "# would fail: " + printable(problem) + "\n";
  for (const std::string& warning : run.warnings) text += "# warning: " + printable(warning) + "\n";
  return text;
}

std::string dry_run_json(const DryRun& run, const std::vector<std::string>& inherited) {
  Json json;
  json["host"] = run.host;
  json["program"] = run.job.program;
  json["command"] = run.job.arguments;
  json["master"] = {{"address", run.job.master.address},
                    {"port", run.job.master.port == 0 ? Json() : Json(run.job.master.port)}};
  if (const auto& hosts = run.job.hosts) {
    json["hosts"] = {{"least", hosts->least},
                     {"most", hosts->most},
                     {"node_rank", hosts->node_rank ? Json(*hosts->node_rank) : Json()},
                     {"address", hosts->address},
                     {"port", hosts->port}};
  }
  json["max_restarts"] = run.job.max_restarts;
  json["cpu_limit"] = run.cpu_limit ? Json(*run.cpu_limit) : Json();
  json["ranks"] = Json::array();
  for (const RankPlan& rank : run.ranks) {
    Json environment = Json::object();
    for (const Variable& variable : additions(run, rank, inherited))
      environment[variable.name] = variable.value == kAtStart ? Json() : Json(variable.value);
    json["ranks"].push_back({{"rank", rank.rank},
                             {"device", "cpu"},
                             {"cpus", rank.share.cpus},
                             {"threads", rank.share.threads},
                             {"environment", environment}});
  }
  json["problems"] = run.problems;
  json["warnings"] = run.warnings;
  return json.dump(2) + "\n";
}

std::string config_toml(const FlagSources& sources, const std::vector<std::string>& command) {
  std::string text = "[launch]\n";
  if (!command.empty()) {
    std::string words;
    for (const std::string& word : command) words += (words.empty() ? "" : ", ") + toml_string(word);
    text += "command = [" + words + "]\n";
  }
  for (const FlagValue& value : sources.values()) {
    if (FlagSources::variables_of(value.flag).empty()) continue;
    text += toml_key(value.flag) + " = " + toml_value(value) + "  # " + value.origin + "\n";
  }
  return text;
}

std::string config_json(const FlagSources& sources, const std::vector<std::string>& command) {
  Json flags = Json::object();
  for (const FlagValue& value : sources.values()) {
    if (FlagSources::variables_of(value.flag).empty()) continue;
    const bool is_switch = value.kind == FlagValue::Kind::kSwitch;
    flags[toml_key(value.flag)] = {{"value", is_switch ? Json(value.value == "true") : Json(value.value)},
                                   {"origin", value.origin}};
  }
  return Json{{"launch", flags}, {"command", command}}.dump(2) + "\n";
}

}  // namespace rondo::launcher
