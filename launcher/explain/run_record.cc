#include "launcher/explain/run_record.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launcher/base/text.h"
#include "launcher/cli/nearest_name.h"
#include "launcher/explain/live_run.h"

namespace rondo::launcher {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

RankRecord& rank_of(RunRecord& run, int rank) {
  const auto found = std::find_if(run.ranks.begin(), run.ranks.end(), [rank](const auto& r) { return r.rank == rank; });
  if (found != run.ranks.end()) return *found;
  run.ranks.push_back({.rank = rank});
  return run.ranks.back();
}

int number(const json& event, const char* name, int otherwise) {
  const auto found = event.find(name);
  return found != event.end() && found->is_number_integer() ? found->get<int>() : otherwise;
}

void apply_event(const json& event, RunRecord& run) {
  const std::string kind = event.value("kind", "");
  const int rank = number(event, "rank", -1);
  if (kind == "spawn" && rank >= 0) {
    rank_of(run, rank).pid = number(event, "pid", 0);
    rank_of(run, rank).exit.reset();  // that of the generation before
  } else if (kind == "exit" && rank >= 0) {
    rank_of(run, rank).exit = RankExit{.exit_code = number(event, "exit_code", 0),
                                       .signal = number(event, "signal", 0),
                                       .stopped_by_launcher = event.value("stopped", false)};
  } else if (kind == "flight" && event.contains("missing")) {
    for (RankRecord& each : run.ranks) each.missing = false;
    for (const json& missing : event["missing"])
      if (missing.is_number_integer()) rank_of(run, missing.get<int>()).missing = true;
  } else if (kind == "verdict") {
    run.culprit = rank;
    run.cause = event.value("cause", "");
    run.state = RunState::kFailed;
  } else if (kind == "restart") {
    run.culprit = RunRecord().culprit;
    run.cause.clear();
    run.state = RunState::kRunning;
  } else if (kind == "signal" && run.state != RunState::kFailed) {
    run.state = RunState::kStopped;
  } else if (kind == "end") {
    run.exit_code = number(event, "exit_code", 0);
    if (run.state == RunState::kRunning) run.state = run.exit_code == 0 ? RunState::kEndedWell : RunState::kFailed;
  }
}

/// flight/rank-0012.bin -> 12; -1 for other names.
int rank_in(const fs::path& file) {
  const std::string name = file.filename().string();
  const std::string head = "rank-", tail = ".bin";
  if (!name.starts_with(head) || !name.ends_with(tail) || name.size() <= head.size() + tail.size()) return -1;
  const std::string digits = name.substr(head.size(), name.size() - head.size() - tail.size());
  const bool good = digits.size() < 9 &&
                    std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  return good ? std::stoi(digits) : -1;
}

void read_flights(const std::string& folder, RunRecord& run) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder + "/flight", error)) {
    const int rank = rank_in(entry.path());
    if (rank < 0) continue;
    const std::string bytes = read_file(entry.path());
    auto flight = comm::read_flight(std::as_bytes(std::span(bytes)));
    RankRecord& record = rank_of(run, rank);
    if (!flight.ok()) {
      record.problem = flight.status().message();
      continue;
    }
    if (record.pid == 0) record.pid = flight->pid;
    record.flight = *std::move(flight);
  }
}

/// The latest moment that any record tells of; a copy says itself when it was taken.
uint64_t moment(const RunRecord& run) {
  uint64_t latest = 0;
  for (const RankRecord& rank : run.ranks) {
    if (!rank.flight) continue;
    const comm::Flight& flight = *rank.flight;
    latest = std::max({latest, flight.taken_ns, flight.beat_ns, flight.alarmed_ns, flight.opened_ns});
    for (const comm::FlightRecord& record : flight.records)
      latest = std::max({latest, record.called_ns, record.started_ns, record.ended_ns});
  }
  return latest;
}

void move_times(comm::Flight& flight, uint64_t by) {
  const auto move = [by](uint64_t& time) {
    if (time != 0) time += by;
  };
  for (uint64_t* time :
       {&flight.opened_ns, &flight.taken_ns, &flight.beat_ns, &flight.alarmed_ns, &flight.forming_since_ns})
    move(*time);
  if (flight.ending) move(flight.ending->at_ns);
  for (comm::FlightGroup& group : flight.groups) {
    move(group.formed_ns);
    move(group.ended_ns);
  }
  for (comm::FlightRecord& record : flight.records) {
    move(record.called_ns);
    move(record.started_ns);
    move(record.ended_ns);
  }
}

/// A process id says something only on its own host, and only while nothing took the record away from it.
void look_at_processes(RunRecord& run) {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) return;
  for (RankRecord& rank : run.ranks) {
    const bool here = rank.pid > 0 && !rank.exit && (rank.flight ? rank.flight->host == host.data() : !rank.missing);
    if (here) rank.process = process_state(rank.pid);
  }
}

}  // namespace

void align_clocks(RunRecord& run) {
  std::map<std::string, uint64_t> taken;  // by host, the last
  uint64_t latest = 0;
  for (const RankRecord& rank : run.ranks) {
    if (!rank.flight || rank.flight->taken_ns == 0) continue;
    uint64_t& of_host = taken[rank.flight->host];
    of_host = std::max(of_host, rank.flight->taken_ns);
    latest = std::max(latest, of_host);
  }
  for (RankRecord& rank : run.ranks)
    if (rank.flight && rank.flight->taken_ns != 0) move_times(*rank.flight, latest - taken[rank.flight->host]);
}

comm::Result<std::string> find_run(const std::string& word) {
  std::error_code error;
  for (const std::string& folder : {"runs/" + word, word}) {
    if (!word.empty() && fs::is_directory(folder, error)) return folder;
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator("runs", error))
    if (entry.is_directory(error)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  if (names.empty())
    return comm::Status(comm::Code::kInvalidArgument,
                        "there is no run '" + word + "': no such folder, and there is no runs/ here");
  return comm::Status(comm::Code::kInvalidArgument,
                      "there is no run '" + word + "' in runs/, and no such folder" + suggestion(word, names));
}

void apply_events(const std::string& events, Launcher launcher, RunRecord& run) {
  if (events.empty()) return;
  run.state = RunState::kRunning;
  bool ended = false;
  std::istringstream stream(events);
  for (std::string line; std::getline(stream, line);) {
    const json event = json::parse(line, nullptr, false);  // the last line may be cut
    if (!event.is_object()) continue;
    apply_event(event, run);
    ended = ended || event.value("kind", "") == "end";
  }
  if (!ended && launcher == Launcher::kGone && run.state == RunState::kRunning) run.state = RunState::kCut;
}

comm::Result<RunRecord> read_run(const std::string& folder) {
  RunRecord run{.folder = folder};
  const auto launcher = launcher_of(folder);
  apply_events(read_file(folder + "/events.jsonl"), launcher ? Launcher::kLives : Launcher::kGone, run);
  read_flights(folder, run);
  std::sort(run.ranks.begin(), run.ranks.end(), [](const auto& a, const auto& b) { return a.rank < b.rank; });
  align_clocks(run);
  run.now_ns = moment(run);
  if (run.state == RunState::kRunning || run.state == RunState::kUnknown) look_at_processes(run);
  if (run.ranks.empty() && run.state == RunState::kUnknown)
    return comm::Status(comm::Code::kInvalidArgument,
                        folder + " is no run's folder: it holds neither events.jsonl nor flight/rank-0000.bin");
  return run;
}

}  // namespace rondo::launcher
