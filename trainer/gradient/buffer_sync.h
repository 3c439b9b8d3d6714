/// What becomes of a module's buffers (running statistics, counters) at the end of each synced backward, so that an
/// evaluation after the last step finds them equal on all ranks. A rank without data in a step has nothing to say: the
/// others' values count.
///
/// Buffers are written below autograd's version counters: two forwards before one backward stay possible.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "rondo/comm/group.h"
#include "rondo/distributed_data_parallel.h"
#include "trainer/gradient/model_agreement.h"
#include "trainer/step/step_record.h"

namespace rondo::trainer {

class BufferSynchroniser {
 public:
  BufferSynchroniser() = default;
  BufferSynchroniser(const std::vector<NamedTensor>& buffers, const ReplicaOptions& options);

  bool has_work() const { return !broadcast_.empty() || !mean_.empty() || !custom_.empty(); }
  /// Collective, after the step of `agreed`. What a custom reduction throws leaves this.
  comm::Status run(comm::Group& group, const StepRecord& agreed) const;

 private:
  std::vector<NamedTensor> broadcast_, mean_, custom_;
  std::function<void(const std::string& name, const at::Tensor& buffer)> reduce_;
};

}  // namespace rondo::trainer
