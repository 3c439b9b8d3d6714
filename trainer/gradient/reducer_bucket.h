/// A launched bucket: its collectives in flight, and its face to a comm hook.
#pragma once

#include <functional>
#include <vector>

#include "rondo/comm/collectives.h"
#include "rondo/comm_hook.h"
#include "trainer/gradient/buckets.h"

namespace rondo::trainer {

class ReducerBucket final : public HookBucket {
 public:
  ReducerBucket(comm::Group& group, std::string tag) : group_(group), tag_(std::move(tag)) {}

  void mean(const at::Tensor& tensor) override;
  void all_gather(const at::Tensor& input, const at::Tensor& output) override;
  void wait() override;
  int world_size() const override { return group_.world_size(); }

  /// Without a hook: the bucket as it is.
  void mean(comm::BufferView whole);
  comm::Status wait_for_all();
  /// Moves one segment of what is in flight; false when nothing is.
  bool progress();

 private:
  comm::Group& group_;
  std::string tag_;
  std::vector<comm::Work> works_;
  std::vector<at::Tensor> kept_;  // alive as long as their works
};

}  // namespace rondo::trainer
