/// rondo-train-bench: one rank of `rondo bench train` and `rondo bench start`. Trains a net on synthetic data and
/// writes one JSON row for each way to train it (a lane). Lanes of one start take turns, block by block, so that none
/// of them meets another machine.
#include <torch/nn.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "rondo/rondo.h"
#include "trainer/bench/memory.h"
#include "trainer/bench/request.h"
#include "trainer/models/bench_models.h"

namespace {

using namespace rondo;
using namespace rondo::trainer;
using Json = nlohmann::ordered_json;
using SteadyClock = std::chrono::steady_clock;

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

/// A net, and how it is trained. Every lane starts from the same values and sees the same data.
class Lane {
 public:
  enum class Kind : uint8_t { kPlain, kWrapped, kWrappedWithoutOverlap, kFullPath };

  Lane(std::string name, const Job& job, const BenchRequest& request, Kind kind)
      : name_(std::move(name)), job_(job), model_(make_bench_model(request.model, request.batch, {.rank = job.rank})) {
    const torch::optim::SGDOptions rate(0.01);
    if (kind == Kind::kPlain) {
      plain_ = std::make_unique<torch::optim::SGD>(parameters(*model_.module), rate);
      return;
    }
    ReplicaOptions options;
    if (kind == Kind::kWrappedWithoutOverlap) options.overlap = Overlap::kOff;
    if (kind == Kind::kFullPath) options.one_rank = OneRank::kFullPath;
    ddp_ = std::make_unique<DistributedDataParallel>(job, *model_.module, options);
    wrapped_ = std::make_unique<Optimizer<torch::optim::SGD>>(*ddp_, parameters(*model_.module), rate);
  }

  void step() {
    torch::optim::Optimizer& optimizer = plain_ ? static_cast<torch::optim::Optimizer&>(*plain_) : *wrapped_;
    optimizer.zero_grad();
    const torch::Tensor loss = torch::nn::functional::cross_entropy(model_.forward(model_.inputs), model_.targets);
    loss.backward();
    optimizer.step();
    last_loss_ = loss.detach();
  }

  void timed_block(int steps) {
    job_.barrier();
    const auto begin = SteadyClock::now();
    for (int i = 0; i < steps; ++i) {
      const auto step_begin = SteadyClock::now();
      step();
      step_us_.push_back(std::chrono::duration<double, std::micro>(SteadyClock::now() - step_begin).count());
      if (ddp_) statistics_.push_back(ddp_->statistics());
    }
    job_.barrier();
    block_seconds_.push_back(std::chrono::duration<double>(SteadyClock::now() - begin).count());
  }

  /// Collective: of the last step, the mean over ranks.
  double loss() const { return job_.sum(last_loss_.item<double>()) / job_.world_size; }

  /// Collective; the same on every rank but for the memory, which is rank 0's.
  Json row(const BenchRequest& request) const {
    int64_t parameter_count = 0, gradient_bytes = 0;
    for (const auto& parameter : parameters(*model_.module)) {
      parameter_count += parameter.numel();
      gradient_bytes += static_cast<int64_t>(parameter.nbytes());
    }
    const double block = median(block_seconds_);
    const auto samples = static_cast<double>(request.batch * job_.world_size * request.steps);
    Json row{{"kind", "row"},
             {"bench", "train"},
             {"model", request.model},
             {"contender", name_},
             {"round", request.round},
             {"ranks", job_.world_size},
             {"threads", torch::get_num_threads()},
             {"batch", request.batch},
             {"steps", request.all_steps()},
             {"parameters", parameter_count},
             {"gradient_bytes", gradient_bytes},
             {"transport", job_.world_size == 1 ? "none" : job_.transport()},
             {"samples_per_second", block > 0 ? samples / block : 0},
             {"step_p50_us", median(step_us_)},
             {"loss", loss()}};
    if (!statistics_.empty()) add_statistics(row);
    const ProcessMemory memory = read_process_memory();
    row["peak_rss_bytes"] = memory.peak_rss_bytes;
    row["pss_bytes"] = memory.pss_bytes;
    return row;
  }

