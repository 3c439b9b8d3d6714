// Which launcher placed this process: their variables as they were seen, in the order and with the conflicts that users
// meet.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "comm/bootstrap/meeting.h"
#include "rondo/comm/bootstrap.h"
#include "tests/comm/bootstrap/environments.h"
#include "tests/support/run_ranks.h"

namespace rondo::comm {
namespace {

using test::environment;
using test::Variables;
using test::with;
using test::without;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Rank 1 of 2 on one host, under each launcher.
const Variables kOpenMpi{{"OMPI_COMM_WORLD_RANK", "1"},
                         {"OMPI_COMM_WORLD_SIZE", "2"},
                         {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                         {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                         {"PMIX_RANK", "1"},
                         {"PMIX_NAMESPACE", "2032074753"},
                         {"PMIX_SERVER_URI2", "2032074752.0;tcp4://127.0.0.1:56839"}};
const Variables kMpich{{"PMI_RANK", "1"},        {"PMI_SIZE", "2"},        {"PMI_FD", "8"},
                       {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}, {"HYDI_CONTROL_FD", "7"}};
const Variables kSlurm{{"SLURM_JOB_ID", "17"},        {"SLURM_STEP_ID", "3"},
                       {"SLURM_PROCID", "1"},         {"SLURM_LOCALID", "1"},
                       {"SLURM_NODEID", "0"},         {"SLURM_NTASKS", "2"},
                       {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_STEP_TASKS_PER_NODE", "2"},
                       {"SLURM_STEP_NODELIST", "vm"}};
const Variables kHorovod{{"HOROVOD_RANK", "1"},
                         {"HOROVOD_SIZE", "2"},
                         {"HOROVOD_LOCAL_RANK", "1"},
                         {"HOROVOD_LOCAL_SIZE", "2"},
                         {"HOROVOD_GLOO_RENDEZVOUS_ADDR", "127.0.0.1"},
                         {"HOROVOD_GLOO_RENDEZVOUS_PORT", "43210"}};
const Variables kByHand{{"RANK", "1"},
                        {"WORLD_SIZE", "2"},
                        {"LOCAL_RANK", "1"},
                        {"LOCAL_WORLD_SIZE", "2"},
                        {"MASTER_ADDR", "127.0.0.1"},
                        {"MASTER_PORT", "29500"}};
/// Rank 4 of 7 on hosts gpu01 (2), gpu02 (2), gpu03 (2), cpu2 (1).
const Variables kSlurmHosts = with(kSlurm, {{"SLURM_PROCID", "4"},
                                            {"SLURM_LOCALID", "0"},
                                            {"SLURM_NODEID", "2"},
                                            {"SLURM_NTASKS", "7"},
                                            {"SLURM_STEP_NUM_TASKS", "7"},
                                            {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"},
                                            {"SLURM_STEP_NODELIST", "gpu[01-03],cpu2"},
                                            {"RONDO_SECRET_FILE", "/s"}});

Result<Bootstrap> read(const Variables& variables) { return read_bootstrap({}, environment(variables)); }
std::string error(const Variables& variables) {
  const auto got = read(variables);
  EXPECT_FALSE(got.ok());
  return got.ok() ? "" : got.status().message();
}
std::string socket_name(const std::string& place) { return "unix:@rondo-" + std::to_string(::geteuid()) + "-" + place; }

TEST(Launchers, EachPlacesItsRanksOnOneHost) {
  struct Case {
    Variables variables;
    Source source;
    const char *name, *said, *place;
  };
  const std::vector<Case> cases{
      {kOpenMpi, Source::kOpenMpi, "openmpi", "started by Open MPI's mpirun", "openmpi-"},
      {with(kMpich, {{"PMI_JOBID", "j7"}}), Source::kPmi, "pmi", "started by an mpiexec that speaks PMI", "pmi-j7"},
      {kSlurm, Source::kSlurm, "slurm", "started by Slurm's srun", "slurm-17.3"},
      {kHorovod, Source::kHorovod, "horovod", "placed by Horovod's variables", "horovod-127.0.0.1-43210"},
      {{{"MV2_COMM_WORLD_RANK", "1"},
        {"MV2_COMM_WORLD_SIZE", "2"},
        {"MV2_COMM_WORLD_LOCAL_RANK", "1"},
        {"MV2_COMM_WORLD_LOCAL_SIZE", "2"},
        {"PMI_JOBID", "9"}},
       Source::kPmi,
       "pmi",
       "(MPICH and its kin)",
       "pmi-9"}};
  for (const auto& [variables, source, word, said, place] : cases) {
    const auto got = read(variables);
    RONDO_ASSERT_OK(got);
    EXPECT_EQ(got->source, source);
    EXPECT_EQ(name(source), word);
    EXPECT_EQ(got->at, (Position{1, 2})) << word;
    EXPECT_EQ(got->local_rank, 1) << word;
    EXPECT_TRUE(got->on_one_host()) << word;
    ASSERT_TRUE(got->store.has_value()) << word;
    EXPECT_THAT(got->store->text, StartsWith(socket_name(place)));
    EXPECT_FALSE(got->serve_store) << "rank 0 does";
    EXPECT_TRUE(got->peer_credentials) << word;
    EXPECT_THAT(got->describe(), HasSubstr(std::string("rank 1 of 2 (local rank 1 of 2), "))) << word;
    EXPECT_THAT(got->describe(), HasSubstr(said));
  }
}

TEST(Launchers, TwoJobsAtOnceOnAHostDoNotMeet) {
  const auto store = [](const Variables& variables) { return read(variables)->store->text; };
  EXPECT_NE(store(kOpenMpi), store(with(kOpenMpi, {{"PMIX_NAMESPACE", "2032074754"}})));
  EXPECT_NE(store(kOpenMpi), store(with(kOpenMpi, {{"PMIX_SERVER_URI2", "2032074752.0;tcp4://127.0.0.1:56840"}})));
  EXPECT_NE(store(kSlurm), store(with(kSlurm, {{"SLURM_STEP_ID", "4"}})));
  EXPECT_NE(store(kSlurm), store(with(kSlurm, {{"SLURM_JOB_ID", "18"}})));
  EXPECT_NE(store(kHorovod), store(with(kHorovod, {{"HOROVOD_GLOO_RENDEZVOUS_PORT", "43211"}})));
  EXPECT_EQ(store(kOpenMpi), store(with(kOpenMpi, {{"MASTER_ADDR", "left"}, {"MASTER_PORT", "29500"}})))
      << "on one host the launcher's own name of the job is the better one";
  EXPECT_NE(read(kSlurm)->job, read(with(kSlurm, {{"SLURM_RESTART_COUNT", "1"}}))->job);
  EXPECT_EQ(read(with(kSlurm, {{"SLURM_RESTART_COUNT", "1"}}))->generation, 1u);
}

/// One end of a connection whose other end a process made that is gone by now.
int connection_to_another_process() {
  const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un place{.sun_family = AF_UNIX, .sun_path = {}};
  socklen_t bytes = sizeof(sa_family_t);  // the kernel chooses the name
  EXPECT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&place), bytes), 0);
  EXPECT_EQ(::listen(listener, 1), 0);
  bytes = sizeof(place);
  EXPECT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&place), &bytes), 0);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::connect(::socket(AF_UNIX, SOCK_STREAM, 0), reinterpret_cast<sockaddr*>(&place), bytes));
  const int accepted = ::accept(listener, nullptr, nullptr);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  ::close(listener);
  return accepted;
}

