#include "launcher/agent/line_merger.h"

#include <algorithm>

namespace rondo::launcher {

void LineMerger::add(int rank, Channel channel, std::string_view text, comm::TimePoint now, const Emit& emit) {
  size_t& last = last_[static_cast<size_t>(rank)][channel == Channel::kOutput ? 0 : 1];
  // Behind its own last line, so that lines of one rank never change places; there it cannot have joined yet.
  size_t at = std::max(last, first_) - first_;
  while (at < waiting_.size() && (waiting_[at].channel != channel || waiting_[at].text != text)) ++at;
  if (at == waiting_.size())
    waiting_.push_back({.ranks = {}, .channel = channel, .text = std::string(text), .since = now});
  std::vector<int>& ranks = waiting_[at].ranks;
  ranks.insert(std::ranges::upper_bound(ranks, rank), rank);
  last = first_ + at + 1;
  emit_complete(emit);
  while (waiting_.size() > kMostWaiting) emit_first(emit);
}

std::optional<comm::TimePoint> LineMerger::due() const {
  if (waiting_.empty()) return std::nullopt;
  return waiting_.front().since + kWindow;
}

void LineMerger::flush_due(comm::TimePoint now, const Emit& emit) {
  while (!waiting_.empty() && waiting_.front().since + kWindow <= now) emit_first(emit);
  emit_complete(emit);
}

void LineMerger::flush_all(const Emit& emit) {
  while (!waiting_.empty()) emit_first(emit);
}

void LineMerger::emit_first(const Emit& emit) {
  emit(waiting_.front());
  waiting_.pop_front();
  ++first_;
}

void LineMerger::emit_complete(const Emit& emit) {
  while (!waiting_.empty() && waiting_.front().ranks.size() == last_.size()) emit_first(emit);
}

}  // namespace rondo::launcher