 private:
  /// Of each timed step the slowest rank counts, then the median over steps.
  void add_statistics(Json& row) const {
    const auto count = static_cast<int64_t>(statistics_.size());
    auto slowest = torch::zeros({3, count}, torch::kInt64);
    auto first_in_time = torch::zeros({count}, torch::kInt64);
    for (int64_t i = 0; i < count; ++i) {
      const StepStatistics& step = statistics_[static_cast<size_t>(i)];
      slowest[0][i] = step.exposed_us;
      slowest[1][i] = std::max<int64_t>(step.reduced_us - step.backward_end_us, 0);
      slowest[2][i] = step.backward_end_us;
      const bool early = !step.buckets.empty() && step.buckets.front().complete_us < step.last_ready_us;
      first_in_time[i] = early ? 1 : 0;
    }
    job_.all_reduce(slowest, Reduction::kMax);
    job_.all_reduce(first_in_time, Reduction::kMin);
    const auto median_of = [&](int64_t line) {
      return median(std::vector<double>(slowest[line].data_ptr<int64_t>(), slowest[line].data_ptr<int64_t>() + count));
    };
    const StepStatistics& last = statistics_.back();
    const int n = job_.world_size;
    row["buckets"] = last.bucket_count;
    row["bucket_bytes"] = last.bucket_bytes;
    row["sent_bytes"] = 2 * last.bucket_bytes * (n - 1) / n;  // of a rank, in each step
    row["backward_us"] = median_of(2);
    row["exposed_us"] = median_of(0);          // from the end of backward to the complete step record
    row["exposed_buckets_us"] = median_of(1);  // of that, until every bucket was complete
    row["first_bucket_before_last_gradient"] = static_cast<double>(first_in_time.sum().item<int64_t>()) /
                                               static_cast<double>(count);  // share of steps, on all ranks at once
  }

  const std::string name_;
  const Job job_;
  const BenchModel model_;
  std::unique_ptr<torch::optim::SGD> plain_;
  std::unique_ptr<DistributedDataParallel> ddp_;
  std::unique_ptr<Optimizer<torch::optim::SGD>> wrapped_;
  torch::Tensor last_loss_;
  std::vector<double> step_us_, block_seconds_;
  std::vector<StepStatistics> statistics_;
};

struct LaneSpec {
  std::string name;
  Lane::Kind kind;
};

std::vector<LaneSpec> lanes_of(Study study) {
  switch (study) {
    case Study::kRanks:
      return {{"rondo", Lane::Kind::kWrapped}, {"rondo-no-overlap", Lane::Kind::kWrappedWithoutOverlap}};
    case Study::kOneWorker:
      return {{"loop", Lane::Kind::kPlain}, {"wrapped", Lane::Kind::kWrapped}, {"wrapped-full", Lane::Kind::kFullPath}};
    case Study::kMemoryPlain:
      return {{"memory-plain", Lane::Kind::kPlain}};
    case Study::kMemoryWrapped:
    case Study::kFirstStep:
      return {{"memory-wrapped", Lane::Kind::kWrapped}};
  }
  return {};
}

void write_rows(const BenchRequest& request, const std::string& text) {
  if (request.json_file.empty()) {
    std::fputs(text.c_str(), stdout);
    return;
  }
  std::ofstream file(request.json_file, std::ios::app);
  if (!(file << text << std::flush)) throw Error("cannot write " + request.json_file);
}

/// One step, and when the last rank had done it.
void measure_first_step(const BenchRequest& request, const Job& job) {
  Lane lane("rondo", job, request, Lane::Kind::kWrapped);
  lane.step();
  auto done = torch::full({1}, SteadyClock::now().time_since_epoch() / std::chrono::nanoseconds(1), torch::kInt64);
  job.all_reduce(done, Reduction::kMax);
  const Json row{{"kind", "row"},           {"bench", "first-step"},  {"model", request.model},
                 {"ranks", job.world_size}, {"batch", request.batch}, {"first_step_ns", done.item<int64_t>()},
                 {"loss", lane.loss()}};
  if (job.rank == 0) write_rows(request, row.dump() + "\n");
}

void measure(const BenchRequest& request, int argc, char** argv) {
  torch::set_num_threads(1);
  const Job job = init(argc, argv);
  if (request.study == Study::kFirstStep) return measure_first_step(request, job);
  std::vector<std::unique_ptr<Lane>> lanes;
  for (const LaneSpec& spec : lanes_of(request.study)) {
    lanes.push_back(std::make_unique<Lane>(spec.name, job, request, spec.kind));
  }
  for (int i = 0; i < request.warm_up; ++i) {
    for (const auto& lane : lanes) lane->step();
  }
  for (int block = 0; block < request.blocks; ++block) {
    for (size_t i = 0; i < lanes.size(); ++i) {
      lanes[(i + static_cast<size_t>(block + request.round)) % lanes.size()]->timed_block(request.steps);
    }
  }
  std::string text;
  for (const auto& lane : lanes) text += lane->row(request).dump() + "\n";
  if (job.rank == 0) write_rows(request, text);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    measure(parse_bench_request(argc, argv), argc, argv);
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "rondo-train-bench: %s\n", error.what());
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rondo-train-bench: %s\n", error.what());
    return 1;
  }
}
