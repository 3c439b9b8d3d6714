#include "launcher/agent/progress_bar.h"

#include <algorithm>
#include <cstdio>

#include "launcher/base/text.h"

namespace rondo::launcher {
namespace {

std::string format(const char* pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

std::string of(int64_t part, int64_t whole) { return std::to_string(part) + "/" + std::to_string(whole); }

double share(const TrainingProgress& progress) {
  if (progress.steps <= 0) return 0;
  return std::clamp(static_cast<double>(progress.step) / static_cast<double>(progress.steps), 0.0, 1.0);
}

std::string phase_word(const TrainingProgress& progress) {
  const bool training = progress.phase.empty() || progress.phase == "training";
  return training ? "" : printable(progress.phase) + " ";
}

}  // namespace

std::string progress_bar(const TrainingProgress& progress, int columns) {
  constexpr int kBarCells = 24;
  const double done = share(progress);
  const int filled = static_cast<int>(done * kBarCells);
  std::string bar(static_cast<size_t>(filled), '=');
  if (filled < kBarCells) bar += '>';
  bar.resize(kBarCells, ' ');

  std::string text = phase_word(progress) + "epoch " + of(progress.epoch, progress.epochs) + " [" + bar + "]" +
                     format(" %3.0f %%", done * 100) + "  step " + of(progress.step, progress.steps) +
                     format("  loss %.4f", progress.loss) + format("  %.0f samples/s", progress.samples_per_second);
  if (static_cast<int>(text.size()) >= columns) text.resize(static_cast<size_t>(std::max(columns - 1, 0)));
  return text;
}

std::string progress_line(const TrainingProgress& progress) {
  return phase_word(progress) + "epoch " + of(progress.epoch, progress.epochs) + ", step " +
         of(progress.step, progress.steps) + format(", loss %.4f", progress.loss) +
         format(", %.0f samples/s", progress.samples_per_second);
}

}  // namespace rondo::launcher
