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

/// Where a part of Rondo's may be.
struct Places {
  std::string beside, installed;
};
comm::Result<Places> places_of(const std::string& name) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return comm::Status(comm::Code::kIo, "cannot read /proc/self/exe: " + error.message());
  return Places{.beside = self.parent_path() / name,
                .installed = (self.parent_path() / RONDO_LIBEXEC_FROM_BIN / name).lexically_normal()};
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
  const auto places = places_of(name);
  RONDO_TRY(places);
  for (const std::string& place : {places->beside, places->installed})
    if (kind_of(place) == Kind::kProgram) return place;
  return comm::Status(comm::Code::kResource, "'" + name + "' is neither at " + places->beside + " nor at " +
                                                 places->installed + ": this build or installation is incomplete");
}

bool has_part(const std::string& name) {
  const auto places = places_of(name);
  return places.ok() && (kind_of(places->beside) != Kind::kMissing || kind_of(places->installed) != Kind::kMissing);
}

comm::Result<std::string> find_trainer() {
  if (const char* named = std::getenv("RONDO_TRAIN"); named != nullptr && *named != '\0') return find_program(named);
  return find_part("rondo-train");
}

}  // namespace rondo::launcher
