#include "trainer/trace/clock_offset.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <string>

#include "rondo/comm/collectives.h"

namespace rondo::trainer {
namespace {

constexpr int kRounds = 16;

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(comm::Clock::now().time_since_epoch()).count();
}

/// Equal for processes under one boot of one kernel; 0 where it does not say.
int64_t kernel_mark() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id.empty() ? 0 : static_cast<int64_t>(std::hash<std::string>{}(id));
}

/// `mine` of every rank, in rank order: world_size * mine.size() numbers.
comm::Result<std::vector<int64_t>> gather_all(comm::Group& group, std::vector<int64_t> mine) {
  std::vector<int64_t> all(mine.size() * static_cast<size_t>(group.world_size()));
  RONDO_TRY(comm::all_gather(group, comm::view(mine), comm::view(all), {.tag = "clocks"}).wait());
  return all;
}

}  // namespace

ClockOffset estimate_offset(const std::vector<ClockRound>& rounds) {
  int64_t least = INT64_MIN, most = INT64_MAX;
  for (const ClockRound& round : rounds) {
    most = std::min(most, round.zero.received_ns - round.other.sent_ns);
    least = std::max(least, round.zero.sent_ns - round.other.received_ns);
  }
  return {.offset_ns = least + (most - least) / 2, .error_ns = (most - least + 1) / 2};
}

comm::Result<ClockOffset> exchange_clocks(comm::Group& group) {
  const auto rank = static_cast<size_t>(group.rank());
  std::vector<ClockRound> rounds(kRounds);
  std::vector<int64_t> received;  // by round
  for (ClockRound& round : rounds) {
    RONDO_TRY(comm::barrier(group, {.tag = "clocks"}).wait());  // so that no reading lies about while others come
    const auto sent = gather_all(group, {now_ns()});
    RONDO_TRY(sent.status());
    received.push_back(now_ns());
    round.zero.sent_ns = sent->front();
    round.other.sent_ns = (*sent)[rank];
  }
  const auto all_received = gather_all(group, received);
  RONDO_TRY(all_received.status());
  for (size_t i = 0; i < rounds.size(); ++i) {
    rounds[i].zero.received_ns = (*all_received)[i];
    rounds[i].other.received_ns = received[i];
  }
  return rank == 0 ? ClockOffset{} : estimate_offset(rounds);
}

comm::Result<ClockOffset> measure_clock_offset(comm::Group& group) {
  const auto marks = gather_all(group, {kernel_mark()});
  RONDO_TRY(marks.status());
  const auto shares = [&](int64_t mark) { return mark != 0 && mark == marks->front(); };
  if (std::ranges::all_of(*marks, shares)) return ClockOffset{};
  const auto exchanged = exchange_clocks(group);
  RONDO_TRY(exchanged.status());
  return shares((*marks)[static_cast<size_t>(group.rank())]) ? ClockOffset{} : *exchanged;
}

}  // namespace rondo::trainer
