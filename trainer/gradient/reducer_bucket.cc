#include "trainer/gradient/reducer_bucket.h"

#include "trainer/torch_bridge/errors.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo {

HookBucket::~HookBucket() = default;
CommHook::~CommHook() = default;

namespace trainer {

void ReducerBucket::mean(const at::Tensor& tensor) {
  const auto shape = gradient_shape(tensor);
  if (!shape || !is_dense(tensor)) {
    throw_if_error(comm::Status(comm::Code::kUnsupported, "a comm hook cannot average " + describe(tensor),
                                {.rank = group_.rank(), .operation = "all_reduce"}));
  }
  kept_.push_back(tensor);
  mean(comm::BufferView{tensor.mutable_data_ptr(), shape->element_count, shape->dtype});
}

void ReducerBucket::mean(comm::BufferView whole) {
  works_.push_back(comm::all_reduce(group_, whole, comm::ReduceOp::kWeightedMean, {.tag = tag_, .weight = weight}));
}

void ReducerBucket::all_gather(const at::Tensor& input, const at::Tensor& output) {
  kept_.push_back(input);
  kept_.push_back(output);
  works_.push_back(comm::all_gather(group_, bytes_of(input), bytes_of(output), {.tag = tag_}));
}

comm::Status ReducerBucket::wait_for_all() {
  for (comm::Work& work : works_) RONDO_TRY(work.wait());
  works_.clear();
  kept_.clear();
  return {};
}

void ReducerBucket::wait() { throw_if_error(wait_for_all()); }

bool ReducerBucket::progress() {
  for (comm::Work& work : works_) {
    if (work.done()) continue;
    work.progress();
    return true;
  }
  return false;
}

}  // namespace trainer
}  // namespace rondo
