#include "comm/collective/probe.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/collective/fused_collective.h"
#include "comm/group/group_state.h"
#include "comm/kernels/kernels.h"
#include "rondo/comm/collectives.h"

namespace rondo::comm {
namespace {

constexpr Duration kBudget = std::chrono::milliseconds(20);
// Below the budget: the first samples of each thing are taken whatever they cost.
constexpr int kLeastSamples = 2;
constexpr int kMostSamples = 5;
constexpr int kSmallInARow = 8;
constexpr size_t kSmallBytes = 8;
constexpr size_t kLargeBytes = 512 * 1024;
constexpr std::array<size_t, 2> kStagedBytes{128 * 1024, 1024 * 1024};
constexpr Duration kNap = std::chrono::milliseconds(1);

/// What both ranks do next.
struct Command {
  enum class What : int64_t { kStop, kReduce } what = What::kStop;
  int64_t byte_count = 0;
  int32_t repeats = 1;
  StoreKind stores = StoreKind::kPlain;
};

double microseconds(Duration duration) { return std::chrono::duration<double, std::micro>(duration).count(); }

/// One of the two ranks that measure.
class Prober {
 public:
  Prober(Group& pair, Deadline deadline)
      : pair_(pair), deadline_(deadline), values_(kStagedBytes.back() / sizeof(float)) {}

  /// Rank 0.
  Result<Measured> lead() {
    begin_ = env().now();
    Measured measured;
    auto cost = link_cost();
    RONDO_TRY(cost);
    const bool shared = pair_.state()->abilities().board;
    for (size_t i = 0; shared && i < kStagedBytes.size(); ++i) {
      auto timing = store_timing(kStagedBytes[i]);
      RONDO_TRY(timing);
      measured.staging.push_back(*timing);
    }
    (shared ? measured.memory : measured.messages) = *cost;
    RONDO_TRY(tell({}));
    measured.took_us = microseconds(env().now() - begin_);
    return measured;
  }

  /// Rank 1: does as it is told.
  Status follow() {
    for (;;) {
      Command command;
      RONDO_TRY(tell(command));
      if (command.what == Command::What::kStop) return {};
      RONDO_TRY(carry_out(command));
    }
  }

 private:
  Env& env() const { return pair_.state()->endpoint().env(); }
  bool time_is_left() const { return env().now() - begin_ < kBudget; }

  /// Rank 0's command on both. Rank 1 gets it, rank 0 gives it.
  Status tell(const Command& command) {
    Command mine = command;
    return tell(mine);
  }
  Status tell(Command& command) {
    std::array<uint8_t, sizeof(Command)> bytes;
    std::memcpy(bytes.data(), &command, sizeof command);
    RONDO_TRY(finish(broadcast(pair_, view(bytes), {.rank = 0}, {.tag = "probe"})));
    std::memcpy(&command, bytes.data(), sizeof command);
    return {};
  }

  Status finish(Work work) const {
    const Status status = work.wait(deadline_);
    if (!status.is_pending()) return status;
    const int peer = 1 - pair_.rank();
    return Status(Code::kTimeout,
                  "rank " + std::to_string(peer) + " formed the group but did not answer while links were timed; " +
                      "likely it is stopped or starved of its cpu",
                  {.peer = peer});
  }

  /// Microseconds of one all_reduce as the command says; both ranks begin together.
  Result<double> carry_out(const Command& command) {
    const int64_t count = command.byte_count / static_cast<int64_t>(sizeof(float));
    std::fill_n(values_.begin(), count, 1.0F);  // as a gradient: just written by its owner
    RONDO_TRY(finish(barrier(pair_, {.tag = "probe"})));
    const TimePoint begin = env().now();
    for (int i = 0; i < command.repeats; ++i) RONDO_TRY(finish(reduce(count, command.stores)));
    return microseconds(env().now() - begin) / command.repeats;
  }

  Work reduce(int64_t count, StoreKind stores) {
    const BufferView data{values_.data(), count, DType::kFloat32};
    if (!pair_.state()->abilities().board) return all_reduce(pair_, data, ReduceOp::kMax, {.tag = "probe"});
    FusedCollective::Call call{.descriptor = {.kind = CollectiveKind::kAllReduce,
                                              .dtype = DType::kFloat32,
                                              .op = ReduceOp::kMax,
                                              .element_count = count,
                                              .tag = "probe"},
                               .data = data,
                               .output = data,
                               .stores = stores};
    auto operation = std::make_shared<FusedCollective>(pair_.state(), std::move(call));
    pair_.state()->enqueue(operation);
    return Work(std::move(operation));
  }

  Result<double> sample(const Command& command) {
    RONDO_TRY(tell(command));
    return carry_out(command);
  }

  /// The smallest of several: what disturbs only adds.
  Result<double> least(const Command& command) {
    double least = 0;
    for (int i = 0; i < kMostSamples && (i < kLeastSamples || time_is_left()); ++i) {
      const auto took = sample(command);
      RONDO_TRY(took);
      least = i == 0 ? *took : std::min(least, *took);
    }
    return least;
  }

