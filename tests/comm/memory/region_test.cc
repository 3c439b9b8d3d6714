#include "rondo/comm/memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <utility>

#include "tests/support/descriptors.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::open_descriptors;

TEST(Region, IsZeroedWritableAndOfTheAskedSize) {
  for (const size_t bytes : {size_t{1}, size_t{4095}, size_t{4096}, size_t{4097}, size_t{1} << 20}) {
    auto region = Region::allocate(bytes, "a test");
    RONDO_ASSERT_OK(region);
    ASSERT_EQ(region->bytes().size(), bytes);
    for (const std::byte b : region->bytes()) ASSERT_EQ(b, std::byte{0});
    std::memset(region->bytes().data(), 0x5A, bytes);
    EXPECT_GE(region->descriptor(), 0);
    EXPECT_TRUE((::fcntl(region->descriptor(), F_GETFD) & FD_CLOEXEC) != 0);
  }
}

TEST(Region, OfZeroBytesIsEmptyAndHoldsNoDescriptor) {
  const size_t before = open_descriptors();
  const auto region = Region::allocate(0, "nothing");
  RONDO_ASSERT_OK(region);
  EXPECT_TRUE(region->empty());
  EXPECT_TRUE(region->bytes().empty());
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Region, KeepsItsSizeForEver) {
  const auto region = Region::allocate(8192, "a test");
  RONDO_ASSERT_OK(region);
  EXPECT_NE(::ftruncate(region->descriptor(), 4096), 0);
  EXPECT_NE(::ftruncate(region->descriptor(), 16384), 0);
}

TEST(Region, AdoptedSharesItsBytes) {
  auto mine = Region::allocate(5000, "a test");
  RONDO_ASSERT_OK(mine);
  auto theirs = Region::adopt(::dup(mine->descriptor()), 5000);
  RONDO_ASSERT_OK(theirs);
  mine->bytes()[4999] = std::byte{42};
  EXPECT_EQ(theirs->bytes()[4999], std::byte{42});
}

TEST(Region, AdoptRefusesWrongSizesMissingSealsAndClosesWhatItWasGiven) {
  const auto region = Region::allocate(4096, "a test");
  RONDO_ASSERT_OK(region);
  const size_t before = open_descriptors();
  EXPECT_EQ(Region::adopt(::dup(region->descriptor()), 4097).status().code(), Code::kMismatch);
  const int unsealed = ::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(::ftruncate(unsealed, 4096), 0);
  EXPECT_EQ(Region::adopt(unsealed, 4096).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Region::adopt(-1, 4096).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Region, MovesAndLeaksNothing) {
  const size_t before = open_descriptors();
  for (int i = 0; i < 50; ++i) {
    auto region = Region::allocate(4096, "a test");
    RONDO_ASSERT_OK(region);
    Region other = std::move(*region);
    other = Region();
    auto again = Region::allocate(4096, "a test");
    RONDO_ASSERT_OK(again);
    other = std::move(*again);
    EXPECT_FALSE(other.empty());
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Region, ThatCannotFitIsAnErrorWithNeedFreeAndLimitAndNoSignal) {
  // RLIMIT_FSIZE binds memfds: the kernel would answer with SIGXFSZ.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto region = Region::allocate(2 << 20, "bucket 7");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_EQ(region.status().code(), Code::kResource);
  for (const char* part : {"bucket 7", "need 2097152", "free 1048576", "limit 1048576", "RLIMIT_FSIZE"})
    EXPECT_NE(region.status().message().find(part), std::string::npos) << part << " in: " << region.status().message();
}

TEST(Region, OfMoreThanTheMachineHasIsRefusedBeforeTheKernelEndsOtherProcesses) {
  const int child = ::fork();
  if (child == 0) {
    std::ofstream("/proc/self/oom_score_adj") << 1000;  // should this ever break, it shall hit this process first
    const auto region = Region::allocate(size_t{1} << 50, "bucket 7");
    const bool refused = region.status().code() == Code::kResource &&
                         region.status().message().find("bucket 7: need 1125899906842624 bytes") != std::string::npos;
    ::_exit(refused ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Region, WithoutADescriptorLeftIsAnErrorThatNamesTheLimit) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  // UBSan needs descriptors to look at what it has not seen yet: a region, and an error.
  RONDO_ASSERT_OK(Region::allocate(4096, "bucket 6").status());
  EXPECT_EQ(Region::allocate(size_t{1} << 50, "bucket 6").status().code(), Code::kResource);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto region = Region::allocate(4096, "bucket 7");
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(region.status().code(), Code::kResource);
  EXPECT_NE(region.status().message().find("RLIMIT_NOFILE"), std::string::npos) << region.status().message();
}

}  // namespace
}  // namespace rondo::comm
