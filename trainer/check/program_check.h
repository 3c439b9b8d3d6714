/// `rondo doctor --program` inside the program: looks at its training at the first step point and after two steps, for
/// some mistakes show only then, writes what it finds, and ends the program on all ranks alike.
///
/// Threading: the thread that trains. Only where RONDO_CHECK is set.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

#include <string>
#include <vector>

#include "rondo/findings.h"
#include "trainer/init/job_state.h"

namespace rondo::trainer {

class Replica;

class ProgramCheck {
 public:
  /// Rank 0 keeps `folder`/check.json at what is known so far: programs may end whenever they like.
  ProgramCheck(JobState& job, std::string folder);
  ~ProgramCheck();
  ProgramCheck(const ProgramCheck&) = delete;
  ProgramCheck& operator=(const ProgramCheck&) = delete;

  void wrapped(Replica& replica);
  /// Its wrapper is destroyed.
  void gone(Replica& replica);
  /// Collective: gradients are averaged, `optimizer` is about to step. Ends the process, with code 0, when enough was
  /// seen or an error is found. Throws rondo::Error as check() does.
  void reached(Replica& replica, torch::optim::Optimizer& optimizer);

 private:
  struct Watched;
  Watched& of(const Replica& replica);
  std::vector<torch::optim::Optimizer*> note_step(Watched& watched, torch::optim::Optimizer& optimizer);
  void look(Watched& watched, std::vector<torch::optim::Optimizer*> optimizers);
  bool enough() const;
  void write(bool complete) const;
  [[noreturn]] void end();

  JobState& job_;
  const std::string folder_;
  std::vector<Watched> watched_;  // in the order of wrapping
  int step_points_ = 0;
};

}  // namespace rondo::trainer
