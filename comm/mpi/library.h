/// Where an MPI library may lie: the one that this process has already, else the one whose launcher started it. Pure,
/// but for look_around(), which asks the system.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rondo/comm/position.h"

namespace rondo::comm {

/// Two binary interfaces; that of MPICH is also Intel MPI's and MVAPICH's. kEither: the launcher does not say.
enum class MpiFamily : uint8_t { kEither, kOpenMpi, kMpich };

struct MpiOptions {
  MpiFamily family = MpiFamily::kEither;  // of the launcher
  std::string library;                    // RONDO_MPI_LIBRARY: this one and no other
  Position at;                            // where the launcher's variables place this rank: MPI must say the same
};

struct MpiSurroundings {
  std::vector<std::string> loaded;    // files of MPI libraries in this process
  std::vector<std::string> prefixes;  // OPAL_PREFIX, then /opt/mpi if a program above this one is /opt/mpi/bin/mpirun
  std::string own_folder;             // of this program
};
MpiSurroundings look_around();

/// What to give dlopen(), the best first. A name without a folder is looked up as the system does.
std::vector<std::string> mpi_libraries(const MpiOptions& options, const MpiSurroundings& around);
/// The same for the component of a family: beside this program, or in ../libexec/rondo.
std::vector<std::string> mpi_components(MpiFamily family, const MpiSurroundings& around);

/// "Open MPI v4.1.4, package: ..." is "Open MPI 4.1.4"; "MPICH Version:	4.0.2" is "MPICH 4.0.2".
std::string short_version(std::string_view said);

}  // namespace rondo::comm