TEST(Launchers, MpichsJobsAreToldApartByTheMakerOfTheirSocket) {
  const auto placed = [](int descriptor) {
    const auto got = read(with(kMpich, {{"PMI_FD", std::to_string(descriptor)}}));
    EXPECT_TRUE(got.ok()) << got.status().text();
    EXPECT_FALSE(got->store.has_value()) << "its maker is asked for when the job is joined";
    return meet_by_launcher(*got);
  };
  int ends[2], no_sockets[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  ASSERT_EQ(::pipe(no_sockets), 0);
  const int other = connection_to_another_process();
  const auto one = placed(ends[0]), same = placed(ends[1]), another = placed(other);
  for (const auto* got : {&one, &same, &another}) RONDO_ASSERT_OK(*got);
  EXPECT_EQ(one->store, same->store);
  EXPECT_EQ(one->job, same->job);
  EXPECT_THAT(one->store->text, StartsWith(socket_name("pmi-" + std::to_string(::getpid()) + "-")));
  EXPECT_TRUE(one->peer_credentials);
  EXPECT_NE(one->store, another->store);
  EXPECT_NE(one->job, another->job);
  const Status none = placed(no_sockets[0]).status();
  EXPECT_THAT(none.message(), HasSubstr("PMI_FD is '" + std::to_string(no_sockets[0]) + "'"));
  EXPECT_THAT(none.message(), HasSubstr("MASTER_ADDR and MASTER_PORT"));
  for (const int descriptor : {ends[0], ends[1], no_sockets[0], no_sockets[1], other}) ::close(descriptor);
}

TEST(Launchers, APlaceByHandServesWhereNothingNamesTheJob) {
  const Variables nameless = without(kMpich, "PMI_FD");
  EXPECT_THAT(error(nameless), HasSubstr("PMI_RANK is 1 of PMI_SIZE 2, but nothing names the job"));
  const auto got = read(with(nameless, {{"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", "29500"}}));
  RONDO_ASSERT_OK(got);
  EXPECT_EQ(got->store->text, socket_name("pmi-127.0.0.1-29500"));
}

TEST(Launchers, TheFirstInOrderWins) {
  const auto source = [](const Variables& variables) {
    const auto got = read(variables);
    EXPECT_TRUE(got.ok()) << got.status().text();
    return got->source;
  };
  EXPECT_EQ(source(with(kSlurm, kByHand)), Source::kTorchrun) << "and they agree";
  EXPECT_EQ(source(with(kHorovod, kSlurm)), Source::kSlurm);
  EXPECT_EQ(source(with(kHorovod, kMpich)), Source::kPmi);
  EXPECT_EQ(source(with(kSlurm, {{"PMIX_RANK", "1"}, {"PMIX_NAMESPACE", "slurm.pmix.17.3"}})), Source::kSlurm)
      << "srun --mpi=pmix";
  EXPECT_EQ(source(with(kSlurm, {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"PMI_FD", "9"}, {"PMI_JOBID", "17.3"}})),
            Source::kSlurm)
      << "srun --mpi=pmi2";
  // Open MPI and MPICH start their daemons by srun: what Slurm says then is about the daemon.
  const Variables daemon = with(kSlurm, {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "3"}, {"SLURM_STEP_NUM_TASKS", "3"}});
  EXPECT_EQ(source(with(daemon, kOpenMpi)), Source::kOpenMpi);
  EXPECT_EQ(source(with(daemon, kMpich)), Source::kPmi);
  // A launcher of one rank started a shell.
  const Variables shell = with(kSlurm, {{"SLURM_PROCID", "0"},
                                        {"SLURM_LOCALID", "0"},
                                        {"SLURM_STEP_NUM_TASKS", "1"},
                                        {"SLURM_STEP_TASKS_PER_NODE", "1"}});
  EXPECT_EQ(source(with(shell, kByHand)), Source::kTorchrun);
  EXPECT_EQ(source(with(shell, kHorovod)), Source::kHorovod);
  EXPECT_EQ(source(shell), Source::kSlurm);
}

