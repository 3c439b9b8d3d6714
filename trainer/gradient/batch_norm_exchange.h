/// Where the ranks of a job meet inside synchronised BatchNorms, and at the end of a reduction.
///
/// A rank whose forward or backward threw never comes to the BatchNorms behind; the others would wait there for it, and
/// it for them at the end of the step. So all ranks meet in one row of exchanges of one width: what a rank brings says
/// where it is. Whoever meets a rank that has come to the end throws its cause, catchably; whoever is at the end meets
/// the others again until all are there. Then the ranks' numbers of exchanges agree, and all skip the step together.
///
/// Threading: that of the training thread, or of the backward that it waits for. Shared by all wrappers of a job.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "rondo/comm/group.h"

namespace rondo::trainer {

class BatchNormExchange {
 public:
  explicit BatchNormExchange(const comm::Group& group);
  int world_size() const { return group_.world_size(); }

  /// Makes room for layers of `channels`. On all ranks alike.
  void widen(int64_t channels);

  enum class Place : uint8_t { kEnd, kForward, kBackward };
  /// Collective. `mine`: (N) float64, N at most twice the widest layer's channels and one. Returns (ranks, N). Throws
  /// rondo::Error: a rank has come to the end of the step (it and its cause are named), or to another layer.
  at::Tensor meet(Place place, const at::Tensor& mine);
  /// Collective: returns when all ranks are here. `cause`: why this rank gives the step up; empty when it does not.
  comm::Status end(const std::string& cause);

 private:
  using Row = std::vector<double>;
  Row row(Place place, int64_t count) const;
  comm::Status exchange(Row& mine, Row& all);

  comm::Group group_;
  int64_t width_;  // float64 values that each rank brings
};

}  // namespace rondo::trainer
