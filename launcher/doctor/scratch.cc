#include "launcher/doctor/scratch.h"

#include <stdlib.h>

#include <filesystem>

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

Diagnosis Scratch::refusal(const std::string& subject) const {
  return {.subject = subject,
          .verdict = Grade::kBad,
          .text = "not tried: cannot make a folder like " + path_,
          .cure = "have TMPDIR name a folder that you may write to"};
}

}  // namespace rondo::launcher
