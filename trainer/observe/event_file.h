/// The run's figures for TensorBoard: `events.out.tfevents.<seconds>.<host>.<pid>.0`, beside metrics.jsonl and made
/// from the same records.
///
/// A TFRecord file: length, masked CRC32C of the length, an Event message, masked CRC32C of the message. One thread.
/// What was written is handed to the system at each epoch and after a few seconds; metrics.jsonl is the source of
/// truth.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "trainer/observe/metrics.h"

namespace rondo::trainer {

/// Tags with a slash become groups in TensorBoard.
struct Scalar {
  std::string tag;
  double value = 0;
};

class EventFile {
 public:
  /// Throws rondo::Error when the file cannot be made.
  explicit EventFile(const std::filesystem::path& folder);
  void write(const StepMetrics& step);
  void write(const EpochMetrics& epoch);
  const std::filesystem::path& path() const { return path_; }

 private:
  void write_event(const std::string& event);
  void write_scalars(int64_t step, const std::vector<Scalar>& scalars);
  void flush();
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::chrono::steady_clock::time_point next_flush_;
};

/// One record as it lies in the file.
std::string tf_record(const std::string& content);

}  // namespace rondo::trainer
