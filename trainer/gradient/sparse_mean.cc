#include "trainer/gradient/sparse_mean.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <vector>

#include "rondo/comm/collectives.h"
#include "trainer/torch_bridge/tensor_view.h"
#include "trainer/torch_bridge/torch_compat.h"

namespace rondo::trainer {
namespace {

/// indices: (D, nnz) int64; values: (nnz, ...).
struct Entries {
  at::Tensor indices, values;
};

Entries entries_of(const SparseOperand& mine, const at::Tensor& parameter) {
  if (!mine.gradient.defined() || mine.weight == 0) {
    std::vector<int64_t> shape = parameter.sizes().vec();
    shape[0] = 0;
    return {at::empty({1, 0}, at::kLong), at::empty(shape, parameter.options())};
  }
  const at::Tensor sparse =
      (mine.gradient.is_sparse() ? mine.gradient : mine.gradient.to_sparse(/*sparse_dim=*/1)).coalesce();
  return {sparse.indices(), sparse.values()};
}

/// `rows` rows, those of `tensor` first.
at::Tensor padded(const at::Tensor& tensor, int64_t rows) {
  std::vector<int64_t> shape = tensor.sizes().vec();
  shape[0] = rows;
  at::Tensor all = at::zeros(shape, tensor.options());
  all.narrow(0, 0, tensor.size(0)).copy_(tensor);
  return all;
}

comm::Result<at::Tensor> gathered(comm::Group& group, const at::Tensor& mine, const std::string& tag) {
  std::vector<int64_t> shape = mine.sizes().vec();
  shape.insert(shape.begin(), group.world_size());
  at::Tensor all = at::empty(shape, mine.options());
  RONDO_TRY(comm::all_gather(group, bytes_of(mine), bytes_of(all), {.tag = tag}).wait());
  return all;
}

}  // namespace

comm::Result<at::Tensor> sparse_mean(comm::Group& group, const SparseOperand& mine, const at::Tensor& parameter,
                                     const std::string& tag) {
  const PlainTensorScope scope;
  const Entries entries = entries_of(mine, parameter);
  std::vector<double> summary{static_cast<double>(entries.values.size(0)), mine.weight};
  std::vector<double> summaries(summary.size() * static_cast<size_t>(group.world_size()));
  RONDO_TRY(comm::all_gather(group, comm::view(summary), comm::view(summaries), {.tag = tag + " summary"}).wait());
  int64_t most = 0;
  double weight = 0;
  for (int rank = 0; rank < group.world_size(); ++rank) {
    most = std::max(most, static_cast<int64_t>(summaries[2 * rank]));
    weight += summaries[2 * rank + 1];
  }
  auto indices = gathered(group, padded(entries.indices.t(), most), tag + " indices");
  RONDO_TRY(indices.status());
  auto values = gathered(group, padded(entries.values, most), tag + " values");
  RONDO_TRY(values.status());

  std::vector<at::Tensor> all_indices, all_values;  // of ranks, in order
  for (int rank = 0; rank < group.world_size(); ++rank) {
    const auto count = static_cast<int64_t>(summaries[2 * rank]);
    all_indices.push_back((*indices)[rank].narrow(0, 0, count).t());
    all_values.push_back((*values)[rank].narrow(0, 0, count));
  }
  at::Tensor sum = at::sparse_coo_tensor(at::cat(all_indices, 1), at::cat(all_values), parameter.sizes(),
                                         parameter.options().layout(at::kSparse))
                       .coalesce();
  if (weight > 0) sum.values().div_(weight);
  return sum;
}

}  // namespace rondo::trainer
