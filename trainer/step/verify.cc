#include "rondo/verify.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "rondo/error.h"
#include "trainer/init/job_state.h"

namespace rondo {
namespace {

/// What a slot is told by in a table.
std::string row(const SlotDistance& distance) {
  std::array<char, 160> text{};
  const std::string ulp = distance.ulp == kNoUlpDistance ? "-" : std::to_string(distance.ulp);
  std::snprintf(text.data(), text.size(), "%10s ulp at [%lld], %.1e of the norm; rounding: up to %.1e%s", ulp.c_str(),
                static_cast<long long>(distance.element), distance.relative, distance.rounding,
                distance.is_rounding() ? "" : "  DIFFERS");
  return std::string(text.data());
}

void put(std::string& text, const std::string& name, const std::string& content) {
  constexpr size_t kColumn = 44;
  std::string left = "  " + name;
  left.resize(std::max(left.size() + 2, kColumn), ' ');
  text += left + content + '\n';
}

Trial train_once(Job job, const ReplicaOptions& options, const std::function<void(Trial&)>& train) {
  Trial trial(std::move(job), options);
  train(trial);
  if (!trial.ended()) {
    throw Error("verify: the training did not call Trial::end(model, optimizer), so there is nothing to compare",
                ExitCode::kUsage);
  }
  return trial;
}

}  // namespace

at::Tensor Trial::slice(const at::Tensor& global_batch) const {
  const int64_t rows = global_batch.size(0), n = job_.world_size, r = job_.rank;
  const int64_t first = r * (rows / n) + std::min(r, rows % n);
  return global_batch.narrow(0, first, rows / n + (r < rows % n ? 1 : 0));
}

void Trial::add_loss(const at::Tensor& mean_loss, double count) {
  const double mine = count > 0 ? mean_loss.detach().item().toDouble() * count : 0;  // the mean of nothing is NaN
  losses_.push_back(job_.sum(mine) / job_.sum(count));
}

void Trial::end(const torch::nn::Module& module, const torch::optim::Optimizer& optimizer) {
  replicas_ = state_differences(job_, module, optimizer);
  state_ = trained_state(module, optimizer);
  ended_ = true;
}

bool VerifyReport::passed() const {
  return replicas.empty() && std::ranges::all_of(variants, &std::string::empty, &VariantResult::first_difference) &&
         std::ranges::all_of(against_one, &SlotDistance::is_rounding);
}

std::string VerifyReport::text() const {
  const std::string ranks = std::to_string(world_size) + (world_size == 1 ? " rank" : " ranks");
  std::string text = ranks + ", bit for bit:\n";
  put(text, "replicas",
      replicas.empty()
          ? "equal"
          : "DIFFER: " + replicas.front().slot + ", first on rank " + std::to_string(replicas.front().ranks.front()));
  for (const VariantResult& variant : variants) {
    put(text, variant.what,
        variant.first_difference.empty() ? "equal" : "DIFFERS: first in " + variant.first_difference);
  }
  text += ranks + " against one process with the whole batch, farthest first:\n";
  std::vector<SlotDistance> farthest = against_one;
  std::ranges::stable_sort(farthest, [](const SlotDistance& a, const SlotDistance& b) {
    return std::pair(!a.is_rounding(), a.relative) > std::pair(!b.is_rounding(), b.relative);
  });
  constexpr size_t kRows = 12;
  for (size_t i = 0; i < std::min(kRows, farthest.size()); ++i) put(text, farthest[i].slot, row(farthest[i]));
  if (farthest.size() > kRows) text += "  and " + std::to_string(farthest.size() - kRows) + " nearer ones\n";
  if (!losses.empty() && !losses_of_one.empty()) {
    std::array<char, 120> line{};
    std::snprintf(line.data(), line.size(), "%.9g, of one process %.9g", losses.back(), losses_of_one.back());
    put(text, "last loss", line.data());
  }
  return text + (passed() ? "verified\n" : "NOT verified\n");
}

VerifyReport verify(const Job& job, const std::function<void(Trial&)>& train, const VerifyOptions& options) {
  constexpr int64_t kOtherBuckets = 1024;
  ReplicaOptions small = options.replica, other_way = options.replica;
  small.bucket_cap_bytes = small.first_bucket_bytes = kOtherBuckets;
  other_way.overlap = options.replica.overlap == Overlap::kOn ? Overlap::kOff : Overlap::kOn;

  const Trial together = train_once(job, options.replica, train);
  VerifyReport report{.world_size = job.world_size, .replicas = together.replicas(), .losses = together.losses()};
  const auto vary = [&](const std::string& what, const ReplicaOptions& varied) {
    const Trial trial = train_once(job, varied, train);
    report.variants.push_back({.what = what, .first_difference = first_difference(trial.state(), together.state())});
  };
  vary("once more", options.replica);
  vary("buckets of " + std::to_string(kOtherBuckets) + " bytes", small);
  vary(other_way.overlap == Overlap::kOff ? "without overlap" : "with overlap", other_way);
  {
    const Trial alone = train_once(trainer::make_job_of_one(), options.replica, train);
    report.against_one = distances(together.state(), alone.state());
    report.losses_of_one = alone.losses();
  }
  if (options.rounding > 0) {
    for (SlotDistance& distance : report.against_one) distance.rounding = options.rounding;
  }
  // A rank may differ in what it computes alone: all say what the worst of them found.
  if (const int64_t failed = job.sum(int64_t{report.passed() ? 0 : 1}); failed > 0 && report.passed()) {
    report.variants.push_back({.what = "on other ranks", .first_difference = std::to_string(failed) + " of them"});
  }
  return report;
}

}  // namespace rondo
