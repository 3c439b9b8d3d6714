#include "trainer/gradient/model_agreement.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "rondo/comm/collectives.h"
#include "trainer/torch_bridge/torch_compat.h"

namespace rondo::trainer {
namespace {

using comm::Code;
using comm::Status;

constexpr int64_t kPackedBytes = int64_t{4} << 20;

// FNV-1a: only equal texts need equal sums, and a difference is then looked up in the texts.
int64_t checksum(const std::string& text) {
  uint64_t sum = 14695981039346656037ULL;
  for (const char c : text) sum = (sum ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return static_cast<int64_t>(sum);
}

Status broadcast_bytes(comm::Group& group, comm::BufferView bytes, comm::Root root, const std::string& tag) {
  return comm::broadcast(group, bytes, root, {.tag = tag}).wait();
}

}  // namespace

std::string describe_parameter(const at::Tensor& parameter) {
  std::string text = describe(parameter);
  if (parameter.layout() == at::kStrided && !parameter.is_contiguous()) {
    text += " strides [";
    for (int64_t i = 0; i < parameter.dim(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(parameter.stride(i));
    text += "]";
  }
  return text + (parameter.requires_grad() ? "" : ", frozen");
}

Status compare_models(comm::Group& group, const ModelTable& mine) {
  const std::string text = to_text(mine);
  std::vector<int64_t> summary{checksum(text), std::ssize(text)};
  std::vector<int64_t> summaries(summary.size() * group.world_size());
  RONDO_TRY(comm::all_gather(group, comm::view(summary), comm::view(summaries), {.tag = "model summary"}).wait());
  int64_t longest = 0;
  bool equal = true;
  for (int rank = 0; rank < group.world_size(); ++rank) {
    equal = equal && summaries[2 * rank] == summaries[0] && summaries[2 * rank + 1] == summaries[1];
    longest = std::max(longest, summaries[2 * rank + 1]);
  }
  if (equal) return {};

  std::vector<uint8_t> padded(text.begin(), text.end());
  padded.resize(longest);
  std::vector<uint8_t> all(longest * group.world_size());
  RONDO_TRY(comm::all_gather(group, comm::view(padded), comm::view(all), {.tag = "model table"}).wait());
  const auto table_of = [&](int rank) {
    const auto* begin = reinterpret_cast<const char*>(all.data()) + rank * longest;
    return RankTable{.rank = rank, .table = parse_model_table(std::string(begin, summaries[2 * rank + 1]))};
  };
  const RankTable reference = table_of(0);
  for (int rank = 1; rank < group.world_size(); ++rank) {
    const auto found = difference(reference, table_of(rank));
    if (!found) continue;
    return Status(
        Code::kMismatch,
        "the model differs between ranks: " + *found +
            ". Every rank must build the same model with the same options; does it depend on the rank, its data "
            "or a seed?",
        {.rank = group.rank(), .peer = rank, .operation = "wrap"});
  }
  return {};
}

Status broadcast_tensors(comm::Group& group, const std::vector<NamedTensor>& tensors, const std::string& what,
                         comm::Root root) {
  if (group.world_size() == 1) return {};
  const PlainTensorScope scope;
  std::vector<uint8_t> packed;
  std::vector<at::Tensor> members;  // of `packed`, dense
  const auto flush = [&]() -> Status {
    if (members.empty()) return {};
    RONDO_TRY(broadcast_bytes(group, comm::view(packed), root, what));
    size_t at = 0;
    for (const at::Tensor& member : members) {
      if (member.nbytes() > 0) std::memcpy(member.mutable_data_ptr(), packed.data() + at, member.nbytes());
      at += member.nbytes();
    }
    packed.clear();
    members.clear();
    return {};
  };
  for (const NamedTensor& named : tensors) {
    const bool dense = is_dense(named.tensor);
    const at::Tensor bytes = dense ? named.tensor.detach() : named.tensor.contiguous();
    const auto byte_count = static_cast<int64_t>(bytes.nbytes());
    if (!dense || byte_count > kPackedBytes) {
      RONDO_TRY(broadcast_bytes(group, bytes_of(bytes), root, what + " \"" + named.name + "\""));
      if (!dense) named.tensor.detach().copy_(bytes);
      continue;
    }
    if (std::ssize(packed) + byte_count > kPackedBytes) RONDO_TRY(flush());
    const auto* data = static_cast<const uint8_t*>(bytes.const_data_ptr());
    packed.insert(packed.end(), data, data + byte_count);
    members.push_back(bytes);
  }
  return flush();
}

}  // namespace rondo::trainer
