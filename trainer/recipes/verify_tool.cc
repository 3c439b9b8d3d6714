#include "trainer/recipes/verify_tool.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "rondo/error.h"
#include "rondo/verify.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/safetensors.h"
#include "trainer/checkpoint/tensor_records.h"

namespace rondo::trainer {
namespace {

namespace fs = std::filesystem;

struct EndOfRun {
  int world_size = 1;
  TrainedState state;
  std::vector<double> losses;  // an epoch each, over all samples
  std::vector<StateDifference> replicas;
};

/// By the hashes of all parameters that each rank left in the run's summary.
std::vector<StateDifference> replica_differences(const fs::path& summary) {
  std::ifstream file(summary);
  const auto content = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  const auto hashes =
      content.is_object() ? content.value("params_hash", std::vector<std::string>()) : std::vector<std::string>();
  if (hashes.empty()) throw Error(summary.string() + " has no params_hash: the run did not end", ExitCode::kCorrupt);
  StateDifference parameters{.slot = "parameters", .ranks = {}};
  for (size_t rank = 1; rank < hashes.size(); ++rank) {
    if (hashes[rank] != hashes[0]) parameters.ranks.push_back(static_cast<int>(rank));
  }
  return parameters.ranks.empty() ? std::vector<StateDifference>() : std::vector{parameters};
}

/// "state.fc1.weight.momentum_buffer" -> "momentum_buffer of \"fc1.weight\""; "step.fc1.weight" -> "step of ...";
/// "group.0.lr" -> "lr of group 0".
std::string slot_of(const std::string& name) {
  const size_t first = name.find('.'), last = name.rfind('.');
  const std::string inner = name.substr(first + 1, last - first - 1);
  if (name.starts_with("state.")) return name.substr(last + 1) + " of \"" + inner + "\"";
  if (name.starts_with("group.")) return name.substr(last + 1) + " of group " + inner;
  return name.substr(0, first) + " of \"" + name.substr(first + 1) + "\"";
}

EndOfRun read_run(const fs::path& folder) {
  const Checkpoint checkpoint = newest_valid_checkpoint(folder / "checkpoints").checkpoint;
  EndOfRun end{.world_size = checkpoint.manifest.world_size,
               .state = {},
               .losses = {},
               .replicas = replica_differences(folder / "summary.json")};
  const auto model = SafetensorsFile::read(checkpoint.folder / kModelFile);
  for (const TensorRecord& record : model.tensors()) {
    end.state.tensors["parameter \"" + record.name + "\""] = to_tensor(record);
  }
  const auto optimizer = SafetensorsFile::read(checkpoint.folder / kOptimizerFile);
  for (const TensorRecord& record : optimizer.tensors()) end.state.tensors[slot_of(record.name)] = to_tensor(record);
  std::ifstream metrics(folder / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    const auto record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (record.is_object() && record.value("kind", "") == "epoch") end.losses.push_back(record.value("loss", 0.0));
  }
  return end;
}

std::string json_of(const VerifyReport& report) {
  nlohmann::ordered_json variants = nlohmann::ordered_json::array(), slots = nlohmann::ordered_json::array();
  for (const VariantResult& variant : report.variants) {
    variants.push_back({{"what", variant.what},
                        {"equal", variant.first_difference.empty()},
                        {"first_difference", variant.first_difference}});
  }
  for (const SlotDistance& slot : report.against_one) {
    slots.push_back({{"slot", slot.slot},
                     {"ulp", slot.ulp},
                     {"element", slot.element},
                     {"relative", slot.relative},
                     {"rounding", slot.rounding},
                     {"is_rounding", slot.is_rounding()}});
  }
  const nlohmann::ordered_json all{{"passed", report.passed()},
                                   {"world_size", report.world_size},
                                   {"replicas_equal", report.replicas.empty()},
                                   {"variants", variants},
                                   {"against_one", slots},
                                   {"losses", report.losses},
                                   {"losses_of_one", report.losses_of_one}};
  return all.dump(2) + "\n";
}

}  // namespace

int run_verify_tool(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = arguments;
  const bool json = std::erase(words, "--json") > 0;
  if (words.size() < 3) throw Error("expected FOLDER REFERENCE ONE VARIANT...", ExitCode::kUsage);
  const fs::path folder = words[0];
  const EndOfRun together = read_run(folder / words[1]), alone = read_run(folder / words[2]);
  VerifyReport report{.world_size = together.world_size,
                      .replicas = together.replicas,
                      .variants = {},
                      .against_one = distances(together.state, alone.state),
                      .losses = together.losses,
                      .losses_of_one = alone.losses};
  for (size_t i = 3; i < words.size(); ++i) {
    report.variants.push_back(
        {.what = words[i], .first_difference = first_difference(read_run(folder / words[i]).state, together.state)});
  }
  std::fputs((json ? json_of(report) : report.text()).c_str(), stdout);
  return report.passed() ? 0 : static_cast<int>(ExitCode::kDiverged);
}

}  // namespace rondo::trainer
