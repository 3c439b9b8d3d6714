/// A folder of the doctor's own, gone again afterwards.
#pragma once

#include <string>
#include <vector>

#include "launcher/agent/run_folder.h"
#include "launcher/doctor/diagnosis.h"

namespace rondo::launcher {

class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  bool made() const { return made_; }
  const std::string& path() const { return path_; }
  /// For a run whose folder goes with this one. `words`: what was typed behind "rondo doctor".
  RunFolderOptions run_folder(const std::vector<std::string>& words) const;
  /// What to say when none could be made.
  Diagnosis refusal(const std::string& subject) const;

 private:
  std::string path_;
  bool made_ = false;
};

}  // namespace rondo::launcher
