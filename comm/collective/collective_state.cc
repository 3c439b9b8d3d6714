#include "comm/collective/collective_state.h"

#include "comm/kernels/kernels.h"

namespace rondo::comm {
namespace {

/// Widens `view` into `into` and returns a view of that.
BufferView widened(const BufferView& view, std::vector<float>& into) {
  into.resize(static_cast<size_t>(view.element_count));
  widen(view.dtype, view.bytes(), into.data(), view.element_count);
  return {into.data(), view.element_count, DType::kFloat32};
}

Binding on_wide_copies(Binding binding, std::vector<float>& data, std::vector<float>& result) {
  binding.data = widened(binding.data, data);
  binding.result = widened(binding.result, result);
  binding.wire = DType::kFloat32;
  return binding;
}

}  // namespace

ScheduledCollective::ScheduledCollective(std::shared_ptr<GroupState> group, std::shared_ptr<const Schedule> schedule,
                                         Binding binding, Descriptor descriptor, std::vector<std::byte> storage,
                                         Sums sums)
    : CollectiveState(std::move(group)),
      storage_(std::move(storage)),
      narrow_(sums == Sums::kInPlace           ? BufferView()
              : binding.result.data != nullptr ? binding.result
                                               : binding.data),
      execution_(std::move(schedule),
                 sums == Sums::kInPlace ? std::move(binding) : on_wide_copies(std::move(binding), wide_, wide_result_),
                 std::move(descriptor)) {}

Progress ScheduledCollective::advance(const Turn& turn) {
  const Progress progress = execution_.advance(turn);
  if (progress == Progress::kDone && narrow_.data != nullptr) {
    narrow(wide_result_.empty() ? wide_.data() : wide_result_.data(), narrow_.dtype, narrow_.bytes(),
           narrow_.element_count);
  }
  return progress;
}

}  // namespace rondo::comm
