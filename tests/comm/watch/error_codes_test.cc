/// The table of comm's error codes: what triggers each, and that the error says which rank reports it and which it is
/// about, in its fields and in its words.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "comm/group/group_state.h"
#include "rondo/comm/bootstrap.h"
#include "rondo/comm/collectives.h"
#include "tests/support/process.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::RankOptions;

constexpr std::chrono::seconds kLimit{20};

/// What each of `n` ranks returns from `body`.
std::vector<Status> statuses(int n, const std::function<Status(Group&)>& body, RankOptions options = {}) {
  std::vector<Status> result(static_cast<size_t>(n));
  test::run_endpoints(
      n,
      [&](Endpoint& endpoint) {
        auto group = Group::create(endpoint, options.group, after(kLimit));
        result[static_cast<size_t>(endpoint.at().rank)] = group.ok() ? body(*group) : group.status();
      },
      options);
  return result;
}

Status reduce(Group& group, int64_t count = 4, int bucket = 3) {
  std::vector<float> values(static_cast<size_t>(count));
  return all_reduce(group, view(values), ReduceOp::kSum, {.tag = "bucket " + std::to_string(bucket)})
      .wait(after(kLimit));
}

Status invalid_argument() {
  return statuses(1, [](Group& group) {
    std::vector<float> values(3);
    return broadcast(group, view(values), Root{7}).wait();
  })[0];
}

Status unsupported() {
  return statuses(2, [](Group& group) {
    std::vector<float> values(3);
    return all_reduce(group, view(values), ReduceOp::kBitOr).wait();
  })[1];
}

Status resource() {
  rlimit before{};
  EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);  // binds shared memory, too
  const rlimit small{.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
  EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto all = statuses(2, [](Group& group) { return group.allocate(2 << 20, "too large a bucket").status(); });
  EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  return all[1];
}

Status timeout() {
  return statuses(2,
                  [](Group& group) {
                    if (group.rank() == 0) return reduce(group);
                    const Deadline deadline = after(kLimit);
                    while (group.state()->endpoint().page()->abort_version() == 0 && !deadline.passed(Clock::now()))
                      group.state()->endpoint().env().idle({}, std::chrono::milliseconds(5));
                    return Status();
                  },
                  {.group = {.operation_timeout = std::chrono::milliseconds(200)}})[0];
}

/// This process as rank 0, and a drill worker as rank 1 that is killed.
Status peer_lost() {
  const std::string place = JobId::draw(*real_env()).hex();
  const auto variables = [&](int rank) {
    return std::map<std::string, std::string>{
        {"RANK", std::to_string(rank)}, {"WORLD_SIZE", "2"},    {"LOCAL_RANK", std::to_string(rank)},
        {"LOCAL_WORLD_SIZE", "2"},      {"MASTER_ADDR", place}, {"MASTER_PORT", "1"}};
  };
  const test::Process worker({.program = RONDO_DRILL_WORKER, .arguments = {"linger=1"}, .environment = variables(1)});
  const auto bootstrap = read_bootstrap({}, [mine = variables(0)](const std::string& name) {
    const auto found = mine.find(name);
    return found == mine.end() ? std::optional<std::string>() : found->second;
  });
  RONDO_TRY(bootstrap);
  const auto joined = join(*bootstrap, {}, after(kLimit));
  RONDO_TRY(joined);
  auto group = Group::create(joined->endpoint, {}, after(kLimit));
  RONDO_TRY(group);
  worker.signal(SIGKILL);
  const Deadline deadline = after(kLimit);
  Status status;
  // The very calls of the worker, which may still be in some of them.
  for (int round = 0; status.ok() && !deadline.passed(Clock::now()); ++round) status = reduce(*group, 5000, round % 4);
  return status;
}

Status closed() {
  return statuses(2, [](Group& group) {
    if (group.rank() == 1) return group.close(after(kLimit));
    return reduce(group);
  })[0];
}

Status mismatch() {
  return statuses(2, [](Group& group) { return reduce(group, group.rank() == 0 ? 4 : 5); })[0];
}

