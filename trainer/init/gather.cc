#include "trainer/init/gather.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <string>

#include "rondo/comm/collectives.h"
#include "trainer/init/job_state.h"
#include "trainer/torch_bridge/errors.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo {
namespace trainer {
namespace {

constexpr size_t kMostDimensions = 14;
/// Rows, dtype, dimensions, then the extents behind the first.
constexpr size_t kNumbers = 3 + kMostDimensions;
using Form = std::array<int64_t, kNumbers>;

std::string text_of(const Form& form) {
  std::string text = dtype_name(static_cast<at::ScalarType>(form[1])) + " [rows";
  for (int64_t i = 1; i < form[2]; ++i) text += ", " + std::to_string(form[2 + static_cast<size_t>(i)]);
  return text + "]";
}

}  // namespace

GatheredRows gather_rows(const Job& job, const at::Tensor& rows) {
  if (rows.dim() - 1 > static_cast<int64_t>(kMostDimensions)) {
    throw_if_error(comm::Status(comm::Code::kUnsupported,
                                "rows of " + std::to_string(rows.dim() - 1) + " dimensions; at most " +
                                    std::to_string(kMostDimensions) + ", flatten() them first",
                                {.rank = job.rank, .operation = "gather"}));
  }
  const auto world_size = static_cast<size_t>(job.world_size);
  comm::Group& group = job.state()->user_group();
  std::vector<Form> mine(1), all(world_size);
  mine[0].fill(0);
  mine[0][0] = rows.size(0);
  mine[0][1] = static_cast<int64_t>(rows.scalar_type());
  mine[0][2] = rows.dim();
  std::copy(rows.sizes().begin() + 1, rows.sizes().end(), mine[0].begin() + 3);
  const auto view = [](std::vector<Form>& forms) {
    return comm::BufferView{forms.data(), static_cast<int64_t>(forms.size() * kNumbers), comm::DType::kInt64};
  };
  throw_if_error(comm::all_gather(group, view(mine), view(all), {.tag = "job.gather, shapes"}).wait());
  GatheredRows gathered;
  int64_t most = 0;
  for (size_t rank = 0; rank < world_size; ++rank) {
    if (!std::equal(all[rank].begin() + 1, all[rank].end(), all[0].begin() + 1)) {
      throw_if_error(comm::Status(comm::Code::kMismatch,
                                  "rank 0 has " + text_of(all[0]) + ", rank " + std::to_string(rank) + " has " +
                                      text_of(all[rank]) + "; only the number of rows may differ",
                                  {.rank = job.rank, .peer = static_cast<int>(rank), .operation = "gather"}));
    }
    gathered.counts.push_back(all[rank][0]);
    most = std::max(most, all[rank][0]);
  }
  // Every rank sends as many rows as the longest.
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = most;
  at::Tensor padded = at::zeros(shape, rows.options().requires_grad(false));
  padded.narrow(0, 0, rows.size(0)).copy_(rows.detach());
  const at::Tensor together = job.all_gather(padded);
  std::vector<at::Tensor> parts;
  for (size_t rank = 0; rank < world_size; ++rank)
    parts.push_back(together[static_cast<int64_t>(rank)].narrow(0, 0, gathered.counts[rank]));
  gathered.rows = at::cat(parts);
  return gathered;
}

}  // namespace trainer

}  // namespace rondo
