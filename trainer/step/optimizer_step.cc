// The step point: where a reduction is completed and the step is applied, or skipped, on all ranks alike.
#include "rondo/optimizer.h"
#include "trainer/gradient/replica.h"
#include "trainer/torch_bridge/errors.h"

namespace rondo {
namespace trainer {

Verdict reach_step_point(Replica& replica) {
  const Verdict verdict = value_or_throw(replica.reducer().reach_step_point());
  if (verdict == Verdict::kApply) replica.job().count_step();
  return verdict;
}

void before_zero_grad(Replica& replica) { throw_if_error(replica.reducer().before_zero_grad()); }

}  // namespace trainer

void DistributedDataParallel::step(torch::optim::Optimizer& optimizer) {
  const bool steps_itself = dynamic_cast<trainer::ReachesStepPoint*>(&optimizer) != nullptr;
  if (steps_itself || trainer::reach_step_point(*replica_) == trainer::Verdict::kApply) optimizer.step();
}

}  // namespace rondo
