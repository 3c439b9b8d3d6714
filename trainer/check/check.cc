// Each rank looks at itself and writes a report; rank 0 gets all, puts them together and gives every rank the outcome.
#include "rondo/check.h"

#include <algorithm>
#include <span>
#include <vector>

#include "rondo/comm/collectives.h"
#include "rondo/sampler.h"
#include "trainer/check/lints.h"
#include "trainer/check/look.h"
#include "trainer/check/model_record.h"
#include "trainer/check/rank_report.h"
#include "trainer/checkpoint/hash.h"
#include "trainer/gradient/replica.h"
#include "trainer/step/state_slots.h"
#include "trainer/torch_bridge/errors.h"
#include "trainer/torch_bridge/generator_state.h"

namespace rondo {
namespace trainer {
namespace {

constexpr double kSecondsForRanks = 120;  // for the slowest rank's forward, backward and hashes

void append(std::vector<Finding>& to, const std::vector<Finding>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

/// Whether a rank may have its own value there: "exp_avg of \"embedding.weight\"".
bool is_own(const std::string& slot, const ReplicaOptions& options) {
  const size_t begin = slot.find('"'), end = slot.rfind('"');
  if (begin == end) return false;
  const std::string name = slot.substr(begin + 1, end - begin - 1);
  const auto lies_in = [&](const std::string& path) { return is_in(name, path); };
  if (std::ranges::any_of(options.ignore, lies_in)) return true;
  if (!slot.starts_with("buffer ")) return false;
  BufferSync sync = options.buffers;
  for (const auto& [path, exception] : options.buffers_of) {
    if (lies_in(path)) sync = exception;
  }
  return sync == BufferSync::kNone;
}

void add_facts(const Replica& replica, const CheckSubject& subject, std::vector<Fact>& facts) {
  const std::vector<const torch::optim::Optimizer*> optimizers(subject.optimizers.begin(), subject.optimizers.end());
  for (const auto& [slot, value] : state_slots(replica.module(), optimizers)) {
    if (!is_own(slot, replica.options())) facts.push_back({.kind = Fact::Kind::kState, .name = slot, .value = value});
  }
  const auto setting = [&](const std::string& name, const std::string& value) {
    facts.push_back({.kind = Fact::Kind::kSetting, .name = name, .value = value});
  };
  setting("number of optimizers", std::to_string(optimizers.size()));
  for (const auto& [name, value] : subject.equal) setting(name, std::to_string(value));
  if (subject.sampler == nullptr) return;
  const SamplerPosition at = subject.sampler->position();
  setting("seed of the sampler", std::to_string(at.seed));
  setting("epoch of the sampler", std::to_string(at.epoch));
  facts.push_back({.kind = Fact::Kind::kSampleCount,
                   .name = "samples of an epoch",
                   .value = std::to_string(subject.sampler->size())});
}

void add_trial(const CheckedModel& model, const Trial& trial, const std::vector<Finding>& orphans, RankReport& report) {
  append(report.findings, lint_reach(model, trial, orphans));
  append(report.findings, lint_order(model, trial));
  if (!trial.failure.empty()) return;
  std::string order;
  for (const size_t index : trial.arrivals) order += model.trainable[index].name + " ";
  report.facts.push_back({.kind = Fact::Kind::kArrivalOrder, .name = "order", .value = order});
  if (!trial.drew) return;
  const at::Tensor state = state_of(default_generator());
  FastHash hash;
  hash.add({static_cast<const std::byte*>(state.const_data_ptr()), state.nbytes()});
  report.facts.push_back({.kind = Fact::Kind::kGenerator, .name = "default generator", .value = hash.hex()});
}

/// What a backward of the program's own has shown.
Trial as_trial(const CheckedModel& model, const std::vector<at::Tensor>& reached) {
  Trial trial;
  for (const at::Tensor& tensor : reached) {
    const auto at =
        std::ranges::find_if(model.trainable, [&](const auto& each) { return each.tensor.is_same(tensor); });
    if (at != model.trainable.end()) trial.arrivals.push_back(static_cast<size_t>(at - model.trainable.begin()));
  }
  return trial;
}

RankReport look(Replica& replica, const CheckSubject& subject, const std::vector<at::Tensor>* reached) {
  RankReport report;
  const CheckedModel model(replica.module(), replica.options(), subject);
  append(report.findings, changes({.before = replica.record(), .now = record_of(replica.module())}));
  append(report.findings, lint_optimizers(model));
  const std::vector<Finding> orphans = lint_layers(model);
  append(report.findings, orphans);
  append(report.findings, lint_memory(model));
  add_facts(replica, subject, report.facts);
  if (reached != nullptr) add_trial(model, as_trial(model, *reached), orphans, report);
  if (!subject.loss) return report;
  std::vector<at::Tensor> parameters;
  for (const GradientParameter& parameter : model.trainable) parameters.push_back(parameter.tensor);
  const Trial trial =
      try_out(replica.job(), {.module = replica.module(), .parameters = parameters, .loss = subject.loss});
  add_trial(model, trial, orphans, report);
  return report;
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Findings exchange(comm::Group& group, const RankReport& mine) {
  const std::string text = encode(mine);
  const auto reports = value_or_throw(
      comm::gather(group, bytes_of(text), {.rank = 0}, comm::in_seconds(kSecondsForRanks), {.tag = "check"}));
  std::vector<std::vector<std::byte>> answers;
  if (group.rank() == 0) {
    std::vector<RankReport> all;
    for (const auto& report : reports) all.push_back(decode_rank_report(text_of(report)));
    const std::string found = encode(merge(all));
    const auto bytes = bytes_of(found);
    answers.assign(all.size(), {bytes.begin(), bytes.end()});
  }
  return decode_findings(text_of(value_or_throw(
      comm::scatter(group, answers, {.rank = 0}, comm::in_seconds(kSecondsForRanks), {.tag = "findings"}))));
}

}  // namespace

Findings look_at(Replica& replica, const CheckSubject& subject, const std::vector<at::Tensor>& reached) {
  return exchange(replica.job().user_group(), look(replica, subject, &reached));
}

}  // namespace trainer

Findings check(const Job& job, const DistributedDataParallel& ddp, const CheckSubject& subject) {
  return trainer::exchange(job.state()->user_group(), trainer::look(*ddp.replica(), subject, nullptr));
}

}  // namespace rondo
