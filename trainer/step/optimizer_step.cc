// The step point: where a reduction is completed and the step is applied, or skipped, on all ranks alike.
#include "rondo/optimizer.h"
#include "trainer/gradient/replica.h"
#include "trainer/init/exception_text.h"
#include "trainer/torch_bridge/errors.h"

namespace rondo {
namespace trainer {

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

Verdict reach_step_point(Replica& replica) {
  if (const auto cause = replica.new_exception_text()) replica.reducer().give_up_if_unfinished(*cause);
  const Verdict verdict = value_or_throw(replica.reducer().reach_step_point());
  if (verdict == Verdict::kApply) replica.job().count_step();
  return verdict;
}

void before_zero_grad(Replica& replica) {
  if (const auto cause = replica.new_exception_text()) replica.reducer().give_up_if_unfinished(*cause);
  throw_if_error(replica.reducer().before_zero_grad());
}

}  // namespace trainer

void DistributedDataParallel::skip_step(const std::string& cause) { replica_->reducer().give_up(cause); }

void DistributedDataParallel::step(torch::optim::Optimizer& optimizer) {
  const bool steps_itself = dynamic_cast<trainer::ReachesStepPoint*>(&optimizer) != nullptr;
  if (steps_itself || trainer::reach_step_point(*replica_) == trainer::Verdict::kApply) optimizer.step();
}

}  // namespace rondo
