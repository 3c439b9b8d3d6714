// Job's tensor collectives, over its user's group.
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include "rondo/comm/collectives.h"
#include "rondo/job.h"
#include "trainer/init/gather.h"
#include "trainer/init/job_state.h"
#include "trainer/torch_bridge/errors.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo {
namespace {

using comm::Code;
using comm::Status;

void refuse(const char* operation, int rank, Code code, const std::string& message) {
  trainer::throw_if_error(Status(code, message, {.rank = rank, .operation = operation}));
}

void check(const char* operation, int rank, const at::Tensor& tensor) {
  if (!tensor.defined()) refuse(operation, rank, Code::kInvalidArgument, "the tensor is undefined");
  if (tensor.requires_grad() && c10::GradMode::is_enabled()) {
    refuse(operation, rank, Code::kInvalidArgument,
           "the tensor requires grad, and autograd does not see collectives; pass tensor.detach()");
  }
  if (!tensor.is_cpu() || tensor.layout() != at::kStrided) {
    refuse(operation, rank, Code::kUnsupported, "only dense CPU tensors travel, not " + trainer::describe(tensor));
  }
}

comm::ReduceOp op_of(Reduction reduction) {
  switch (reduction) {
    case Reduction::kSum:
      return comm::ReduceOp::kSum;
    case Reduction::kMean:
      return comm::ReduceOp::kWeightedMean;
    case Reduction::kMin:
      return comm::ReduceOp::kMin;
    case Reduction::kMax:
      return comm::ReduceOp::kMax;
  }
  return comm::ReduceOp::kSum;
}

}  // namespace

Job::Job(std::shared_ptr<trainer::JobState> state)
    : rank(state->bootstrap().at.rank),
      world_size(state->bootstrap().at.world_size),
      local_rank(state->bootstrap().local_rank),
      state_(std::move(state)) {}

std::string Job::description() const { return state_->bootstrap().describe(); }

std::string Job::transport() const { return state_->user_group().transport(); }

void Job::all_reduce(const at::Tensor& tensor, Reduction reduction) const {
  check("all_reduce", rank, tensor);
  const auto dtype = trainer::comm_dtype(tensor.scalar_type());
  if (!dtype || (reduction == Reduction::kMean && !comm::is_floating(*dtype))) {
    refuse("all_reduce", rank, Code::kUnsupported,
           std::string(reduction == Reduction::kMean ? "no mean of " : "no reduction of ") + trainer::describe(tensor) +
               "; convert it first, for example to(torch::kFloat32)");
  }
  const at::Tensor dense = tensor.detach().contiguous();
  trainer::throw_if_error(
      comm::all_reduce(state_->user_group(), trainer::view_of(dense), op_of(reduction), {.tag = "job"}).wait());
  if (dense.data_ptr() != tensor.data_ptr()) tensor.detach().copy_(dense);
}

void Job::broadcast(const at::Tensor& tensor, int root) const {
  check("broadcast", rank, tensor);
  const at::Tensor dense = tensor.detach().contiguous();
  trainer::throw_if_error(
      comm::broadcast(state_->user_group(), trainer::bytes_of(dense), {.rank = root}, {.tag = "job"}).wait());
  if (dense.data_ptr() != tensor.data_ptr()) tensor.detach().copy_(dense);
}

at::Tensor Job::all_gather(const at::Tensor& tensor) const {
  check("all_gather", rank, tensor);
  const at::Tensor dense = tensor.detach().contiguous();
  std::vector<int64_t> shape = dense.sizes().vec();
  shape.insert(shape.begin(), world_size);
  at::Tensor all = at::empty(shape, dense.options());
  trainer::throw_if_error(
      comm::all_gather(state_->user_group(), trainer::bytes_of(dense), trainer::bytes_of(all), {.tag = "job"}).wait());
  return all;
}

at::Tensor Job::gather(const at::Tensor& rows) const {
  check("gather", rank, rows);
  if (rows.dim() == 0) refuse("gather", rank, Code::kInvalidArgument, "a scalar has no rows; reshape({1}) makes one");
  return trainer::gather_rows(*this, rows).rows;
}

void Job::barrier() const { trainer::throw_if_error(comm::barrier(state_->user_group(), {.tag = "job"}).wait()); }

void Job::abort(const std::string& reason) const { state_->abort(reason); }

void Job::log(LogLevel level, const std::string& line) const { state_->log(level, line); }

double Job::sum(double metric) const {
  std::vector<double> value{metric};
  trainer::throw_if_error(
      comm::all_reduce(state_->user_group(), comm::view(value), comm::ReduceOp::kSum, {.tag = "metric"}).wait());
  return value.front();
}

int64_t Job::sum_int64(int64_t metric) const {
  std::vector<int64_t> value{metric};
  trainer::throw_if_error(
      comm::all_reduce(state_->user_group(), comm::view(value), comm::ReduceOp::kSum, {.tag = "metric"}).wait());
  return value.front();
}

}  // namespace rondo
