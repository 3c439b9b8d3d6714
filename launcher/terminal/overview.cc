#include "launcher/terminal/overview.h"

#include <utility>

#include "launcher/base/text.h"

namespace rondo::launcher {

void Overview::begin(int generation, std::vector<Rank> ranks) {
  if (phase_ == Phase::kGathering) phase_ = Phase::kRunning;
  generation_ = generation;
  ranks_ = std::move(ranks);
}

void Overview::line(int rank, Channel channel, std::string_view text, comm::TimePoint now) {
  at(rank).last_line = now;
  keep({.rank = rank,
        .channel = channel,
        .kind = Line::Kind::kWritten,
        .text = std::string(text),
        .at = std::chrono::system_clock::now(),
        .generation = generation_});
}

void Overview::said(int rank, std::string_view text) {
  at(rank).last_line = comm::Clock::now();
  keep({.rank = rank,
        .channel = Channel::kOutput,
        .kind = Line::Kind::kSaid,
        .text = std::string(text),
        .at = std::chrono::system_clock::now(),
        .generation = generation_});
}

std::deque<std::string> Overview::last_lines(int rank, Channel channel, size_t count) const {
  std::deque<std::string> last;
  for (auto line = lines_.rbegin(); line != lines_.rend() && last.size() < count; ++line) {
    if (line->generation != generation_) break;
    if (line->rank == rank && line->channel == channel && line->kind == Line::Kind::kWritten)
      last.push_front(printable(line->text));
  }
  return last;
}

void Overview::keep(Line line) {
  if (listener_) listener_(line);
  line_bytes_ += line.text.size();
  lines_.push_back(std::move(line));
  while (lines_.size() > kMostLines || line_bytes_ > kMostLineBytes) {
    line_bytes_ -= lines_.front().text.size();
    lines_.pop_front();
  }
}

}  // namespace rondo::launcher
