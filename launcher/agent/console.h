/// The launcher's own stdout and stderr: whole lines only, one progress bar below them.
///
/// Never blocks: what a slow reader (a pager, a stopped terminal) does not take waits here, and the agent stops reading
/// from the ranks when that is too much. Threading: main thread only. A reader that went away (`| head`) is not an
/// error: the run goes on, the logs have all.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "launcher/agent/progress_bar.h"
#include "rondo/comm/deadline.h"

namespace rondo::launcher {

enum class Channel { kOutput, kErrors };

class Console {
 public:
  static constexpr std::chrono::seconds kPlainProgressEvery{10};
  static constexpr std::chrono::milliseconds kBarEvery{100};
  static constexpr size_t kCongestedBytes = 1 << 20;
  static constexpr size_t kTogetherBytes = 32 * 1024;

  Console();

  /// One line; a newline is added. Lines are written together: by the next flush(), or when they are many.
  void line(Channel channel, std::string_view text);
  /// Redraws the bar, or now and then writes a plain line.
  void progress(const TrainingProgress& progress, comm::TimePoint now);
  /// Takes the bar away for good.
  void end_progress();

  /// Writes what the readers take now. True when nothing is left.
  bool flush();
  bool waiting() const { return output_.waiting() + errors_.waiting() > 0; }
  /// More than kCongestedBytes wait.
  bool congested() const { return output_.waiting() + errors_.waiting() > kCongestedBytes; }

 private:
  /// Bytes on their way to one descriptor.
  struct Sink {
    int fd;
    std::string bytes = {};
    size_t written = 0;
    bool inside_line = false;  // the last write ended inside a long line
    bool gone = false;         // nobody reads it any more

    size_t waiting() const { return bytes.size() - written; }
    void append(std::string_view text);
    void flush();
  };

  void clear_bar();
  void draw_bar();

  const bool bar_;  // stderr is a terminal that understands carriage returns
  Sink output_, errors_;
  std::string drawn_;
  std::optional<TrainingProgress> latest_;
  std::optional<comm::TimePoint> shown_at_;
  int epoch_closed_ = 0;  // the last epoch whose end was written as a plain line
};

}  // namespace rondo::launcher
