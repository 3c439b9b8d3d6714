#include "comm/mpi/library.h"

#include <link.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace rondo::comm {
namespace {

constexpr const char* kOpenMpiName = "libmpi.so.40";  // Open MPI 2 to 5
// Debian's MPICH has a name of its own.
constexpr std::array kMpichNames{"libmpich.so.12", "libmpi.so.12"};

std::vector<std::string> names_of(MpiFamily family) {
  std::vector<std::string> names;
  if (family != MpiFamily::kMpich) names.emplace_back(kOpenMpiName);
  if (family != MpiFamily::kOpenMpi) names.insert(names.end(), kMpichNames.begin(), kMpichNames.end());
  return names;
}

int note_library(dl_phdr_info* info, size_t, void* into) {
  const std::string path = info->dlpi_name == nullptr ? "" : info->dlpi_name;
  const std::string name = std::filesystem::path(path).filename();
  if (name.starts_with("libmpi.so") || name.starts_with("libmpich.so"))
    static_cast<std::vector<std::string>*>(into)->push_back(path);
  return 0;
}

std::filesystem::path program_of(const std::string& process) {
  std::error_code none;
  return std::filesystem::read_symlink("/proc/" + process + "/exe", none);  // empty if it cannot be read
}

/// 0 if that cannot be read.
int parent_of(int process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const size_t name_end = text.rfind(')');  // the name may hold spaces
  return name_end == std::string::npos || name_end + 4 > text.size() ? 0 : std::atoi(text.c_str() + name_end + 4);
}

}  // namespace

MpiSurroundings look_around() {
  constexpr int kMostAncestors = 16;
  MpiSurroundings around;
  ::dl_iterate_phdr(&note_library, &around.loaded);
  const char* const prefix = std::getenv("OPAL_PREFIX");  // NOLINT(concurrency-mt-unsafe): nobody sets variables
  if (prefix != nullptr) around.prefixes.emplace_back(prefix);
  int process = ::getppid();
  for (int above = 0; process > 1 && above < kMostAncestors; ++above, process = parent_of(process)) {
    const std::filesystem::path folder = program_of(std::to_string(process)).parent_path();
    if (folder.filename() == "bin") around.prefixes.push_back(folder.parent_path());
  }
  around.own_folder = program_of("self").parent_path();
  return around;
}

std::vector<std::string> mpi_libraries(const MpiOptions& options, const MpiSurroundings& around) {
  if (!options.library.empty()) return {options.library};
  std::vector<std::string> all = around.loaded;
  const std::vector<std::string> names = names_of(options.family);
  for (const std::string& prefix : around.prefixes)
    for (const char* const folder : {"/lib/", "/lib64/"})
      for (const std::string& name : names) all.push_back(prefix + folder + name);
  all.insert(all.end(), names.begin(), names.end());
  return all;
}

std::vector<std::string> mpi_components(MpiFamily family, const MpiSurroundings& around) {
  const std::string name = family == MpiFamily::kOpenMpi ? "rondo-mpi-openmpi.so" : "rondo-mpi-mpich.so";
  return {around.own_folder + "/" + name, around.own_folder + "/../libexec/rondo/" + name, name};
}

std::string short_version(std::string_view said) {
  constexpr std::string_view kOpenMpi = "Open MPI v", kMpich = "MPICH Version:";
  if (said.starts_with(kOpenMpi)) {
    said.remove_prefix(kOpenMpi.size());
    return "Open MPI " + std::string(said.substr(0, said.find(',')));
  }
  if (said.starts_with(kMpich)) {
    said.remove_prefix(kMpich.size());
    const size_t begin = said.find_first_not_of(" \t");
    return begin == std::string_view::npos ? "MPICH" : "MPICH " + std::string(said.substr(begin));
  }
  return std::string(said.substr(0, said.find(',')));
}

}  // namespace rondo::comm
