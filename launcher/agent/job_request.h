/// What a run was asked to be: of `rondo run`, `rondo train` and the benches.
#pragma once

#include <signal.h>

#include <chrono>
#include <functional>
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
  // For programs that meet by torchrun's rules.
  MeetingPoint::Master master;
  std::string role = "default", run_id;  // empty id: the job's
  DisplayOptions display;
  RunFolderOptions folder;
  /// Called once, before the ranks start.
  struct Facts {
    int ranks, threads;
    std::string run_folder;
  };
  std::function<void(const Facts&)> announce;
};

}  // namespace rondo::launcher
