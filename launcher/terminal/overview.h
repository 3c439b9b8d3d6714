/// What a terminal may want to know about a run: where each rank is, what it last said, and the last lines of all. The
/// coordinator keeps it up to date, whether or not anybody asks; so noting a line must cost next to nothing.
///
/// Threading: main thread only.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/agent/console.h"
#include "launcher/agent/failure.h"
#include "launcher/agent/progress_bar.h"
#include "launcher/agent/usage.h"
#include "rondo/comm/deadline.h"

namespace rondo::launcher {

class Overview {
 public:
  /// Of the lines that ranks wrote so many are kept, of all ranks together.
  static constexpr size_t kMostLines = 2000, kMostLineBytes = 512 * 1024;

  struct Line {
    int rank = 0;
    Channel channel = Channel::kOutput;
    enum class Kind : uint8_t { kWritten, kSaid } kind = Kind::kWritten;  // said: to people, shown without a prefix
    std::string text;
    std::chrono::system_clock::time_point at;
    int generation = 0;  // of the rank
  };
  struct Rank {
    std::string host;
    int local_rank = 0;
    pid_t pid = -1;
    std::optional<Ending> ending = {};
    std::optional<TrainingProgress> progress = {};
    std::optional<ProcessUsage> usage = {};
    std::optional<comm::TimePoint> last_line = {};
  };
  enum class Phase : uint8_t { kGathering, kRunning, kStopping };

  /// All ranks are started, as this generation; what those of the one before said is forgotten, but not their lines.
  void begin(int generation, std::vector<Rank> ranks);
  void stopping() { phase_ = Phase::kStopping; }
  void started(int rank, pid_t pid) { at(rank).pid = pid; }
  void line(int rank, Channel channel, std::string_view text, comm::TimePoint now);
  void said(int rank, std::string_view text);
  void progress(int rank, const TrainingProgress& progress) { at(rank).progress = progress; }
  void usage(int rank, const ProcessUsage& usage) { at(rank).usage = usage; }
  void ended(int rank, const Ending& ending) { at(rank).ending = ending; }

  Phase phase() const { return phase_; }
  int generation() const { return generation_; }
  const std::vector<Rank>& ranks() const { return ranks_; }
  /// The oldest first.
  const std::deque<Line>& lines() const { return lines_; }
  /// What is kept of a rank's last lines in this generation, at most `count`, printable.
  std::deque<std::string> last_lines(int rank, Channel channel, size_t count) const;
  /// Called for each line from now on; empty: nobody listens.
  void listen(std::function<void(const Line&)> listener) { listener_ = std::move(listener); }

 private:
  Rank& at(int rank) { return ranks_[static_cast<size_t>(rank)]; }
  void keep(Line line);

  Phase phase_ = Phase::kGathering;
  int generation_ = 0;
  std::vector<Rank> ranks_;
  std::deque<Line> lines_;
  size_t line_bytes_ = 0;
  std::function<void(const Line&)> listener_;
};

}  // namespace rondo::launcher
