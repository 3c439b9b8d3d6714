/// What a run leaves for programs to read: metrics.jsonl (one JSON object a line, as it happens) and summary.json (at
/// the end). The source of truth for every figure; what people see on the terminal is made from the same numbers.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rondo/step_statistics.h"

namespace rondo::trainer {

struct RunMetrics {
  std::string recipe;
  int world_size = 1;
  int64_t steps_per_epoch = 0, parameters = 0, samples = 0;
  std::map<std::string, std::string> config;
};
struct StepMetrics {
  int64_t step = 0;         // in the run, from 1
  int64_t epoch = 0;        // from 1
  double loss = 0, lr = 0;  // loss: rank 0's own
  int64_t samples = 0;      // of all ranks
  double samples_per_second = 0;
  std::optional<StepStatistics> statistics;  // rank 0's own, but for the times of every rank
};
struct EpochMetrics {
  int64_t step = 0, epoch = 0;
  double loss = 0, lr = 0;  // loss: mean over all samples of all ranks
  int64_t samples = 0;
  double samples_per_second = 0;
  std::string order_hash;
  int64_t test_correct = 0, test_samples = 0;
};

/// Appends to metrics.jsonl; each line is handed to the system at once, so a crash loses none that was written.
/// One thread.
class MetricsWriter {
 public:
  /// Throws rondo::Error when the file cannot be opened.
  explicit MetricsWriter(const std::filesystem::path& file);
  void write(const RunMetrics& record);
  void write(const StepMetrics& record);
  void write(const EpochMetrics& record);

 private:
  void write_line(const std::string& line);
  const std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

struct Summary {
  std::string recipe;
  int world_size = 1;
  int64_t epochs = 0, steps = 0;                // done since the very beginning, resumed parts included
  int64_t train_samples = 0, test_samples = 0;  // in one epoch, in the evaluation
  int64_t test_correct = 0;
  double seconds = 0, samples_per_second = 0;
  std::vector<std::string> params_hash;  // by rank
  std::string transport, torch, commit;

  bool params_equal() const;
  double test_accuracy() const;  // in [0, 1]
  /// "test accuracy: 90.87 % (9087 of 10000)"
  std::string accuracy_line() const;
  /// "parameters: rank 0 9f3c..., rank 1 9f3c... (equal)"
  std::string parameters_line() const;
};

/// The text of summary.json.
std::string encode_summary(const Summary& summary);

}  // namespace rondo::trainer
