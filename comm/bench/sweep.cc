#include "comm/bench/sweep.h"

#include <sched.h>
#include <unistd.h>

#include <map>

#include "comm/bench/copy_rate.h"
#include "comm/bench/flag_latency.h"
#include "comm/bench/pattern.h"

namespace rondo::bench {
namespace {

using comm::Clock;
using comm::Deadline;
using comm::Result;
using comm::Status;

// Longer than the slowest single call that makes sense; a rival that hangs in a call of its own has no deadline, so the
// whole point has one: SIGALRM ends the process.
constexpr double kGateSeconds = 60;
constexpr unsigned kPointSeconds = 300;
// How long a rank keeps the others waiting inside a barrier to prove that it waits; in calls that are not timed.
constexpr std::chrono::microseconds kLate{200};

/// Timed calls are measured as they are; in the others each rank in turn comes late to barriers.
enum class Timed : uint8_t { kNo, kYes };

/// Inputs and expected results of this rank.
class Data {
 public:
  Data(comm::Position at, const Plan& plan)
      : at_(at), collective_(*plan.collective), input_(plan.dtype, period_for(plan.dtype, plan.wire), at.rank + 1) {
    const auto expect = [&](int64_t factor) {
      expected_.emplace_back(plan.dtype, period_for(plan.dtype, plan.wire), factor);
    };
    if (collective_.content == Content::kSum) expect(sum_factor(at.world_size));
    if (collective_.content == Content::kRoots) expect(1);
    if (collective_.content == Content::kBlocks) {
      for (int rank = 0; rank < at.world_size; ++rank) expect(rank + 1);
    }
  }

  void write_input(const Call& call, int64_t number) const {
    const Part part = collective_.input;
    if (part == Part::kNone || (part == Part::kWholeOnRoot && at_.rank != 0)) return;
    const comm::BufferView& view = view_of(call, part);
    input_.fill({view.bytes(), view.byte_count()}, {.call = number, .first = offset(call, part)});
  }

  int64_t count_wrong(const Call& call, int64_t number) const {
    if (collective_.content == Content::kNone) return 0;
    if (collective_.content == Content::kBlocks) {
      int64_t wrong = 0;
      const size_t block_bytes = call.own_block.byte_count();
      for (int rank = 0; rank < at_.world_size; ++rank) {
        const auto index = static_cast<size_t>(rank);
        wrong += expected_[index].count_wrong({call.whole.bytes() + index * block_bytes, block_bytes},
                                              {.call = number, .first = rank * call.own_block.element_count});
      }
      return wrong;
    }
    const comm::BufferView& view = view_of(call, collective_.output);
    return expected_[0].count_wrong({view.bytes(), view.byte_count()},
                                    {.call = number, .first = offset(call, collective_.output)});
  }

 private:
  static const comm::BufferView& view_of(const Call& call, Part part) {
    if (part == Part::kBlockApart) return call.block_apart;
    return part == Part::kOwnBlock ? call.own_block : call.whole;
  }
  /// Index of a part's first element among those of all ranks.
  int64_t offset(const Call& call, Part part) const {
    const bool is_block = part == Part::kOwnBlock || part == Part::kBlockApart;
    return is_block ? at_.rank * call.own_block.element_count : 0;
  }

  const comm::Position at_;
  const Collective& collective_;
  const Pattern input_;
  std::vector<Pattern> expected_;  // one, or one for each block
};

class Sweep {
 public:
  Sweep(Contender& contender, Room& room, const Plan& plan, Yardstick yardstick, Report& report)
      : contender_(contender),
        room_(room),
        plan_(plan),
        yardstick_(yardstick),
        report_(report),
        data_(contender.at(), plan) {}

  Status run() {
    auto memory = contender_.memory(call_bytes(contender_.at(), plan_.most_bytes()));
    RONDO_TRY(memory);
    memory_ = *memory;
    std::vector<std::vector<Row>> rows(plan_.points.size());
    for (int round = 0; round < plan_.rounds; ++round) {
      for (size_t point = 0; point < plan_.points.size(); ++point) {
        if (plan_.points[point].byte_count > contender_.most_bytes()) continue;
        ::alarm(kPointSeconds);
        auto row = measure(plan_.points[point], plan_.first_round + round);
        ::alarm(0);
        RONDO_TRY(row);
        report_.row(*row);
        rows[point].push_back(*std::move(row));
      }
    }
    report_.print(table_head(contender_.label()));
    for (const auto& rounds : rows) {
      if (rounds.empty()) continue;
      const Row all = over_rounds(rounds);
      report_.print(table_line(all));
      report_.row(all);
    }
    return {};
  }