/// Flips a bit of the first payload of every large write.
class FlippingStream final : public Stream {
 public:
  explicit FlippingStream(std::unique_ptr<Stream> inner) : inner_(std::move(inner)) {}
  IoResult read(std::span<std::byte> into) override { return inner_->read(into); }
  IoResult write(std::span<const std::byte> head, std::span<const std::byte> body) override {
    std::vector<std::byte> all(head.begin(), head.end());
    all.insert(all.end(), body.begin(), body.end());
    if (all.size() >= 1000) all[all.size() / 4] ^= std::byte{4};  // within the first payload
    return inner_->write(all, {});
  }
  void close() override { inner_->close(); }
  int handle() const override { return inner_->handle(); }
  int64_t peer_uid() const override { return inner_->peer_uid(); }

 private:
  const std::unique_ptr<Stream> inner_;
};

class FlippingEnv final : public Env {
 public:
  TimePoint now() override { return inner_->now(); }
  void random(std::span<std::byte> into) override { inner_->random(into); }
  Result<std::unique_ptr<Listener>> listen(const Address& address) override { return inner_->listen(address); }
  Result<std::unique_ptr<Stream>> dial(const Address& address) override {
    auto stream = inner_->dial(address);
    RONDO_TRY(stream);
    return std::unique_ptr<Stream>(std::make_unique<FlippingStream>(*std::move(stream)));
  }
  void idle(std::span<const WaitHandle> handles, Duration at_most) override { inner_->idle(handles, at_most); }

 private:
  const std::shared_ptr<Env> inner_ = real_env();
};

/// Two ranks over tcp of which rank 0 differs by what `differ` changes; the status of each one's all_reduce.
std::vector<Status> unequal_pair(const std::function<void(EndpointOptions&)>& differ) {
  const JobId job = JobId::draw(*real_env());
  const Secret secret = Secret::draw(*real_env());
  const auto store = in_process_store();
  std::vector<Status> result(2);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      EndpointOptions options{
          .at = {.rank = rank, .world_size = 2},
          .local_rank = rank,
          .job = job,
          .secret = secret,
          .env = real_env(),
          .store = store,
          .transport = TransportKind::kTcp,
          .probe = EndpointOptions::Probe::kOff};  // the call shall meet the error, not the creation
      if (rank == 0) differ(options);
      auto endpoint = Endpoint::create(std::move(options));
      if (!endpoint.ok()) {
        result[static_cast<size_t>(rank)] = endpoint.status();
        return;
      }
      auto group = Group::create(*endpoint, {}, after(kLimit));
      result[static_cast<size_t>(rank)] = group.ok() ? reduce(*group, 5000) : group.status();
    });
  }
  for (auto& thread : threads) thread.join();
  return result;
}

Status corrupt() {
  return unequal_pair([](EndpointOptions& options) { options.env = std::make_shared<FlippingEnv>(); })[1];
}

Status unauthenticated() {
  return unequal_pair([](EndpointOptions& options) { options.secret = Secret::draw(*options.env); })[0];
}

/// Rank 1 starts again at the same address and in the next generation; rank 0, which nobody waits for any more, goes
/// on.
Status evicted() {
  const auto env = real_env();
  const JobId job = JobId::draw(*env);
  const Secret secret = Secret::draw(*env);
  const auto store = in_process_store();
  auto place = env->listen({"tcp:127.0.0.1:0"});
  RONDO_TRY(place);
  const Address address = (*place)->address();
  place->reset();
  const auto open = [&](int rank, uint32_t generation) {
    EndpointOptions options{.at = {.rank = rank, .world_size = 2},
                            .local_rank = rank,
                            .job = job,
                            .secret = secret,
                            .generation = generation,
                            .env = env,
                            .store = store,
                            .keeper = EndpointOptions::Keeper::kOff};
    if (rank == 1) options.listen = {address};
    return Endpoint::create(std::move(options));
  };
  Status of_rank_1;
  std::thread rank_1([&] {
    const auto endpoint = open(1, 0);
    of_rank_1 = endpoint.ok() ? Group::create(*endpoint, {}, after(kLimit)).status() : endpoint.status();
  });
  const auto endpoint = open(0, 0);
  Result<Group> group = endpoint.ok() ? Group::create(*endpoint, {}, after(kLimit)) : endpoint.status();
  rank_1.join();
  RONDO_TRY(of_rank_1);
  RONDO_TRY(group);
  const auto later = open(1, 1);
  RONDO_TRY(later);
  std::atomic<bool> done = false;
  std::thread accepts([&] {
    while (!done) {
      (void)later->state()->port()->pump(Clock::now());
      later->env().idle({}, std::chrono::milliseconds(1));
    }
  });
  const Status status = reduce(*group);
  done = true;
  accepts.join();
  return status;
}

