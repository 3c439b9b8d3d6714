#include "launcher/agent/console.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace rondo::launcher {
namespace {

/// As much as a pipe takes in one piece, and surely takes when poll() says that it takes anything.
constexpr size_t kPieceBytes = 4096;

bool takes_bytes(int fd) {
  pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
  return ::poll(&ready, 1, 0) > 0;
}

bool can_draw() {
  const char* terminal = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && terminal != nullptr && std::string_view(terminal) != "dumb";
}

int columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

void Console::Sink::append(std::string_view text) {
  if (!gone) bytes.append(text);
}

void Console::Sink::flush() {
  while (waiting() > 0 && takes_bytes(fd)) {
    std::string_view piece = std::string_view(bytes).substr(written, kPieceBytes);
    const bool more = piece.size() < waiting();
    // Cut behind a line if possible, so that lines of the other channel fit in between.
    if (const size_t end = piece.rfind('\n'); more && end != std::string_view::npos) piece = piece.substr(0, end + 1);
    const ssize_t count = ::write(fd, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count < 0) {
      gone = true;
      bytes.clear();
      written = 0;
      inside_line = false;
      return;
    }
    written += static_cast<size_t>(count);
    inside_line = waiting() > 0 && bytes[written - 1] != '\n';
  }
  if (written * 2 > bytes.size()) {
    bytes.erase(0, written);
    written = 0;
  }
}

Console::Console() : bar_(can_draw()), output_{.fd = STDOUT_FILENO}, errors_{.fd = STDERR_FILENO} {}

bool Console::flush() {
  // Both may be the same terminal: while one is inside a line, the other waits.
  if (!output_.inside_line) errors_.flush();
  if (!errors_.inside_line) output_.flush();
  return output_.waiting() + errors_.waiting() == 0;
}

void Console::line(Channel channel, std::string_view text) {
  const bool redraw = !drawn_.empty();
  clear_bar();
  const bool output = channel == Channel::kOutput;
  Sink &sink = output ? output_ : errors_, &other = output ? errors_ : output_;
  if (other.waiting() > 0) flush();  // both may be the same terminal: lines stay in their order
  sink.append(text);
  sink.append("\n");
  if (redraw) {
    flush();
    draw_bar();
  } else if (sink.waiting() > kTogetherBytes) {
    flush();
  }
}

void Console::progress(const TrainingProgress& progress, comm::TimePoint now) {
  latest_ = progress;
  const bool epoch_ended = progress.epoch_ended() && progress.epoch > epoch_closed_;
  if (epoch_ended) epoch_closed_ = progress.epoch;
  if (bar_) {
    if (shown_at_ && now - *shown_at_ < kBarEvery && !epoch_ended) return;
    clear_bar();
    draw_bar();
  } else {
    if (shown_at_ && now - *shown_at_ < kPlainProgressEvery && !epoch_ended) return;
    line(Channel::kErrors, progress_line(progress));
  }
  shown_at_ = now;
}

void Console::end_progress() {
  clear_bar();
  flush();
}

void Console::clear_bar() {
  if (drawn_.empty()) return;
  errors_.append("\r\x1b[K");
  drawn_.clear();
}

void Console::draw_bar() {
  if (congested()) return;
  drawn_ = progress_bar(*latest_, columns());
  errors_.append(drawn_);
  flush();
}

}  // namespace rondo::launcher
