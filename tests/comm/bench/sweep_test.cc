/// The sweep with contenders whose results are known: right ones, and each kind of wrong one.
#include "comm/bench/sweep.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <barrier>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/comm/bench/ranks_in_a_room.h"

namespace rondo::bench {
namespace {

/// What goes wrong: on the last rank, but a barrier that waits for nobody is one on all ranks.
enum class Fault { kNone, kElement, kSkipsTheCall, kWaitsForNobody };

/// What the ranks' threads share: a sum is formed by whoever looks.
struct Shared {
  explicit Shared(int n) : meet(n), buffers(static_cast<size_t>(n)) {}
  std::barrier<> meet;
  std::vector<float*> buffers;
  TicketBoard board;
};

class FakeContender : public Contender {
 public:
  FakeContender(comm::Position at, Shared& shared, Fault fault)
      : at_(at),
        shared_(shared),
        fault_(fault == Fault::kWaitsForNobody || at.rank == at.world_size - 1 ? fault : Fault::kNone) {}

  comm::Position at() const override { return at_; }
  Label label() const override { return {.contender = "fake", .algorithm = "sum", .transport = "threads"}; }
  Waiting waiting() const override { return Waiting::kBlocks; }
  comm::Result<Ticket> share(const Ticket& ticket) override {
    if (at_.rank == 0) shared_.board.put(ticket);
    return shared_.board.get();
  }
  comm::Result<std::span<std::byte>> memory(size_t byte_count) override {
    memory_.resize(byte_count);
    return std::span(memory_);
  }
  comm::Status prepare(const Collective&, const Call&) override { return {}; }

  comm::Status run(const Collective& collective, const Call& call) override {
    auto* own = static_cast<float*>(call.whole.data);
    const auto count = static_cast<size_t>(call.whole.element_count);
    shared_.buffers[static_cast<size_t>(at_.rank)] = own;
    if (collective.name == "barrier") {
      if (fault_ != Fault::kWaitsForNobody) shared_.meet.arrive_and_wait();
      return {};
    }
    shared_.meet.arrive_and_wait();
    std::vector<float> result(count, 0.0F);
    for (size_t i = 0; i < count; ++i) result[i] = value(collective, i, count);
    shared_.meet.arrive_and_wait();  // all have read
    if (fault_ == Fault::kSkipsTheCall) return {};
    if (collective.name == "reduce_scatter") {
      const auto block = static_cast<size_t>(call.block_apart.element_count);
      std::memcpy(call.block_apart.data, result.data() + static_cast<size_t>(at_.rank) * block, block * sizeof(float));
      if (fault_ == Fault::kElement) static_cast<float*>(call.block_apart.data)[block / 2] += 1;
      return {};
    }
    if (fault_ == Fault::kElement) result[count / 2] += 1;
    std::memcpy(own, result.data(), count * sizeof(float));
    return {};
  }

 private:
  float value(const Collective& collective, size_t i, size_t count) const {
    if (collective.name == "broadcast") return shared_.buffers[0][i];
    const size_t ranks = shared_.buffers.size();
    if (collective.name == "all_gather") return shared_.buffers[i / (count / ranks)][i];
    float sum = 0;
    for (const float* buffer : shared_.buffers) sum += buffer[i];
    return sum;
  }

