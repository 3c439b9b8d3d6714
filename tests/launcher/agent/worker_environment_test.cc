#include "launcher/agent/worker_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rondo::launcher {
namespace {

using testing::Contains;
using testing::Not;

const WorkerPlace kPlace{.rank = 1,
                         .world_size = 3,
                         .local_rank = 0,
                         .local_world_size = 2,
                         .node_rank = 1,
                         .nodes = 4,
                         .threads = 4,
                         .generation = 2,
                         .max_restarts = 5,
                         .role = "actor",
                         .run_id = "mine",
                         .master_addr = "10.0.0.1",
                         .master_port = 4711,
                         .error_file = "/runs/x/errors/rank-0001.json",
                         .store = "tcp:127.0.0.1:99",
                         .job = "00112233445566778899aabbccddeeff",
                         .run_directory = "/runs/x"};

TEST(WorkerEnvironment, HasTorchrunsVariablesAndOurs) {
  const auto variables = worker_environment({"HOME=/root"}, kPlace);
  for (const char* expected : {"HOME=/root",
                               "RANK=1",
                               "LOCAL_RANK=0",
                               "WORLD_SIZE=3",
                               "LOCAL_WORLD_SIZE=2",
                               "GROUP_RANK=1",
                               "GROUP_WORLD_SIZE=4",
                               "ROLE_RANK=1",
                               "ROLE_WORLD_SIZE=3",
                               "ROLE_NAME=actor",
                               "MASTER_ADDR=10.0.0.1",
                               "MASTER_PORT=4711",
                               "TORCHELASTIC_RUN_ID=mine",
                               "TORCHELASTIC_RESTART_COUNT=2",
                               "TORCHELASTIC_MAX_RESTARTS=5",
                               "TORCHELASTIC_USE_AGENT_STORE=False",
                               "TORCHELASTIC_ERROR_FILE=/runs/x/errors/rank-0001.json",
                               "TORCH_NCCL_ASYNC_ERROR_HANDLING=1",
                               "OMP_NUM_THREADS=4",
                               "RONDO_STORE=tcp:127.0.0.1:99",
                               "RONDO_JOB=00112233445566778899aabbccddeeff",
                               "RONDO_GENERATION=2",
                               "RONDO_RUN_DIR=/runs/x",
                               "RONDO_SECRET_FD=3",
                               "RONDO_CONTROL_FD=4",
                               "RONDO_MESSAGES_FD=5",
                               "RONDO_FLIGHT_FD=6"}) {
    EXPECT_THAT(variables, Contains(expected));
  }
}

TEST(WorkerEnvironment, ReplacesVariablesOfAnOuterLauncher) {
  const auto variables = worker_environment({"RANK=7", "RONDO_JOB=old", "TORCHELASTIC_USE_AGENT_STORE=True"}, kPlace);
  EXPECT_THAT(variables, Contains("RANK=1"));
  EXPECT_THAT(variables, Not(Contains("RANK=7")));
  EXPECT_THAT(variables, Not(Contains("RONDO_JOB=old")));
  EXPECT_THAT(variables, Not(Contains("TORCHELASTIC_USE_AGENT_STORE=True")));
}

TEST(WorkerEnvironment, GivesTheJobsIdWhereNobodyNamedARun) {
  WorkerPlace place = kPlace;
  place.run_id.clear();
  EXPECT_THAT(worker_environment({}, place), Contains("TORCHELASTIC_RUN_ID=00112233445566778899aabbccddeeff"));
}

TEST(WorkerEnvironment, LeavesTheUsersThreadCountAlone) {
  const auto variables = worker_environment({"OMP_NUM_THREADS=9"}, kPlace);
  EXPECT_THAT(variables, Contains("OMP_NUM_THREADS=9"));
  EXPECT_THAT(variables, Not(Contains("OMP_NUM_THREADS=4")));
}

}  // namespace
}  // namespace rondo::launcher
