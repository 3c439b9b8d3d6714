/// What a run was asked to be: of `rondo run`, `rondo train` and the benches.
#pragma once

#include <signal.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "launcher/agent/core_map.h"
#include "launcher/agent/display.h"
#include "launcher/agent/meeting_point.h"
#include "launcher/agent/run_folder.h"

namespace rondo::launcher {

struct JobRequest {
  std::string program;                 // resolved path
  std::vector<std::string> arguments;  // argv, the program's name first
  int ranks = 1;                       // on this host
  Binding binding = Binding::kCores;
  std::chrono::milliseconds grace{10'000};
  std::vector<int> stop_signals{SIGINT, SIGTERM, SIGHUP, SIGQUIT};  // passed on to the ranks, which end then
  /// After a failure all ranks are started again, as a new generation, at most so often.
  int max_restarts = 0;
  /// How the agents of several hosts meet. Empty: the job is on this host alone.
  struct Hosts {
    int least = 2, most = 2;
    std::optional<int> node_rank;  // of this host; empty: as they come
    std::string address;           // of the coordinator's host
    int port = 0;
    std::string secret_file;  // the same secret on every host
    std::chrono::seconds join_timeout{600}, last_call{30};
  };
  std::optional<Hosts> hosts;
  // For programs that meet by torchrun's rules.
  MeetingPoint::Master master;
  std::string role = "default", run_id;  // empty id: the job's
  DisplayOptions display;
  RunFolderOptions folder;
  std::vector<std::string> again = {};  // argv that does the same in a folder of its own; empty: the folder's command
  /// Called once, before the ranks start.
  struct Facts {
    int ranks, threads;
    std::string run_folder;
  };
  std::function<void(const Facts&)> announce;
};

}  // namespace rondo::launcher