  const comm::Position at_;
  Shared& shared_;
  const Fault fault_;
  std::vector<std::byte> memory_;
};

/// Rows and summaries of a sweep over `n` fake ranks.
std::vector<nlohmann::json> rows_of(int n, const Request& wanted, Fault fault) {
  std::string pattern = (std::filesystem::temp_directory_path() / "rondo-bench-XXXXXX").string();
  EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
  const std::filesystem::path folder = pattern;
  Request request = wanted;
  request.quiet = true;
  request.json_file = folder / "rows.jsonl";
  Shared shared(n);
  on_threads(n, [&](int rank) {
    FakeContender contender({.rank = rank, .world_size = n}, shared, fault);
    auto meeting = meet(contender, request, 0);
    ASSERT_TRUE(meeting.ok()) << meeting.status().text();
    auto report = Report::open(request, rank);
    ASSERT_TRUE(report.ok()) << report.status().text();
    const auto done = sweep(contender, meeting->room, meeting->plan, Yardstick::kCopyRate, *report);
    ASSERT_TRUE(done.ok()) << done.text();
  });
  std::vector<nlohmann::json> rows;
  std::ifstream file(request.json_file);
  for (std::string line; std::getline(file, line);) rows.push_back(nlohmann::json::parse(line));
  std::filesystem::remove_all(folder);
  return rows;
}

int64_t wrong_in(const std::vector<nlohmann::json>& rows) {
  int64_t wrong = 0;
  for (const auto& row : rows) wrong += row["kind"] == "row" ? row["wrong"].get<int64_t>() : 0;
  return wrong;
}

Request quick(const std::string& operation) {
  return {.operation = operation, .sizes = operation == "barrier" ? "" : "60,60000", .rounds = 2, .iterations = 4};
}

TEST(Sweep, FindsNothingWrongInRightResults) {
  for (const int n : {1, 2, 3}) {
    for (const Collective& collective : collectives()) {
      const auto rows = rows_of(n, quick(std::string(collective.name)), Fault::kNone);
      EXPECT_EQ(wrong_in(rows), 0) << collective.name << " on " << n << " ranks";
      for (const auto& row : rows) EXPECT_EQ(row["wrong"], 0);
    }
  }
}

TEST(Sweep, WritesARowForEachRoundAndSizeAndThenOneForEachSize) {
  const auto rows = rows_of(2, quick("all_reduce"), Fault::kNone);
  ASSERT_EQ(rows.size(), 6U);
  EXPECT_EQ(rows[0]["round"], 1);
  EXPECT_EQ(rows[0]["bytes"], 60);
  EXPECT_EQ(rows[3]["round"], 2);
  EXPECT_EQ(rows[3]["bytes"], 60000);
  EXPECT_EQ(rows[4]["kind"], "summary");
  EXPECT_EQ(rows[4]["calls"], 8);
  for (const auto& row : rows) {
    EXPECT_EQ(row["contender"], "fake");
    EXPECT_GT(row["p50_us"].get<double>(), 0);
    EXPECT_LE(row["min_us"].get<double>(), row["p50_us"].get<double>());
    EXPECT_LE(row["p99_us"].get<double>(), row["max_us"].get<double>());
    EXPECT_GT(row["floor_us"].get<double>(), 0);
    EXPECT_EQ(row["wire"], "same");
    EXPECT_TRUE(row["shared_cores"].get<bool>());
  }
}

TEST(Sweep, CountsAnElementThatOneRankGotWrongInEveryCall) {
  // 2 rounds x 2 sizes x (2 calls to warm up + 4 timed), one element each.
  EXPECT_EQ(wrong_in(rows_of(3, quick("all_reduce"), Fault::kElement)), 2 * 2 * (2 + 4));
  EXPECT_EQ(wrong_in(rows_of(2, quick("all_gather"), Fault::kElement)), 2 * 2 * (2 + 4));
  EXPECT_EQ(wrong_in(rows_of(2, quick("reduce_scatter"), Fault::kElement)), 2 * 2 * (2 + 4));
  EXPECT_EQ(wrong_in(rows_of(3, quick("broadcast"), Fault::kElement)), 2 * 2 * (2 + 4));
}

TEST(Sweep, SeesThatARankDidNothing) {
  // Every element of the sum differs from the rank's own input, and of the root's data from the call before.
  const int64_t calls = 2 * (2 + 4), elements = (60 + 60000) / 4;
  EXPECT_EQ(wrong_in(rows_of(2, quick("all_reduce"), Fault::kSkipsTheCall)), calls * elements);
  EXPECT_EQ(wrong_in(rows_of(2, quick("broadcast"), Fault::kSkipsTheCall)), calls * elements);
}

TEST(Sweep, SeesThatABarrierWaitsForNobody) {
  Request request = quick("barrier");
  request.iterations = 100;  // and 10 that are not timed, in each of which one rank comes late
  EXPECT_GT(wrong_in(rows_of(2, request, Fault::kWaitsForNobody)), 0);
}

}  // namespace
}  // namespace rondo::bench
