#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/agent/worker.h"
#include "tests/launcher/support/agent_events.h"
#include "tests/launcher/support/launch.h"

namespace rondo::launcher {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(OutputStream, ALineIsNotStaleWhileItsRestWaitsInThePipe) {
  const test::TemporaryFolder folder;
  auto pipe = make_pipe();
  auto log = CappedLog::open(folder.path() / "log", 0);
  ASSERT_TRUE(pipe.ok() && log.ok());
  testing::NiceMock<test::MockAgentEvents> events;
  OutputStream stream({.rank = 0, .channel = Channel::kOutput}, std::move(pipe->read_end), *std::move(log));
  comm::TimePoint now = comm::Clock::now();

  ASSERT_TRUE(write_all(pipe->write_end, "half ").ok());
  ASSERT_TRUE(stream.read(now, events));
  ASSERT_TRUE(write_all(pipe->write_end, "whole\nnext").ok());
  now += LineAssembler::kPartialAfter * 10;  // the launcher was busy elsewhere
  stream.flush_stale(now, events);
  EXPECT_THAT(stream.last_lines(), IsEmpty());
  EXPECT_GT(*stream.stale_at(), now) << "the loop must not spin on it";
  ASSERT_TRUE(stream.read(now, events));
  EXPECT_THAT(stream.last_lines(), ElementsAre("half whole"));

  stream.flush_stale(now + LineAssembler::kPartialAfter, events);
  EXPECT_THAT(stream.last_lines(), ElementsAre("half whole", "next")) << "now the rank is silent";
}

}  // namespace
}  // namespace rondo::launcher
