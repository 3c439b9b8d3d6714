#include <utility>

#include "rondo/error.h"
#include "rondo/rate_scheduler.h"

namespace rondo {

RateScheduler::RateScheduler(torch::optim::Optimizer& optimizer, RateSchedule schedule)
    : optimizer_(optimizer), schedule_(std::move(schedule)), bases_(rates()), follower_(optimizer) {
  restore(0);
}

void RateScheduler::step() {
  if (follower_.moves()) restore(position_ + 1);
}

void RateScheduler::restore(int64_t position) {
  if (position < 0) {
    throw Error("a rate scheduler cannot be restored to position " + std::to_string(position), ExitCode::kUsage);
  }
  auto& groups = optimizer_.param_groups();
  // A group that was added later begins with its own rate.
  for (size_t i = bases_.size(); i < groups.size(); ++i) bases_.push_back(groups[i].options().get_lr());
  for (size_t i = 0; i < groups.size(); ++i) groups[i].options().set_lr(schedule_.rate(bases_[i], position));
  position_ = position;
}

std::vector<double> RateScheduler::rates() const {
  std::vector<double> rates;
  for (auto& group : optimizer_.param_groups()) rates.push_back(group.options().get_lr());
  return rates;
}

PlateauScheduler::PlateauScheduler(torch::optim::Optimizer& optimizer, const Plateau::Options& options)
    : optimizer_(optimizer), plateau_(options) {}

bool PlateauScheduler::step(double metric) {
  if (!plateau_.observe(metric)) return false;
  for (auto& group : optimizer_.param_groups()) {
    auto& options = group.options();
    options.set_lr(plateau_.lowered(options.get_lr()));
  }
  return true;
}

}  // namespace rondo
