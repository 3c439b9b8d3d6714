// Which MPI library is tried, in which order, and what it is called.
#include "comm/mpi/library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/mpi/mpi.h"
#include "rondo/comm/env.h"

namespace rondo::comm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(MpiLibrary, TheOneInTheProcessThenTheLaunchersThenTheSystems) {
  const MpiSurroundings around{.loaded = {"/app/libmpi.so.40"}, .prefixes = {"/opt/openmpi"}, .own_folder = "/app/bin"};
  EXPECT_THAT(mpi_libraries({.family = MpiFamily::kOpenMpi}, around),
              ElementsAre("/app/libmpi.so.40", "/opt/openmpi/lib/libmpi.so.40", "/opt/openmpi/lib64/libmpi.so.40",
                          "libmpi.so.40"));
  EXPECT_THAT(mpi_libraries({.family = MpiFamily::kMpich}, {}), ElementsAre("libmpich.so.12", "libmpi.so.12"));
  EXPECT_THAT(mpi_libraries({.family = MpiFamily::kEither}, {}),
              ElementsAre("libmpi.so.40", "libmpich.so.12", "libmpi.so.12"));
  EXPECT_THAT(mpi_libraries({.family = MpiFamily::kOpenMpi, .library = "/named.so"}, around), ElementsAre("/named.so"))
      << "and no other";
  EXPECT_THAT(
      mpi_components(MpiFamily::kMpich, around),
      ElementsAre("/app/bin/rondo-mpi-mpich.so", "/app/bin/../libexec/rondo/rondo-mpi-mpich.so", "rondo-mpi-mpich.so"));
}

TEST(MpiLibrary, AVersionIsShort) {
  EXPECT_EQ(short_version("Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4"), "Open MPI 4.1.4");
  EXPECT_EQ(short_version("MPICH Version:\t4.0.2"), "MPICH 4.0.2");
  EXPECT_EQ(short_version("MPICH Version:      5.0.2"), "MPICH 5.0.2");
  EXPECT_EQ(short_version("Intel(R) MPI Library 2021.12 for Linux* OS"), "Intel(R) MPI Library 2021.12 for Linux* OS");
  EXPECT_EQ(short_version(""), "");
}

TEST(MpiLibrary, ThatIsNotThereIsAnErrorThatNamesIt) {
  const auto mpi = Mpi::open(real_env(), {.library = "/nowhere/libmpi.so"}, in_seconds(5));
  ASSERT_FALSE(mpi.ok());
  EXPECT_EQ(mpi.status().code(), Code::kUnsupported);
  EXPECT_THAT(mpi.status().message(), HasSubstr("/nowhere/libmpi.so"));
  EXPECT_THAT(mpi.status().message(), HasSubstr("RONDO_MPI_LIBRARY"));
  const auto other = Mpi::open(real_env(), {.library = "libc.so.6"}, in_seconds(5));
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.status().code(), Code::kUnsupported);
}

}  // namespace
}  // namespace rondo::comm