TEST(Launchers, ThatDisagreeAreBothNamed) {
  struct Case {
    Variables variables;
    const char *one, *other;
  };
  const std::vector<Case> cases{{with(kSlurm, with(kByHand, {{"RANK", "0"}})), "RANK is 0 of WORLD_SIZE 2",
                                 "SLURM_PROCID is 1 of SLURM_STEP_NUM_TASKS 2"},
                                {with(kOpenMpi, with(kByHand, {{"RANK", "0"}})), "RANK is 0 of WORLD_SIZE 2",
                                 "OMPI_COMM_WORLD_RANK is 1 of OMPI_COMM_WORLD_SIZE 2"},
                                {with(kOpenMpi, {{"RANK", "0"}, {"WORLD_SIZE", "1"}}), "RANK is 0 of WORLD_SIZE 1",
                                 "OMPI_COMM_WORLD_RANK is 1 of OMPI_COMM_WORLD_SIZE 2"},
                                {with(kSlurm, with(kHorovod, {{"HOROVOD_RANK", "0"}})),
                                 "SLURM_PROCID is 1 of SLURM_STEP_NUM_TASKS 2", "HOROVOD_RANK is 0 of HOROVOD_SIZE 2"},
                                {with(kSlurm, {{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}),
                                 "SLURM_PROCID is 1 of SLURM_STEP_NUM_TASKS 2", "PMI_RANK is 0 of PMI_SIZE 2"}};
  for (const auto& [variables, one, other] : cases) {
    const auto got = read(variables);
    ASSERT_FALSE(got.ok()) << one;
    EXPECT_EQ(got.status().code(), Code::kInvalidArgument);
    EXPECT_THAT(got.status().message(), HasSubstr("two launchers place this process differently"));
    EXPECT_THAT(got.status().message(), HasSubstr(one));
    EXPECT_THAT(got.status().message(), HasSubstr(other));
  }
}

TEST(Launchers, TorchrunUnderAnotherLauncherPlacesItsOwnRanks) {
  const auto got = read(
      with(kSlurm,
           with(kByHand,
                {{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"RONDO_SECRET_FILE", "/s"}, {"TORCHELASTIC_RUN_ID", "none"}})));
  RONDO_ASSERT_OK(got);
  EXPECT_EQ(got->source, Source::kTorchrun);
  EXPECT_EQ(got->at, (Position{3, 4})) << "SLURM_PROCID 1 of 2 is torchrun's own";
  BootstrapFlags flags;
  flags.rank = 0;
  flags.world_size = 2;
  flags.endpoint = "unix:@x";
  EXPECT_TRUE(read_bootstrap(flags, environment(kSlurm)).ok()) << "flags are meant";
}

TEST(Launchers, SlurmsRanksOnSeveralHostsMeetAtTheFirst) {
  const auto got = read(kSlurmHosts);
  RONDO_ASSERT_OK(got);
  EXPECT_EQ(got->at, (Position{4, 7}));
  EXPECT_EQ(got->local_rank, 0);
  EXPECT_EQ(got->local_world_size, 2);
  EXPECT_EQ(got->store->text, "tcp:gpu01:" + std::to_string(15'000 + 17 + 3 * 97));
  EXPECT_FALSE(got->peer_credentials);
  const auto last = read(with(kSlurmHosts, {{"SLURM_PROCID", "6"}, {"SLURM_LOCALID", "0"}, {"SLURM_NODEID", "3"}}));
  RONDO_ASSERT_OK(last);
  EXPECT_EQ(last->local_world_size, 1);
  EXPECT_EQ(last->store, got->store);
  EXPECT_EQ(last->job, got->job);
  const auto told = read(with(kSlurmHosts, {{"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "29500"}}));
  RONDO_ASSERT_OK(told);
  EXPECT_EQ(told->store->text, "tcp:10.0.0.1:29501");
  const auto secretless = read(without(kSlurmHosts, "RONDO_SECRET_FILE"));
  EXPECT_EQ(secretless.status().code(), Code::kUnauthenticated);
}

TEST(Launchers, RanksOfMpirunOnSeveralHostsMeetByMpiUnlessAllIsKnown) {
  const Variables hosts = with(kOpenMpi, {{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}});
  const Variables address{{"MASTER_ADDR", "node1"}, {"MASTER_PORT", "29500"}}, secret{{"RONDO_SECRET_FILE", "/s"}};
  for (const Variables& variables : {hosts, with(hosts, secret)}) {
    const auto got = read(variables);
    RONDO_ASSERT_OK(got);
    EXPECT_TRUE(got->meets_by_mpi);
    EXPECT_FALSE(got->links_by_mpi);
    EXPECT_FALSE(got->store) << "rank 0 says where";
    EXPECT_FALSE(got->peer_credentials);
    EXPECT_THAT(got->describe(), HasSubstr("mpirun, met by MPI"));
  }
  const auto addressed = read(with(hosts, address));
  RONDO_ASSERT_OK(addressed);
  EXPECT_TRUE(addressed->meets_by_mpi) << "the secret is not known";
  EXPECT_EQ(addressed->store->text, "tcp:node1:29501");
  const Variables told = with(with(hosts, address), secret);
  const auto got = read(told);
  RONDO_ASSERT_OK(got);
  EXPECT_FALSE(got->meets_by_mpi);
  EXPECT_EQ(got->store->text, "tcp:node1:29501");
  const auto elsewhere = read(with(told, {{"PMIX_SERVER_URI2", "2032074752.1;tcp4://127.0.0.1:1"}}));
  RONDO_ASSERT_OK(elsewhere);
  EXPECT_EQ(elsewhere->job, got->job) << "the daemon's address differs from host to host, the job does not";
  const auto mpich = read(with(kMpich, {{"PMI_SIZE", "4"}, {"PMI_RANK", "3"}}));
  RONDO_ASSERT_OK(mpich);
  EXPECT_TRUE(mpich->meets_by_mpi);
  EXPECT_FALSE(read(kOpenMpi)->meets_by_mpi) << "on one host no MPI is loaded";
  EXPECT_FALSE(read(kMpich)->meets_by_mpi);
}

TEST(Launchers, LinksGoByMpiWhereTheUserSaysSo) {
  const auto all = read(with(kOpenMpi, {{"RONDO_TRANSPORT", "mpi"}, {"RONDO_MPI_LIBRARY", "/opt/libmpi.so"}}));
  RONDO_ASSERT_OK(all);
  EXPECT_EQ(all->transport, TransportKind::kMpi);
  EXPECT_TRUE(all->links_by_mpi && all->meets_by_mpi);
  EXPECT_EQ(all->mpi_library, "/opt/libmpi.so");
  const auto across = read(with(kMpich, {{"RONDO_TRANSPORT", "shm+mpi"}}));
  RONDO_ASSERT_OK(across);
  EXPECT_EQ(across->transport, TransportKind::kShm);
  EXPECT_TRUE(across->links_by_mpi && across->meets_by_mpi);
  EXPECT_TRUE(read(with(kSlurm, {{"RONDO_TRANSPORT", "mpi"}}))->meets_by_mpi) << "srun --mpi=pmix";
  const auto none = read(with(kByHand, {{"RONDO_TRANSPORT", "mpi"}}));
  EXPECT_EQ(none.status().code(), Code::kUnsupported);
  EXPECT_THAT(none.status().message(), HasSubstr("start the program by mpirun or mpiexec"));
  const auto alone = read(with(kOpenMpi, {{"RONDO_TRANSPORT", "mpi"},
                                          {"OMPI_COMM_WORLD_RANK", "0"},
                                          {"OMPI_COMM_WORLD_SIZE", "1"},
                                          {"OMPI_COMM_WORLD_LOCAL_RANK", "0"},
                                          {"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}}));
  RONDO_ASSERT_OK(alone);
  EXPECT_EQ(alone->transport, TransportKind::kShm) << "nobody to talk to";
}

TEST(Launchers, SaysThatSrunWasNotUsed) {
  // As in a batch script: Slurm sets SLURM_PROCID there, too.
  const Variables batch{{"SLURM_JOB_ID", "17"}, {"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}};
  for (const Variables& variables : {batch, with(batch, {{"SLURM_STEP_ID", "4294967291"}})}) {
    const auto got = read(variables);
    RONDO_ASSERT_OK(got);
    EXPECT_EQ(got->source, Source::kSingle);
    EXPECT_THAT(got->warning, HasSubstr("alone, in Slurm job 17 of 4 tasks"));
    EXPECT_THAT(got->warning, HasSubstr("srun"));
    std::string said;
    RONDO_ASSERT_OK(join(
        *got, [&](LogLevel level, std::string_view line) { said += level == LogLevel::kWarning ? line : ""; },
        in_seconds(5)));
    EXPECT_EQ(said, got->warning);
  }
  EXPECT_EQ(read(with(batch, {{"SLURM_NTASKS", "1"}}))->warning, "");
  EXPECT_EQ(read(with(batch, kOpenMpi))->warning, "");
  EXPECT_EQ(read(kSlurm)->warning, "");
  EXPECT_EQ(read({})->warning, "");
}

TEST(Launchers, NameEveryVariableThatIsWrong) {
  struct Case {
    Variables variables;
    const char *named, *also;
  };
  const std::vector<Case> cases{
      {with(kOpenMpi, {{"OMPI_COMM_WORLD_RANK", "2"}}), "OMPI_COMM_WORLD_RANK is '2'", "0 to 1"},
      {without(kOpenMpi, "OMPI_COMM_WORLD_SIZE"), "OMPI_COMM_WORLD_SIZE is not set", "OMPI_COMM_WORLD_RANK is set"},
      {with(without(kOpenMpi, "OMPI_COMM_WORLD_LOCAL_RANK"), {{"OMPI_COMM_WORLD_SIZE", "4"}}),
       "OMPI_COMM_WORLD_LOCAL_RANK is not set", "2 of 4 ranks on this host"},
      {with(kMpich, {{"PMI_SIZE", "0"}}), "PMI_SIZE is '0'", "1 to"},
      {with(kMpich, {{"MPI_LOCALNRANKS", "3"}}), "MPI_LOCALNRANKS is '3'", "1 to 2"},
      {with(kMpich, {{"PMI_FD", "x"}}), "PMI_FD is 'x'", "whole number"},
      {with(kHorovod, {{"HOROVOD_GLOO_RENDEZVOUS_PORT", "x"}}), "HOROVOD_GLOO_RENDEZVOUS_PORT is 'x'", "whole number"},
      {with(kSlurm, {{"SLURM_STEP_TASKS_PER_NODE", "2(x"}}), "SLURM_STEP_TASKS_PER_NODE is '2(x'", "2(x3),1"},
      {with(kSlurm, {{"SLURM_STEP_TASKS_PER_NODE", "2,1"}}), "SLURM_STEP_TASKS_PER_NODE is '2,1'",
       "SLURM_STEP_NUM_TASKS, 2"},
      {with(kSlurm, {{"SLURM_NODEID", "1"}}), "SLURM_NODEID is '1'", "0 to 0"},
      {with(kSlurm, {{"SLURM_LOCALID", "2"}}), "SLURM_LOCALID is '2'", "0 to 1"},
      {with(kSlurm, {{"SLURM_STEP_NODELIST", "vm["}}), "SLURM_STEP_NODELIST is 'vm['", "gpu[01-03,7],cpu2"},
      {{{"PMIX_RANK", "1"}, {"PMIX_NAMESPACE", "x"}}, "PMIX_RANK is 1", "how many ranks"},
  };
  for (const auto& [variables, named, also] : cases) {
    EXPECT_THAT(error(variables), HasSubstr(named));
    EXPECT_THAT(error(variables), HasSubstr(also));
  }
}

}  // namespace
}  // namespace rondo::comm