Status aborted() {
  return statuses(2, [](Group& group) {
    if (group.rank() == 0) return reduce(group);
    group.abort("the user changed his mind");
    return Status();
  })[0];
}

/// A port that another listener has.
Status io() {
  const auto env = real_env();
  const auto taken = env->listen({"tcp:127.0.0.1:0"});
  RONDO_TRY(taken);
  return Endpoint::create({.at = {.rank = 1, .world_size = 2},
                           .secret = Secret::draw(*env),
                           .env = env,
                           .store = in_process_store(),
                           .listen = {(*taken)->address()}})
      .status();
}

struct Row {
  Code code;
  Status (*trigger)();
  int rank;               // who reports
  int peer;               // whom it is about; -1: nobody else
  std::string operation;  // in its words
};

std::ostream& operator<<(std::ostream& out, const Row& row) { return out << name(row.code); }

const std::vector<Row> kTable{
    {Code::kInvalidArgument, invalid_argument, 0, -1, "broadcast"},
    {Code::kUnsupported, unsupported, 1, -1, "all_reduce"},
    {Code::kResource, resource, 1, -1, "allocation"},
    {Code::kTimeout, timeout, 0, 1, "all_reduce"},
    {Code::kPeerLost, peer_lost, 0, 1, "all_reduce"},
    {Code::kClosed, closed, 0, 1, "all_reduce"},
    {Code::kEvicted, evicted, 0, 1, "all_reduce"},
    {Code::kMismatch, mismatch, 0, 1, "all_reduce"},
    {Code::kCorrupt, corrupt, 1, 0, "all_reduce"},
    {Code::kAborted, aborted, 0, 1, "all_reduce"},
    {Code::kUnauthenticated, unauthenticated, 0, 1, "all_reduce"},
    {Code::kIo, io, 1, -1, "data port"},
};

TEST(ErrorCodes, AreAllInTheTable) {
  std::vector<Code> listed, all;
  for (const Row& row : kTable) listed.push_back(row.code);
  for (auto code = static_cast<uint8_t>(Code::kInvalidArgument); code <= static_cast<uint8_t>(Code::kIo); ++code)
    all.push_back(static_cast<Code>(code));
  EXPECT_THAT(listed, testing::UnorderedElementsAreArray(all));
}

class ErrorCode : public testing::TestWithParam<Row> {};
INSTANTIATE_TEST_SUITE_P(Table, ErrorCode, testing::ValuesIn(kTable),
                         [](const auto& row) { return std::string(name(row.param.code)); });

TEST_P(ErrorCode, NamesTheRankThatReportsAndTheOneThatItIsAbout) {
  const Row& row = GetParam();
  const Status status = row.trigger();
  EXPECT_EQ(status.code(), row.code) << status.text();
  EXPECT_EQ(status.where().rank, row.rank) << status.text();
  EXPECT_EQ(status.where().peer, row.peer) << status.text();
  EXPECT_THAT(status.text(), testing::HasSubstr("(rank " + std::to_string(row.rank)));
  EXPECT_THAT(status.text(), testing::HasSubstr(row.operation));
  if (row.peer >= 0) {
    EXPECT_THAT(status.message(), testing::HasSubstr("rank " + std::to_string(row.peer)));
  }
}

}  // namespace
}  // namespace rondo::comm
