#include "trainer/check/program_check.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "rondo/error.h"
#include "trainer/check/look.h"

namespace rondo::trainer {
namespace {

constexpr int kSteps = 2;             // before the second look
constexpr int kMostStepPoints = 100;  // of all models; a model that is not stepped by then is not waited for

}  // namespace

struct ProgramCheck::Watched {
  Replica* replica = nullptr;                              // null when it is gone
  std::vector<torch::optim::Optimizer*> step_points = {};  // whose it was, in order; only the last ones surely live
  std::vector<at::Tensor> ever_reached = {};               // by some backward on this rank
  Findings findings = {};                                  // of the last look
  int looks = 0;
  bool done = false;
};

ProgramCheck::ProgramCheck(JobState& job, std::string folder) : job_(job), folder_(std::move(folder)) { write(false); }

ProgramCheck::~ProgramCheck() = default;

ProgramCheck::Watched& ProgramCheck::of(const Replica& replica) {
  return *std::ranges::find(watched_, &replica, &Watched::replica);
}

void ProgramCheck::wrapped(Replica& replica) {
  watched_.push_back({.replica = &replica});
  write(false);
}

void ProgramCheck::gone(Replica& replica) { of(replica).replica = nullptr; }

// An optimizer that was seen before may be destroyed. Those that were seen since this one's last step point take turns
// with it; they are taken to live as long as it does.
std::vector<torch::optim::Optimizer*> ProgramCheck::note_step(Watched& watched, torch::optim::Optimizer& optimizer) {
  auto& seen = watched.step_points;
  std::vector<torch::optim::Optimizer*> turn{&optimizer};
  const auto before = std::ranges::find(seen.rbegin(), seen.rend(), &optimizer);
  if (before != seen.rend()) {
    for (auto other = before.base(); other != seen.end(); ++other)
      if (std::ranges::find(turn, *other) == turn.end()) turn.push_back(*other);
  }
  seen.push_back(&optimizer);
  return turn;
}

void ProgramCheck::reached(Replica& replica, torch::optim::Optimizer& optimizer) {
  Watched& watched = of(replica);
  ++step_points_;
  const auto optimizers = note_step(watched, optimizer);
  std::vector<at::Tensor> order = replica.reducer().reached();
  const auto among = [](const std::vector<at::Tensor>& list, const at::Tensor& tensor) {
    return std::ranges::any_of(list, [&](const at::Tensor& each) { return each.is_same(tensor); });
  };
  for (const at::Tensor& tensor : watched.ever_reached)
    if (!among(order, tensor)) order.push_back(tensor);
  watched.ever_reached = std::move(order);

  const bool first = watched.looks == 0;
  const bool last = !watched.done && std::ranges::count(watched.step_points, &optimizer) > kSteps;
  if (first || last) look(watched, optimizers);
  if (last) watched.done = true;
  if (first || last) write(enough());
  if (enough()) end();
}

void ProgramCheck::look(Watched& watched, std::vector<torch::optim::Optimizer*> optimizers) {
  CheckSubject subject{.optimizers = std::move(optimizers)};
  for (const Watched& other : watched_)
    if (other.replica != nullptr && other.replica != watched.replica)
      subject.other_modules.push_back(&other.replica->module());
  watched.findings = look_at(*watched.replica, subject, watched.ever_reached);
  ++watched.looks;
}

bool ProgramCheck::enough() const {
  const bool errors = std::ranges::any_of(watched_, [](const Watched& each) { return each.findings.any_errors(); });
  const bool all_done =
      std::ranges::all_of(watched_, [](const Watched& each) { return each.done || each.replica == nullptr; });
  return errors || all_done || step_points_ >= kMostStepPoints;
}

void ProgramCheck::write(bool complete) const {
  if (job_.bootstrap().at.rank != 0) return;
  using Json = nlohmann::ordered_json;
  Json json{
      {"schema", 1}, {"world_size", job_.bootstrap().at.world_size}, {"complete", complete}, {"models", Json::array()}};
  for (const Watched& each : watched_)
    json["models"].push_back({{"looks", each.looks},
                              {"done", each.done},
                              {"errors", each.findings.count(Severity::kError)},
                              {"text", each.findings.text()},
                              {"check", Json::parse(each.findings.json())}});
  const std::string path = folder_ + "/check.json", fresh = path + ".new";
  std::ofstream(fresh) << json.dump(-1, ' ', false, Json::error_handler_t::replace) << std::flush;
  std::error_code error;
  std::filesystem::rename(fresh, path, error);
  if (error)
    throw Error("RONDO_CHECK: cannot write " + path + " (" + error.message() + "); it names a folder that exists",
                ExitCode::kPreflight);
}

// Not by exit(): threads of the program may still use what that would destroy.
void ProgramCheck::end() {
  for (const Watched& each : watched_)
    if (each.replica != nullptr) each.replica->reducer().close(Reducer::Ending::kInOrder);
  job_.leave();
  std::fflush(nullptr);
  std::_Exit(0);
}

}  // namespace rondo::trainer
