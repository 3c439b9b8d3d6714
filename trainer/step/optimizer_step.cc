// The step point: where a reduction is completed and the step is applied, or skipped, on all ranks alike.
#include "rondo/optimizer.h"
#include "trainer/check/program_check.h"
#include "trainer/gradient/replica.h"
#include "trainer/init/exception_text.h"
#include "trainer/torch_bridge/errors.h"

namespace rondo {
namespace trainer {
namespace {

std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (...) {
    return current_exception_text().value_or("an exception");
  }
}

}  // namespace

// Note [Caught and continued]
// A rank whose forward or backward threw must not leave the others waiting: it takes part in the step with weight 0,
// its bit in the step record makes all ranks skip it, and one broadcast tells them why. A backward that threw is seen
// by its hooks. A forward that threw is not, unless the step point or zero_grad() is reached inside the catch block,
// where the exception can be asked for; else the program says so by skip_step().
std::optional<std::string> Replica::new_exception_text() {
  const std::exception_ptr now = std::current_exception();
  if (!now || now == seen_exception_) return std::nullopt;
  seen_exception_ = now;
  return current_exception_text();
}

void Replica::look_for_exception() {
  if (const auto cause = new_exception_text()) reducer_->give_up_if_unfinished(*cause);
}

void Replica::throw_seen(const std::exception_ptr& error) {
  seen_exception_ = error;
  std::rethrow_exception(error);
}

Verdict Replica::complete_reduction() {
  try {
    return value_or_throw(reducer_->reach_step_point());
  } catch (...) {
    throw_seen(std::current_exception());
  }
}

// Note [Several optimizers on one wrapper]
// The first that steps completes the reduction. For the others nothing has happened since, and they take its verdict.
// An optimizer that has taken it already stands at the next step point, on a rank whose loss reached no parameter; so
// does one that has cleared its gradients instead, and one that had a backward of its own when there was data.
Verdict Replica::reach_step_point(torch::optim::Optimizer& optimizer) {
  look_for_exception();
  const bool untouched = reducer_->untouched();
  const bool shared =
      untouched && !stepped_.empty() && !stepped_.contains(&optimizer) && !leaders_.contains(&optimizer);
  if (shared) {
    leaders_.erase(&optimizer);
  } else {
    last_verdict_ = complete_reduction();
    stepped_.clear();
    if (!untouched) leaders_.insert(&optimizer);
  }
  stepped_.insert(&optimizer);
  if (last_verdict_ != Verdict::kApply) return last_verdict_;
  if (ProgramCheck* const check = job_->program_check()) check->reached(*this, optimizer);
  if (!shared) job_->count_step();
  return last_verdict_;
}

Verdict Replica::reach_evaluation(torch::optim::Optimizer& optimizer, const std::exception_ptr& failed) {
  if (failed) {
    seen_exception_ = failed;
    reducer_->give_up_if_unfinished(text_of(failed));
  }
  last_verdict_ = complete_reduction();
  stepped_ = {&optimizer};
  if (failed || last_verdict_ != Verdict::kApply) return last_verdict_;
  if (ProgramCheck* const check = job_->program_check()) check->reached(*this, optimizer);
  return last_verdict_;
}

void Replica::before_zero_grad(torch::optim::Optimizer& optimizer) {
  look_for_exception();
  throw_if_error(reducer_->before_zero_grad());
  if (!stepped_.contains(&optimizer)) stepped_.clear();
}

}  // namespace trainer

void DistributedDataParallel::skip_step(const std::string& cause) {
  trainer::throw_if_error(replica_->reducer().give_up(cause));
}

bool DistributedDataParallel::step(torch::optim::Optimizer& optimizer) {
  if (auto* const gate = dynamic_cast<trainer::StepGate*>(&optimizer)) {
    optimizer.step();
    return gate->last_step().applied;
  }
  const bool applied = replica_->reach_step_point(optimizer) == trainer::Verdict::kApply;
  if (applied) optimizer.step();
  return applied;
}

}  // namespace rondo
