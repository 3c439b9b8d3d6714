#include "rondo/replica_state.h"

#include <torch/serialize/archive.h>

#include <map>
#include <sstream>
#include <utility>

#include "rondo/comm/collectives.h"
#include "trainer/gradient/model_agreement.h"
#include "trainer/init/job_state.h"
#include "trainer/step/state_slots.h"
#include "trainer/torch_bridge/errors.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo {
namespace {

using trainer::throw_if_error;

/// Rank 0's text for everybody. An empty one means that rank 0 failed.
void broadcast_text(comm::Group& group, std::string& text, const std::string& what) {
  std::vector<int64_t> byte_count{static_cast<int64_t>(text.size())};
  throw_if_error(comm::broadcast(group, comm::view(byte_count), {.rank = 0}, {.tag = what + ", size"}).wait());
  text.resize(static_cast<size_t>(byte_count[0]));
  const comm::BufferView bytes{text.data(), byte_count[0], comm::DType::kUInt8};
  throw_if_error(comm::broadcast(group, bytes, {.rank = 0}, {.tag = what}).wait());
}

trainer::ModelTable table_of(const torch::optim::Optimizer& optimizer) {
  trainer::ModelTable table;
  for (size_t g = 0; g < optimizer.param_groups().size(); ++g) {
    const auto& parameters = optimizer.param_groups()[g].params();
    for (size_t i = 0; i < parameters.size(); ++i) {
      table.push_back({.kind = "optimizer",
                       .name = "group " + std::to_string(g) + ", parameter " + std::to_string(i),
                       .what = trainer::describe(parameters[i])});
    }
  }
  return table;
}

using Slots = trainer::StateSlots;

std::string encode(const Slots& slots) {
  std::string text;
  for (const auto& [slot, value] : slots) text += slot + '\t' + value + '\n';
  return text;
}

Slots decode(std::string_view text) {
  Slots slots;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    const size_t tab = line.find('\t');
    if (tab != std::string::npos) slots[line.substr(0, tab)] = line.substr(tab + 1);
  }
  return slots;
}

std::map<std::string, std::vector<int>> compare(const std::vector<Slots>& ranks) {
  std::map<std::string, std::vector<int>> different;
  for (size_t rank = 1; rank < ranks.size(); ++rank) {
    Slots all = ranks[0];
    all.insert(ranks[rank].begin(), ranks[rank].end());
    for (const auto& [slot, value] : all) {
      const auto here = ranks[0].find(slot), there = ranks[rank].find(slot);
      const bool equal = here != ranks[0].end() && there != ranks[rank].end() && here->second == there->second;
      if (!equal) different[slot].push_back(static_cast<int>(rank));
    }
  }
  return different;
}

}  // namespace

void broadcast(const Job& job, torch::optim::Optimizer& optimizer) {
  comm::Group& group = job.state()->user_group();
  throw_if_error(trainer::compare_models(group, table_of(optimizer)));
  std::string bytes;
  std::exception_ptr failure;
  if (job.rank == 0) {
    try {
      bytes = trainer::saved(optimizer);
    } catch (...) {  // the others wait already
      failure = std::current_exception();
    }
  }
  broadcast_text(group, bytes, "optimizer state");
  if (failure) std::rethrow_exception(failure);
  if (bytes.empty()) {
    throw Error("broadcast: rank 0 could not save its optimizer's state; its own error says why",
                {.exit_code = ExitCode::kFailure, .culprit_rank = 0, .code = "exception"});
  }
  if (job.rank == 0) return;
  std::istringstream stream(bytes);
  torch::serialize::InputArchive archive;
  archive.load_from(stream);
  optimizer.state().clear();
  optimizer.load(archive);
}

std::vector<StateDifference> state_differences(const Job& job, const torch::nn::Module& module,
                                               const torch::optim::Optimizer& optimizer) {
  comm::Group& group = job.state()->user_group();
  const std::string mine = encode(trainer::state_slots(module, {&optimizer}));
  auto blobs = comm::gather(group, std::as_bytes(std::span(mine)), {.rank = 0}, comm::in_seconds(60), {.tag = "state"});
  throw_if_error(blobs.status());
  std::string found = "\n";
  if (job.rank == 0) {
    std::vector<Slots> ranks;
    for (const auto& blob : *blobs) ranks.push_back(decode({reinterpret_cast<const char*>(blob.data()), blob.size()}));
    for (const auto& [slot, which] : compare(ranks)) {
      found += slot + '\t';
      for (const int rank : which) found += std::to_string(rank) + ' ';
      found += '\n';
    }
  }
  broadcast_text(group, found, "differences of state");
  std::vector<StateDifference> differences;
  for (const auto& [slot, ranks] : decode(found)) {
    StateDifference difference{.slot = slot, .ranks = {}};
    std::istringstream numbers(ranks);
    for (int rank = 0; numbers >> rank;) difference.ranks.push_back(rank);
    differences.push_back(std::move(difference));
  }
  return differences;
}

}  // namespace rondo
