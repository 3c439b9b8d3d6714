#include "trainer/recipes/checkpoint_tool.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>

#include "rondo/error.h"
#include "trainer/checkpoint/durable_file.h"
#include "trainer/checkpoint/inspection.h"
#include "trainer/checkpoint/part_file.h"
#include "trainer/checkpoint/retention.h"
#include "trainer/checkpoint/tensor_records.h"
#include "trainer/recipes/run_folder.h"
#include "trainer/torch_bridge/pt_file.h"

namespace rondo::trainer {
namespace {

namespace fs = std::filesystem;

struct Question {
  std::string verb, place, file;
  std::string which = "newest";
  std::string part, format;
  enum class Output : uint8_t { kText, kJson } output = Output::kText;
};

[[noreturn]] void refuse(const std::string& message) { throw Error(message, ExitCode::kUsage); }

Question parse(const std::vector<std::string>& arguments) {
  Question question;
  const std::map<std::string, std::string*> valued{
      {"--which", &question.which}, {"--part", &question.part}, {"--format", &question.format}};
  std::vector<std::string*> words{&question.verb, &question.place, &question.file};
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (const auto flag = valued.find(word); flag != valued.end()) {
      if (++i == arguments.size()) refuse(word + " needs a value");
      *flag->second = arguments[i];
    } else if (word == "--json") {
      question.output = Question::Output::kJson;
    } else if (word.starts_with("--") || words.empty()) {
      refuse("unexpected \"" + word + "\"");
    } else {
      *words.front() = word;
      words.erase(words.begin());
    }
  }
  return question;
}

/// As people typed it: relative where that is shorter.
fs::path shown(const fs::path& path) {
  const fs::path relative = path.lexically_proximate(fs::current_path());
  return relative.native().starts_with("..") ? path : relative;
}

/// A place is a checkpoint, or holds checkpoints.
struct Place {
  fs::path checkpoint;   // empty: it holds some
  fs::path checkpoints;  // empty: it is one
};
/// By its name, because a damaged one may have lost its manifest.
bool is_checkpoint(const fs::path& folder) {
  const auto siblings = checkpoint_folders(fs::absolute(folder).parent_path());
  return fs::exists(folder / kManifestFile) || std::ranges::any_of(siblings, [&](const CheckpointFolder& known) {
           return known.path.filename() == folder.filename();
         });
}

Place find_place(const std::string& word) {
  const fs::path folder = shown(find_run_folder(word, ""));
  if (is_checkpoint(folder)) return {.checkpoint = folder, .checkpoints = {}};
  return {.checkpoint = {}, .checkpoints = fs::is_directory(folder / "checkpoints") ? folder / "checkpoints" : folder};
}

/// The one checkpoint that is asked about.
fs::path find_checkpoint(const Question& question) {
  const Place place = find_place(question.place);
  if (place.checkpoints.empty()) return place.checkpoint;
  const std::vector<CheckpointFolder> folders = checkpoint_folders(place.checkpoints);
  if (folders.empty()) throw Error("there is no checkpoint in " + place.checkpoints.string(), ExitCode::kPreflight);
  if (question.which == "newest") {
    for (const CheckpointFolder& folder : folders) {
      if (const auto status = inspect_checkpoint(folder.path, Scrutiny::kSizes); status.problem.empty())
        return folder.path;
      std::fprintf(stderr, "skipped: %s is damaged; `rondo ckpt verify` says more\n", folder.path.c_str());
    }
    throw Error("all checkpoints in " + place.checkpoints.string() + " are damaged", ExitCode::kCorrupt);
  }
  std::error_code absent;
  const fs::path wanted = fs::canonical(place.checkpoints / question.which, absent).filename();
  std::string names;
  for (const CheckpointFolder& folder : folders) {
    if (!absent && folder.path.filename() == wanted) return folder.path;
    names += (names.empty() ? "" : ", ") + folder.path.filename().string();
  }
  refuse("there is no checkpoint " + (place.checkpoints / question.which).string() + "; there are: " + names);
}

void print(const std::string& text) { std::fputs(text.c_str(), stdout); }

int list(const Question& question, Scrutiny scrutiny) {
  const Place place = find_place(question.place);
  const std::vector<CheckpointStatus> all = place.checkpoints.empty()
                                                ? std::vector{inspect_checkpoint(place.checkpoint, scrutiny)}
                                                : inspect_checkpoints(place.checkpoints, scrutiny);
  print(question.output == Question::Output::kJson ? list_json(all) : list_text(all));
  const bool damaged = std::ranges::any_of(all, [](const CheckpointStatus& one) { return !one.problem.empty(); });
  return scrutiny == Scrutiny::kHashes && damaged ? static_cast<int>(ExitCode::kCorrupt) : 0;
}

int show(const Question& question) {
  const CheckpointContent content = read_content(find_checkpoint(question));
  print(question.output == Question::Output::kJson ? content_json(content) : content_text(content));
  return 0;
}

/// The file of a checkpoint that holds the model, or a part that all ranks share.
std::string exported_file(const Checkpoint& checkpoint, const std::string& part) {
  if (part.empty()) return kModelFile;
  const auto& parts = checkpoint.manifest.parts;
  const auto found = parts.find(part);
  std::string names;
  for (const auto& [name, files] : parts) {
    if (files == 0) names += (names.empty() ? "" : ", ") + name;
  }
  if (found == parts.end() || found->second != 0)
    refuse(checkpoint.folder.string() + " has no part \"" + part +
           "\" that all ranks share; it has: " + (names.empty() ? "none" : names));
  return part_file_name(part, std::nullopt);
}

int export_tensors(const Question& question) {
  const Checkpoint checkpoint = open_checkpoint(find_checkpoint(question));
  const auto source = SafetensorsFile::read(checkpoint.folder / exported_file(checkpoint, question.part));
  NamedTensors tensors;
  std::map<std::string, at::Tensor> stored;
  for (const TensorRecord& record : source.tensors()) {
    stored[record.name] = to_tensor(record);
    tensors.emplace_back(record.name, stored[record.name]);
  }
  // Python's load_state_dict wants tied weights under each of their names.
  if (question.part.empty()) {
    for (const auto& [alias, name] : checkpoint.manifest.aliases) tensors.emplace_back(alias, stored.at(name));
  }
  std::vector<std::byte> content;
  if (question.format == "pt") {
    content = encode_pt(tensors);
  } else {
    RecordList records;
    for (const auto& [name, tensor] : tensors) records.add(name, tensor);
    content = records.encode({{"format", "pt"}});
  }
  write_atomically(question.file, content);
  std::printf("%s: %zu tensors, %s, of %s\n", question.file.c_str(), tensors.size(),
              bytes_text(static_cast<int64_t>(content.size())).c_str(), checkpoint.folder.c_str());
  return 0;
}

}  // namespace

int run_checkpoint_tool(const std::vector<std::string>& arguments) {
  const Question question = parse(arguments);
  if (question.place.empty()) refuse("which run or checkpoint?");
  if (question.verb == "ls") return list(question, Scrutiny::kSizes);
  if (question.verb == "verify") return list(question, Scrutiny::kHashes);
  if (question.verb == "show") return show(question);
  if (question.verb != "export") refuse("unknown verb \"" + question.verb + "\": ls, show, verify, export");
  if (question.file.empty()) refuse("which FILE is to be written?");
  if (question.format != "pt" && question.format != "safetensors") refuse("--format pt or --format safetensors");
  return export_tensors(question);
}

}  // namespace rondo::trainer
