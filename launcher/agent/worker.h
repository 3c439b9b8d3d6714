/// One rank as the agent sees it: its process, its output, its two connections, and what is known about its end.
/// Main thread only.
#pragma once

#include <deque>
#include <functional>
#include <string>

#include "launcher/agent/agent_link.h"
#include "launcher/agent/capped_log.h"
#include "launcher/agent/channels.h"
#include "launcher/agent/failure.h"
#include "launcher/agent/lines.h"
#include "launcher/agent/spawn.h"
#include "rondo/comm/memory.h"

namespace rondo::launcher {

/// One of a worker's output streams: everything goes raw into its log, line by line to the coordinator.
class OutputStream {
 public:
  struct Name {
    int rank;
    Channel channel;
  };
  OutputStream(Name name, Descriptor pipe, CappedLog log) : name_(name), pipe_(std::move(pipe)), log_(std::move(log)) {}

  int handle() const { return pipe_.get(); }
  bool open() const { return pipe_.open(); }
  /// Reads what is there, at most 64 KiB. False when the stream ended.
  bool read(comm::TimePoint now, AgentEvents& to);
  /// The last read took a good part of what a pipe holds: its writer may be waiting.
  bool read_much() const { return last_read_bytes_ >= kMuchBytes; }
  std::optional<comm::TimePoint> stale_at() const { return lines_.stale_at(); }
  void flush_stale(comm::TimePoint now, AgentEvents& to);
  /// Shows what is left and closes.
  void finish(comm::TimePoint now, AgentEvents& to);
  /// Writes a line into the log only.
  void log_line(const std::string& line);
  /// The last lines, at most Traces::kMostLines, printable.
  std::deque<std::string> last_lines() const;

 private:
  LineAssembler::Emit tell(AgentEvents& to, comm::TimePoint now);

  static constexpr size_t kMuchBytes = 8 * 1024;

  Name name_;
  Descriptor pipe_;
  size_t last_read_bytes_ = 0;
  CappedLog log_;
  LineAssembler lines_;
  std::deque<std::string> last_lines_;
};

struct Worker {
  int rank = 0;
  pid_t pid = -1;
  Descriptor process;  // pidfd
  OutputStream output, errors;
  Descriptor messages;
  MessageReader message_reader;
  ControlLink control;
  comm::Region flight;  // what its flight recorder writes into
  RankEvidence evidence;
  bool speaks_rondo = false;                              // sent a beat or a message
  bool output_told = false;                               // that its output ended
  std::optional<std::chrono::nanoseconds> cpu_time = {};  // at the last sample of its usage

  bool alive() const { return !evidence.ending; }
};

struct WorkerRequest {
  int rank = 0;
  SpawnRequest spawn;  // descriptors are filled in by start_worker()
  std::string secret_bytes;
  CappedLog output_log, error_log;
};

/// Makes the pipes and starts the process.
comm::Result<Worker> start_worker(WorkerRequest request);

/// How the worker ended, if it did. Kills what is left of its process group before its process id can be used again.
std::optional<Ending> collect_ending(const Worker& worker, comm::TimePoint now);

/// Whether the process has a handler for `signal`.
bool catches(pid_t pid, int signal);

/// Sends `signal` to the worker's process group.
void signal_group(const Worker& worker, int signal);

}  // namespace rondo::launcher
