#include "launcher/terminal/overview.h"

#include <utility>

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
        .at = std::chrono::system_clock::now()});
}

void Overview::said(int rank, std::string_view text) {
  at(rank).last_line = comm::Clock::now();
  keep({.rank = rank,
        .channel = Channel::kOutput,
        .kind = Line::Kind::kSaid,
        .text = std::string(text),
        .at = std::chrono::system_clock::now()});
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
