#include "launcher/agent/programs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace rondo::launcher {
namespace {

enum class Kind { kProgram, kMissing, kFolder, kNotExecutable };

Kind kind_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return Kind::kMissing;
  if (S_ISDIR(info.st_mode)) return Kind::kFolder;
  return ::access(path.c_str(), X_OK) == 0 ? Kind::kProgram : Kind::kNotExecutable;
}

comm::Status wrong_program(const std::string& name, Kind kind) {
  std::string text = "cannot run '" + name + "': ";
  switch (kind) {
    case Kind::kFolder:
      text += "it is a folder";
      break;
    case Kind::kNotExecutable:
      text += "it is not executable; for a script: chmod +x " + name;
      break;
    default:
      text += name.find('/') == std::string::npos ? "no such program in PATH" : "no such file";
      if (name.find('/') == std::string::npos && kind_of("./" + name) == Kind::kProgram) {
        text += "; there is one here: ./" + name;
      }
  }
  return {comm::Code::kInvalidArgument, text};
}

}  // namespace

comm::Result<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    const Kind kind = kind_of(name);
    if (kind != Kind::kProgram) return wrong_program(name, kind);
    return std::filesystem::absolute(name).string();
  }
  Kind worst = Kind::kMissing;
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = (folder.empty() ? "." : folder) + "/" + name;
    const Kind kind = kind_of(candidate);
    if (kind == Kind::kProgram && !name.empty()) return std::filesystem::absolute(candidate).string();
    if (kind == Kind::kNotExecutable) worst = kind;
  }
  return wrong_program(name, worst);
}

comm::Result<std::string> find_part(const std::string& name) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return comm::Status(comm::Code::kIo, "cannot read /proc/self/exe: " + error.message());
  const auto beside = self.parent_path() / name;
  if (kind_of(beside.string()) == Kind::kProgram) return beside.string();
  const auto installed = (self.parent_path() / RONDO_LIBEXEC_FROM_BIN / name).lexically_normal();
  if (kind_of(installed.string()) == Kind::kProgram) return installed.string();
  return comm::Status(comm::Code::kResource, "'" + name + "' is neither at " + beside.string() + " nor at " +
                                                 installed.string() + ": this build or installation is incomplete");
}

comm::Result<std::string> find_trainer() {
  if (const char* named = std::getenv("RONDO_TRAIN"); named != nullptr && *named != '\0') return find_program(named);
  return find_part("rondo-train");
}

}  // namespace rondo::launcher
