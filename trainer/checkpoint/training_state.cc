// What can be added to a TrainingState, each as a Part.
#include <ATen/ops/scalar_tensor.h>

#include <algorithm>
#include <utility>

#include "rondo/error.h"
#include "rondo/training_state.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/checkpoint/part_file.h"
#include "trainer/torch_bridge/generator_state.h"
#include "trainer/torch_bridge/tensor_view.h"

namespace rondo {
namespace {

at::Tensor number(double value) { return at::scalar_tensor(value, at::kDouble); }
at::Tensor number(int64_t value) { return at::scalar_tensor(value, at::kLong); }

[[noreturn]] void misfit(const std::string& part, const std::string& what) {
  throw Error("part \"" + part + "\" of the checkpoint does not fit: " + what, ExitCode::kCorrupt);
}

/// Reads what one part holds; complaints name it.
class Reader {
 public:
  Reader(std::string part, const PartContent& content) : part_(std::move(part)), content_(content) {}

  const at::Tensor& tensor(const std::string& name) const {
    const auto found = content_.tensors.find(name);
    if (found == content_.tensors.end()) misfit(part_, "it has no \"" + name + "\"");
    return found->second;
  }
  double real(const std::string& name) const { return scalar(name, at::kDouble).item<double>(); }
  int64_t integer(const std::string& name) const { return scalar(name, at::kLong).item<int64_t>(); }

 private:
  const at::Tensor& scalar(const std::string& name, at::ScalarType type) const {
    const at::Tensor& found = tensor(name);
    if (found.dim() != 0 || found.scalar_type() != type)
      misfit(part_, "\"" + name + "\" is " + trainer::describe(found) + ", no number");
    return found;
  }
  const std::string part_;
  const PartContent& content_;
};

PartContent content_of(const Plateau::State& state) {
  return {.tensors = {{"best", number(state.best)}, {"bad", number(state.bad)}, {"cooling", number(state.cooling)}},
          .texts = {}};
}
Plateau::State plateau_state(const Reader& reader) {
  return {.best = reader.real("best"), .bad = reader.integer("bad"), .cooling = reader.integer("cooling")};
}

/// Texts of an average that are not averages.
constexpr const char* kUpdates = "updates";

PartContent content_of_safetensors(std::vector<std::byte> content, const std::string& part) {
  return trainer::decode_part(trainer::SafetensorsFile::parse(std::move(content), part));
}
trainer::SafetensorsFile safetensors_of(const PartContent& content, const std::string& part) {
  return trainer::SafetensorsFile::parse(trainer::encode_part(content), part);
}

}  // namespace

TrainingState& TrainingState::add(Part part) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  if (part.name.empty() || !std::ranges::all_of(part.name, allowed)) {
    throw Error("\"" + part.name + "\" cannot name a part of a checkpoint: letters, digits, - and _ can",
                ExitCode::kUsage);
  }
  if (std::ranges::find(parts_, part.name, &Part::name) != parts_.end())
    throw Error("a checkpoint has one part \"" + part.name + "\"; it was added twice", ExitCode::kUsage);
  if (!part.save || !part.load) throw Error("part \"" + part.name + "\" needs save and load", ExitCode::kUsage);
  parts_.push_back(std::move(part));
  return *this;
}

TrainingState& TrainingState::add(const std::string& name, RateScheduler& rates) {
  return add({.name = name,
              .save =
                  [&rates] {
                    return PartContent{.tensors = {{"position", number(rates.position())}}, .texts = {}};
                  },
              .load = [&rates, name](
                          const PartContent& content) { rates.restore(Reader(name, content).integer("position")); }});
}

TrainingState& TrainingState::add(const std::string& name, PlateauScheduler& rates) {
  return add({.name = name,
              .save = [&rates] { return content_of(rates.state()); },
              .load =
                  [&rates, name](const PartContent& content) {
                    rates.restore(plateau_state({name, content}));
                  }});
}

TrainingState& TrainingState::add(const std::string& name, Plateau& plateau) {
  return add({.name = name,
              .save = [&plateau] { return content_of(plateau.state()); },
              .load =
                  [&plateau, name](const PartContent& content) {
                    plateau.restore(plateau_state({name, content}));
                  }});
}

TrainingState& TrainingState::add(const std::string& name, LossScale& scale) {
  return add({.name = name,
              .save =
                  [&scale] {
                    return PartContent{.tensors = {{"factor", number(scale.state().factor)},
                                                   {"good_steps", number(scale.state().good_steps)}},
                                       .texts = {}};
                  },
              .load =
                  [&scale, name](const PartContent& content) {
                    const Reader reader(name, content);
                    scale.restore({.factor = reader.real("factor"), .good_steps = reader.integer("good_steps")});
                  }});
}

TrainingState& TrainingState::add(const std::string& name, Ema& averages) {
  return add({.name = name,
              .save =
                  [&averages] {
                    PartContent content{.tensors = {}, .texts = {{kUpdates, std::to_string(averages.updates())}}};
                    for (auto& [parameter, average] : averages.state()) content.tensors[parameter] = average;
                    return content;
                  },
              .load =
                  [&averages, name](const PartContent& content) {
                    const auto updates = content.texts.find(kUpdates);
                    if (updates == content.texts.end()) misfit(name, "it does not say after how many updates");
                    averages.restore({content.tensors.begin(), content.tensors.end()}, std::stoll(updates->second));
                  }});
}

namespace {

/// Of what gives its state as named tensors, of each rank.
template <typename Source>
Part part_of(const std::string& name, Source& source) {
  return {.name = name,
          .kept = Part::Kept::kPerRank,
          .save =
              [&source] {
                PartContent content;
                for (auto& [key, tensor] : source.state()) content.tensors[key] = tensor;
                return content;
              },
          .load =
              [&source](const PartContent& content) {
                source.restore({content.tensors.begin(), content.tensors.end()});
              }};
}

}  // namespace

TrainingState& TrainingState::add(const std::string& name, CommHook& hook) { return add(part_of(name, hook)); }

TrainingState& TrainingState::add(const std::string& name, RandomStreams& streams) {
  return add(part_of(name, streams));
}

TrainingState& TrainingState::add(const std::string& name, torch::nn::Module& module) {
  return add({.name = name,
              .save = [&module, name] { return content_of_safetensors(trainer::encode_module(module).content, name); },
              .load =
                  [&module, name](const PartContent& content) {
                    trainer::decode_module(module, safetensors_of(content, name),
                                           "part \"" + name + "\" of the checkpoint");
                  }});
}

TrainingState& TrainingState::add(const std::string& name, torch::nn::Module& module,
                                  torch::optim::Optimizer& optimizer) {
  const std::string second = name + "_optimizer";
  return add(name, module)
      .add({.name = second,
            .save = [&module, &optimizer,
                     second] { return content_of_safetensors(trainer::encode_optimizer(module, optimizer), second); },
            .load =
                [&module, &optimizer, second](const PartContent& content) {
                  trainer::decode_optimizer(module, optimizer, safetensors_of(content, second),
                                            "part \"" + second + "\" of the checkpoint");
                }});
}

TrainingState& TrainingState::add(const std::string& name, at::Generator generator) {
  return add({.name = name,
              .kept = Part::Kept::kPerRank,
              .save =
                  [generator] {
                    return PartContent{.tensors = {{"state", trainer::state_of(generator)}}, .texts = {}};
                  },
              .load =
                  [generator, name](const PartContent& content) {
                    trainer::set_state(generator, Reader(name, content).tensor("state"));
                  }});
}

TrainingState& TrainingState::add_default_generator() { return add("generator", trainer::default_generator()); }

}  // namespace rondo
