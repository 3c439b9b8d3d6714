#include "trainer/observe/metrics.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "rondo/error.h"

namespace rondo::trainer {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kSchema = 1;

void add_statistics(Json& line, const StepStatistics& statistics) {
  const Straggler straggler = statistics.straggler();
  line["first_launch_us"] = statistics.first_launch_us;
  line["last_ready_us"] = statistics.last_ready_us;
  line["backward_end_us"] = statistics.backward_end_us;
  line["exposed_us"] = statistics.exposed_us;
  line["communication_us"] = statistics.communication_us();
  line["overlap"] = statistics.overlap();
  line["ready_order"] = statistics.ready_order();
  line["straggler_rank"] = straggler.rank;
  line["straggler_behind_us"] = straggler.behind_us;
  line["buckets"] = Json::array();
  for (const BucketTimes& bucket : statistics.buckets) {
    line["buckets"].push_back({{"bytes", bucket.byte_count},
                               {"ready_us", bucket.ready_us},
                               {"launch_us", bucket.launch_us},
                               {"complete_us", bucket.complete_us}});
  }
  line["ranks"] = Json::array();
  for (const RankTimes& rank : statistics.ranks) {
    line["ranks"].push_back(
        {{"first_gradient_us", rank.first_gradient_us}, {"last_gradient_us", rank.last_gradient_us}});
  }
}

}  // namespace

MetricsWriter::MetricsWriter(const std::filesystem::path& file)
    : path_(file), file_(std::fopen(file.c_str(), "ae"), &std::fclose) {
  if (!file_) throw Error("cannot open " + file.string() + ": " + std::strerror(errno));
}

void MetricsWriter::write_line(const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), file_.get());
  if (std::fputc('\n', file_.get()) == EOF || std::fflush(file_.get()) != 0) {
    throw Error("cannot write " + path_.string() + ": " + std::strerror(errno));
  }
}

void MetricsWriter::write(const RunMetrics& record) {
  write_line(Json{{"kind", "run"},
                  {"recipe", record.recipe},
                  {"world_size", record.world_size},
                  {"steps_per_epoch", record.steps_per_epoch},
                  {"parameters", record.parameters},
                  {"samples", record.samples},
                  {"config", record.config}}
                 .dump());
}

void MetricsWriter::write(const StepMetrics& record) {
  Json line{{"kind", "step"},
            {"step", record.step},
            {"epoch", record.epoch},
            {"loss", record.loss},
            {"lr", record.lr},
            {"samples", record.samples},
            {"samples_per_second", record.samples_per_second}};
  if (record.statistics) add_statistics(line, *record.statistics);
  write_line(line.dump());
}

void MetricsWriter::write(const EpochMetrics& record) {
  write_line(Json{{"kind", "epoch"},
                  {"step", record.step},
                  {"epoch", record.epoch},
                  {"loss", record.loss},
                  {"lr", record.lr},
                  {"samples", record.samples},
                  {"samples_per_second", record.samples_per_second},
                  {"order_hash", record.order_hash},
                  {"test_correct", record.test_correct},
                  {"test_samples", record.test_samples}}
                 .dump());
}

bool Summary::params_equal() const {
  return std::ranges::all_of(params_hash, [this](const std::string& hash) { return hash == params_hash.front(); });
}

double Summary::test_accuracy() const {
  return test_samples == 0 ? 0 : static_cast<double>(test_correct) / static_cast<double>(test_samples);
}

std::string Summary::accuracy_line() const {
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(), "test accuracy: %.2f %% (%lld of %lld)", 100 * test_accuracy(),
                static_cast<long long>(test_correct), static_cast<long long>(test_samples));
  return text.data();
}

std::string Summary::parameters_line() const {
  std::string line = "parameters:";
  for (size_t rank = 0; rank < params_hash.size(); ++rank) {
    line += (rank == 0 ? " rank " : ", rank ") + std::to_string(rank) + " " + params_hash[rank];
  }
  return line + (params_equal() ? " (equal)" : " (DIFFERENT)");
}

std::string encode_summary(const Summary& summary) {
  return Json{{"schema", kSchema},
              {"recipe", summary.recipe},
              {"world_size", summary.world_size},
              {"epochs", summary.epochs},
              {"steps", summary.steps},
              {"train_samples", summary.train_samples},
              {"test_samples", summary.test_samples},
              {"test_correct", summary.test_correct},
              {"test_accuracy", summary.test_accuracy()},
              {"seconds", summary.seconds},
              {"samples_per_second", summary.samples_per_second},
              {"params_hash", summary.params_hash},
              {"params_equal", summary.params_equal()},
              {"transport", summary.transport},
              {"torch", summary.torch},
              {"commit", summary.commit}}
             .dump(2) +
         "\n";
}

}  // namespace rondo::trainer