  Result<LinkCost> link_cost() {
    const auto small = least({Command::What::kReduce, kSmallBytes, kSmallInARow, StoreKind::kPlain});
    RONDO_TRY(small);
    const auto large = least({Command::What::kReduce, kLargeBytes, 1, StoreKind::kPlain});
    RONDO_TRY(large);
    const double a_byte = std::max(0.0, *large - *small) * 1000 / kLargeBytes;
    const double gamma = std::min(adding_ns(), a_byte);
    return LinkCost{.alpha_us = *small, .beta_ns = a_byte - gamma, .gamma_ns = gamma};
  }

  /// Nanoseconds a byte that the kernel alone takes.
  double adding_ns() {
    std::vector<float> other(kLargeBytes / sizeof(float), 1.0F);
    auto* into = reinterpret_cast<std::byte*>(values_.data());
    double least = 0;
    for (int i = 0; i < kMostSamples; ++i) {
      const TimePoint begin = env().now();
      (void)comm::reduce(DType::kFloat32, ReduceOp::kMax, into, reinterpret_cast<const std::byte*>(other.data()), into,
                         static_cast<int64_t>(other.size()));
      const double took = microseconds(env().now() - begin);
      least = i == 0 ? took : std::min(least, took);
    }
    return least * 1000 / kLargeBytes;
  }

  Result<StoreTiming> store_timing(size_t byte_count) {
    StoreTiming timing{.byte_count = byte_count};
    for (int i = 0; i < kMostSamples && (i < kLeastSamples || time_is_left()); ++i) {
      for (const StoreKind stores : {StoreKind::kPlain, StoreKind::kNonTemporal}) {
        const auto took = sample({Command::What::kReduce, static_cast<int64_t>(byte_count), 1, stores});
        RONDO_TRY(took);
        double& least = stores == StoreKind::kPlain ? timing.plain_us : timing.non_temporal_us;
        // The first pair of samples touches memory for the first time.
        least = i <= 1 ? *took : std::min(least, *took);
      }
    }
    return timing;
  }

  Group& pair_;
  const Deadline deadline_;
  TimePoint begin_;
  std::vector<float> values_;
};

Result<Measured> measure(const Group& world, Deadline deadline) {
  const GroupIdentity& all = world.state()->identity();
  GroupIdentity identity{.id = derive_group_id(all.id, 0, 0, "probe"),
                         .options = {.name = "probe of \"" + all.options.name + "\"",
                                     .operation_timeout = all.options.operation_timeout,
                                     .algorithm = "one-shot"},
                         .at = {.rank = all.at.rank, .world_size = 2},
                         .job_ranks = {0, 1},
                         .purpose = GroupIdentity::Purpose::kProbe};
  auto state = GroupState::create(world.state()->shared_endpoint(), std::move(identity));
  RONDO_TRY(state);
  Group pair(*state);
  Prober prober(pair, deadline);
  Result<Measured> measured = Measured{};
  if (pair.rank() == 0) {
    measured = prober.lead();
  } else if (const Status followed = prober.follow(); !followed.ok()) {
    measured = followed;
  }
  RONDO_TRY(measured);
  RONDO_TRY(pair.close(deadline));
  return measured;
}

/// Waits for rank 0's table, or for the reason why there is none.
Result<std::string> read_table(const GroupState& world, const std::string& key, Deadline deadline) {
  EndpointState& endpoint = world.endpoint();
  Env& env = endpoint.env();
  const auto call = endpoint.options().store->start({.kind = StoreRequest::Kind::kGet, .keys = {key}});
  for (;;) {
    const TimePoint now = env.now();
    const Progress progress = call->advance(now);
    if (progress == Progress::kDone) return call->values().front();
    if (progress == Progress::kFailed) return call->status();
    if (progress == Progress::kProgressed) continue;
    const auto page = endpoint.page();
    if (const auto why = page ? page->abort_of(world.identity().id) : std::nullopt)
      return Status(why->code, why->text, {.peer = why->culprit});
    if (deadline.passed(now))
      return Status(Code::kTimeout, "rank 0 did not say in time what it measured of its link to rank 1; both are late",
                    {.peer = 0});
    env.idle(call->wait_handles(), std::min<Duration>(deadline.left(now), kNap));
  }
}

}  // namespace

Result<Measured> probe_links(Group& world, const std::string& key, Deadline deadline) {
  EndpointState& endpoint = world.state()->endpoint();
  if (world.rank() <= 1) {
    const auto measured = measure(world, deadline);
    RONDO_TRY(measured);
    if (world.rank() == 0) {
      RONDO_TRY(store_set(*endpoint.options().store, endpoint.env(), key, measured->encode(), deadline));
      return measured;
    }
  }
  const auto text = read_table(*world.state(), key, deadline);
  RONDO_TRY(text);
  return Measured::decode(*text);
}

}  // namespace rondo::comm
