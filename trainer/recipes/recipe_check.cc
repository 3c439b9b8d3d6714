#include "trainer/recipes/recipe_check.h"

#include "rondo/error.h"

namespace rondo::trainer {

Findings check_training(const CheckedTraining& training) {
  constexpr int64_t kSteps = 2;
  const auto look = [&](int64_t step) {
    return rondo::check(training.job, training.ddp,
                        {.optimizers = {&training.optimizer},
                         .loss = [&, step] { return training.loss(step); },
                         .equal = training.equal});
  };
  const Findings before = look(0);
  if (before.any_errors()) return before;
  for (int64_t step = 0; step < kSteps; ++step) {
    training.prepare(step);
    training.loss(step).backward();
    training.optimizer.step();
  }
  return look(kSteps);
}

void refuse_errors(const Findings& findings, const std::string& recipe) {
  const int errors = findings.count(Severity::kError);
  if (errors == 0) return;
  throw Error("the check of " + recipe + " found " + std::to_string(errors) + (errors == 1 ? " error" : " errors"),
              ExitCode::kPreflight);
}

}  // namespace rondo::trainer