 private:
  Result<Row> measure(const Point& point, int round) {
    Call call = make_call(contender_.at(), memory_.data(), point.element_count, plan_.dtype);
    call.wire = plan_.wire;
    const auto before = flag_latency(room_, comm::in_seconds(kGateSeconds));
    RONDO_TRY(before);
    RONDO_TRY(contender_.prepare(*plan_.collective, call));
    for (int i = 0; i < point.warm_up; ++i) {
      const auto took = one_call(call, Timed::kNo);
      RONDO_TRY(took);
    }
    for (int i = 0; i < point.iterations; ++i) {
      const auto took = one_call(call, Timed::kYes);
      RONDO_TRY(took);
      room_.put_sample(i, *took);
    }
    RONDO_TRY(room_.gate(comm::in_seconds(kGateSeconds)));
    Row row = make_row(point, round);
    row.flag_before_ns = *before;
    const auto after = flag_latency(room_, comm::in_seconds(kGateSeconds));
    RONDO_TRY(after);
    row.flag_after_ns = *after;
    if (yardstick_ == Yardstick::kCopyRate && is_all_reduce()) {
      const auto copy =
          copy_time(room_, memory_.first(static_cast<size_t>(point.byte_count)), comm::in_seconds(kGateSeconds));
      RONDO_TRY(copy);
      row.copy_us = *copy;
    }
    RONDO_TRY(room_.gate(comm::in_seconds(kGateSeconds)));  // rank 0 has read all samples
    return row;
  }

  /// Microseconds of the call on this rank.
  Result<double> one_call(const Call& call, Timed timed) {
    const int64_t number = next_call_++;
    data_.write_input(call, number);
    RONDO_TRY(room_.gate(comm::in_seconds(kGateSeconds)));
    const bool is_barrier = plan_.collective->content == Content::kNone;
    if (is_barrier && timed == Timed::kNo && number % room_.at().world_size == room_.at().rank) {
      RONDO_TRY(come_late(static_cast<uint64_t>(number) + 1));
    }
    if (is_barrier) room_.say_entered(static_cast<uint64_t>(number) + 1);
    const auto begin = Clock::now();
    const Status done = contender_.run(*plan_.collective, call);
    const std::chrono::duration<double, std::micro> took = Clock::now() - begin;
    RONDO_TRY(done);
    int64_t wrong = is_barrier ? room_.count_absent(static_cast<uint64_t>(number) + 1) : 0;
    // Where ranks share a core, none may begin to check its result while another, which has not yet come to its turn on
    // that core, is still inside the timed call.
    if (room_.cores() == Cores::kShared) RONDO_TRY(room_.gate(comm::in_seconds(kGateSeconds)));
    if (!is_barrier) wrong = data_.count_wrong(call, number);
    if (wrong > 0) room_.add_wrong(wrong);
    return took.count();
  }

  /// Returns a while after all others entered barrier `number`.
  Status come_late(uint64_t number) {
    const Deadline deadline = comm::in_seconds(kGateSeconds);
    while (room_.count_absent(number) > 1) {
      if (deadline.passed(Clock::now())) return {comm::Code::kTimeout, "the other ranks entered no barrier"};
      ::sched_yield();
    }
    for (const auto begin = Clock::now(); Clock::now() - begin < kLate;) continue;
    return {};
  }

  /// The floor of two copies is that of results which are sums and whole on every rank.
  bool is_all_reduce() const {
    return plan_.collective->content == Content::kSum && plan_.collective->output == Part::kWhole;
  }

  Row make_row(const Point& point, int round) {
    Row row{.operation = plan_.operation,
            .reduction = std::string(reduction_name(*plan_.collective)),
            .byte_count = point.byte_count,
            .element_count = point.element_count,
            .dtype = plan_.dtype,
            .wire = plan_.wire,
            .label = contender_.label(),
            .ranks = contender_.at().world_size,
            .cores = room_.cores(),
            .round = round,
            .calls = point.iterations};
    if (contender_.at().rank != 0) return row;
    row.time = summarise(room_.slowest(point.iterations));
    row.wrong = room_.take_wrong();
    row.algbw = gigabytes_per_second(static_cast<double>(point.byte_count), row.time.p50);
    row.busbw = row.algbw * plan_.collective->bus_factor(row.ranks);
    return row;
  }

  Contender& contender_;
  Room& room_;
  const Plan& plan_;
  const Yardstick yardstick_;
  Report& report_;
  const Data data_;
  std::span<std::byte> memory_;
  int64_t next_call_ = 0;
};

}  // namespace

Result<Meeting> meet(Contender& contender, const Request& request, int cpu) {
  const comm::Position at = contender.at();
  const auto roomy = make_plan(request, {.world_size = at.world_size, .cores = Cores::kOwn});  // the most calls
  RONDO_TRY(roomy);
  const RoomShape shape{
      .at = at, .sample_capacity = std::max(1, roomy->most_iterations()), .waiting = contender.waiting()};
  auto room = at.rank == 0 ? Room::make(shape) : Result<Room>(Status::pending());
  if (at.rank == 0) RONDO_TRY(room);
  const auto ticket = contender.share(at.rank == 0 ? room->ticket() : Ticket{});
  RONDO_TRY(ticket);
  if (at.rank != 0) room = Room::enter(shape, *ticket);
  RONDO_TRY(room);
  auto cpus = room->settle(cpu, comm::in_seconds(kGateSeconds));
  RONDO_TRY(cpus);
  auto plan = make_plan(request, {.world_size = at.world_size, .cores = room->cores()});
  RONDO_TRY(plan);
  return Meeting{.room = *std::move(room), .cpus = *std::move(cpus), .plan = *std::move(plan)};
}

Status sweep(Contender& contender, Room& room, const Plan& plan, Yardstick yardstick, Report& report) {
  return Sweep(contender, room, plan, yardstick, report).run();
}

}  // namespace rondo::bench
