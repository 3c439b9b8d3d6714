#include "trainer/observe/reporter.h"

#include <unistd.h>

#include <cstdio>

namespace rondo::trainer {
namespace {

constexpr std::chrono::milliseconds kProgressInterval{250};

}  // namespace

Reporter::Reporter(const Options& options)
    : sender_(options.messages_descriptor), rank_(options.rank), terminal_(::isatty(STDERR_FILENO) == 1) {}

void Reporter::hello(const std::string& joined, const std::string& torch_version) {
  sender_.hello({.rank = rank_, .program = "rondo-train", .torch_version = torch_version, .joined = joined});
}

void Reporter::say(const std::string& line) {
  if (rank_ != 0) return;
  if (sender_.connected()) {
    sender_.say(line);
    return;
  }
  clear_bar();
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void Reporter::progress(const TrainingProgress& progress) {
  const auto now = std::chrono::steady_clock::now();
  if (rank_ != 0 || now < next_progress_) return;
  next_progress_ = now + kProgressInterval;
  if (sender_.connected()) {
    sender_.progress(progress);
    return;
  }
  if (!terminal_) return;
  constexpr int kWidth = 24;
  const int filled = progress.steps > 0 ? static_cast<int>(kWidth * progress.step / progress.steps) : 0;
  std::fprintf(stderr, "\repoch %d/%d [%.*s%*s] %lld/%lld  loss %.4f  %.0f samples/s  %s\033[K", progress.epoch,
               progress.epochs, filled, "########################", kWidth - filled, "",
               static_cast<long long>(progress.step), static_cast<long long>(progress.steps), progress.loss,
               progress.samples_per_second, progress.phase.c_str());
  std::fflush(stderr);
  bar_drawn_ = true;
}

void Reporter::failure(const WorkerFailure& failure) {
  clear_bar();
  std::fprintf(stderr, "error: %s\n", failure.text.c_str());
  std::fflush(stderr);
  sender_.failure(failure);
}

void Reporter::goodbye(int exit_code) {
  clear_bar();
  sender_.goodbye(exit_code);
}

void Reporter::clear_bar() {
  if (!bar_drawn_) return;
  std::fputs("\r\033[K", stderr);
  bar_drawn_ = false;
}

}  // namespace rondo::trainer
