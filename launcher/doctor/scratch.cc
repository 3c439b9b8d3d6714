#include "launcher/doctor/scratch.h"

#include <stdlib.h>

#include <filesystem>
#include <utility>

#include "launcher/base/version.h"

namespace rondo::launcher {

Scratch::Scratch() {
  std::error_code error;
  path_ = (std::filesystem::temp_directory_path(error) / "rondo-doctor-XXXXXX").string();
  made_ = ::mkdtemp(path_.data()) != nullptr;
}

Scratch::~Scratch() {
  std::error_code error;
  if (made_) std::filesystem::remove_all(path_, error);
}

RunFolderOptions Scratch::run_folder(const std::vector<std::string>& words) const {
  std::vector<std::string> command{"rondo", "doctor"};
  command.insert(command.end(), words.begin(), words.end());
  return {.name = "doctor",
          .directory = path_ + "/run",
          .log_directory = {},
          .command = std::move(command),
          .config_toml = {},
          .version_json = version_json(),
          .run_id = {}};
}

Diagnosis Scratch::refusal(const std::string& subject) const {
  return {.subject = subject,
          .verdict = Grade::kBad,
          .text = "not tried: cannot make a folder like " + path_,
          .cure = "have TMPDIR name a folder that you may write to"};
}

}  // namespace rondo::launcher
