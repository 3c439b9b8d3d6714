#include "comm/bench/studies.h"

#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "comm/group/endpoint_state.h"
#include "rondo/comm/collectives.h"

namespace rondo::bench {
namespace {

using comm::Clock;
using comm::Group;
using comm::ReduceOp;
using comm::Result;
using comm::Status;
using comm::Work;

constexpr double kSeconds = 60;
constexpr size_t kElements = 1000;

/// What a rank brings to a call of the mismatch study.
struct Buffers {
  std::vector<float> floats = std::vector<float>(kElements + 1, 1.0F);
  std::vector<double> doubles = std::vector<double>(kElements, 1.0);

  comm::BufferView whole() { return {floats.data(), kElements, comm::DType::kFloat32}; }
  comm::BufferView longer() { return {floats.data(), kElements + 1, comm::DType::kFloat32}; }
};

/// One way to differ: what every rank but the last calls, and what the last one calls.
struct Difference {
  const char* name;
  Work (*right)(Group& group, Buffers& buffers);
  Work (*wrong)(Group& group, Buffers& buffers);
};

Work sum(Group& group, Buffers& buffers) { return all_reduce(group, buffers.whole(), ReduceOp::kSum); }

constexpr std::array kDifferences{
    Difference{"kind", sum,
               [](Group& group, Buffers& buffers) { return broadcast(group, buffers.whole(), {.rank = 0}); }},
    Difference{
        "dtype", sum,
        [](Group& group, Buffers& buffers) { return all_reduce(group, comm::view(buffers.doubles), ReduceOp::kSum); }},
    Difference{"count", sum,
               [](Group& group, Buffers& buffers) { return all_reduce(group, buffers.longer(), ReduceOp::kSum); }},
    Difference{"reduction", sum,
               [](Group& group, Buffers& buffers) { return all_reduce(group, buffers.whole(), ReduceOp::kMax); }},
    Difference{"root", [](Group& group, Buffers& buffers) { return broadcast(group, buffers.whole(), {.rank = 0}); },
               [](Group& group, Buffers& buffers) { return broadcast(group, buffers.whole(), {.rank = 1}); }},
    Difference{"tag",
               [](Group& group, Buffers& buffers) {
                 return all_reduce(group, buffers.whole(), ReduceOp::kSum, {.tag = "layer1.weight", .weight = 1});
               },
               [](Group& group, Buffers& buffers) {
                 return all_reduce(group, buffers.whole(), ReduceOp::kSum, {.tag = "layer2.weight", .weight = 1});
               }},
};

Result<Group> fresh_group(const comm::Endpoint& endpoint, const std::string& name) {
  comm::GroupOptions options;
  options.name = name;
  return Group::create(endpoint, options, comm::in_seconds(kSeconds));
}

double microseconds_since(comm::TimePoint begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

Row study_row(const Plan& plan, const Room& room, const comm::Endpoint& endpoint, int round) {
  return {.operation = plan.operation,
          .label = {.contender = "rondo",
                    .algorithm = {},
                    .transport = std::string(name(endpoint.state()->options().transport)),
                    .memory = Label::Memory::kOrdinary},
          .ranks = room.at().world_size,
          .cores = room.cores(),
          .round = round,
          .calls = plan.trials};
}

/// A line for people: "mismatch kind        p50 ..." and so on.
std::string study_line(const Row& row, const std::string& what, const std::string& more) {
  char text[200];
  std::snprintf(text, sizeof text, "%-22s p50 %10.1f us   p99 %10.1f us   max %10.1f us   N %d%s\n", what.c_str(),
                row.time.p50, row.time.p99, row.time.max, row.calls, more.c_str());
  return text;
}

/// Endpoints for groups that are aborted. A job page tells the aborts of 63 groups apart and then ends the whole job,
/// so each page serves a few trials: an endpoint of a generation of its own has a fresh one.
class Endpoints {
 public:
  explicit Endpoints(const comm::Endpoint& like) : like_(like.state()->options()) {
    like_.control_descriptor = -1;
    like_.flight = nullptr;
  }

  /// For the next trial; the same one on every rank.
  Result<const comm::Endpoint*> next(Room& room) {
    if (!current_ || trials_ == kTrials) {
      // Who closes first would be the reason for those who are not done with the last trial.
      RONDO_TRY(room.gate(comm::in_seconds(kSeconds)));
      RONDO_TRY(close());
      comm::EndpointOptions options = like_;
      options.generation += ++made_;
      for (comm::Address& place : options.listen) {
        if (place.text.starts_with("unix:")) place.text += "-" + std::to_string(made_);
      }
      auto endpoint = comm::Endpoint::create(std::move(options));
      RONDO_TRY(endpoint);
      current_ = *std::move(endpoint);
      trials_ = 0;
    }
    ++trials_;
    return &*current_;
  }
  Status close() { return current_ ? current_->close(comm::in_seconds(kSeconds)) : Status(); }

 private:
  static constexpr int kTrials = 50;
  comm::EndpointOptions like_;
  std::optional<comm::Endpoint> current_;
  uint32_t made_ = 0;
  int trials_ = 0;
};

/// One trial: microseconds until this rank knew.
Result<double> mismatch_once(const comm::Endpoint& endpoint, Room& room, const Difference& difference,
                             const std::string& group_name) {
  auto group = fresh_group(endpoint, group_name);
  RONDO_TRY(group);
  Buffers buffers;
  const bool last = room.at().rank == room.at().world_size - 1;
  RONDO_TRY(room.gate(comm::in_seconds(kSeconds)));
  const auto begin = Clock::now();
  const Status status = (last ? difference.wrong : difference.right)(*group, buffers).wait();
  const double took = microseconds_since(begin);
  if (status.code() != comm::Code::kMismatch) {
    room.add_wrong(1);
    std::fprintf(stderr, "rondo bench: %s differs, and rank %d got %s\n", difference.name, room.at().rank,
                 status.ok() ? "no error" : status.text().c_str());
  }
  return took;
}

}  // namespace

std::unique_ptr<comm::StoreCall> CountingStore::start(comm::StoreRequest request) {
  ++requests_;
  return inner_->start(std::move(request));
}

Status study_mismatch(const comm::Endpoint& endpoint, Room& room, const Plan& plan, Report& report) {
  const bool is_first = room.at().rank == 0;
  Endpoints endpoints(endpoint);
  for (const Difference& difference : kDifferences) {
    std::vector<Row> rounds;
    for (int round = 0; round < plan.rounds; ++round) {
      for (int trial = 0; trial < plan.trials; ++trial) {
        const std::string group =
            std::string(difference.name) + "-" + std::to_string(round) + "-" + std::to_string(trial);
        const auto of_trial = endpoints.next(room);
        RONDO_TRY(of_trial);
        const auto took = mismatch_once(**of_trial, room, difference, group);
        RONDO_TRY(took);
        room.put_sample(trial, *took);
      }
      RONDO_TRY(room.gate(comm::in_seconds(kSeconds)));
      Row row = study_row(plan, room, endpoint, plan.first_round + round);
      row.difference = difference.name;
      if (is_first) {
        row.time = summarise(room.slowest(plan.trials));
        row.wrong = room.take_wrong();
      }
      report.row(row);
      rounds.push_back(row);
      RONDO_TRY(room.gate(comm::in_seconds(kSeconds)));
    }
    const Row all = over_rounds(rounds);
    report.print(study_line(all, "mismatch of " + std::string(difference.name),
                            "   without kMismatch: " + std::to_string(all.wrong)));
    report.row(all);
  }
  RONDO_TRY(room.gate(comm::in_seconds(kSeconds)));
  return endpoints.close();
}

Status study_create(const comm::Endpoint& endpoint, Room& room, const Plan& plan, const CountingStore& store,
                    Report& report) {
  std::vector<Row> rounds;
  for (int round = 0; round < plan.rounds; ++round) {
    const int64_t before = store.requests();
    for (int trial = 0; trial < plan.trials; ++trial) {
      RONDO_TRY(room.gate(comm::in_seconds(kSeconds)));
      const auto begin = Clock::now();
      auto group = fresh_group(endpoint, "create-" + std::to_string(round) + "-" + std::to_string(trial));
      const double took = microseconds_since(begin);
      RONDO_TRY(group);
      room.put_sample(trial, took);
      RONDO_TRY(group->close(comm::in_seconds(kSeconds)));
    }
    RONDO_TRY(room.gate(comm::in_seconds(kSeconds)));
    Row row = study_row(plan, room, endpoint, plan.first_round + round);
    if (room.at().rank == 0) row.time = summarise(room.slowest(plan.trials));
    // A rank's share is the same on every rank but rank 0, which makes the job's page: the busiest counts.
    RONDO_TRY(room.gate(comm::in_seconds(kSeconds)));
    room.put_sample(0, static_cast<double>(store.requests() - before) / plan.trials);
    RONDO_TRY(room.gate(comm::in_seconds(kSeconds)));
    row.store_requests = static_cast<int64_t>(room.slowest(1)[0] + 0.5);
    report.row(row);
    rounds.push_back(row);
    RONDO_TRY(room.gate(comm::in_seconds(kSeconds)));
  }
  const Row all = over_rounds(rounds);
  report.print(study_line(all, "create", "   store requests per rank: " + std::to_string(*all.store_requests)));
  report.row(all);
  return {};
}

}  // namespace rondo::bench
