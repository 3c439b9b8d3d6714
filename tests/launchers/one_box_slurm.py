"""Slurm on this machine, for as long as a `with` block: munged, slurmctld and slurmd of the current user, in a folder of
their own, on ports of their own. Needs the Debian packages of `./dev setup --slurm`."""
import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sinfo")
UP_WITHIN_S = 60
IDLE_WITHIN_S = 10
PR_SET_CHILD_SUBREAPER = 36


class SlurmError(Exception):
    pass


def missing():
    """The programs that are not on this machine."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def configuration(folder):
    host = socket.gethostname().split(".")[0]
    user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    controller, daemon = free_ports(2)
    return f"""ClusterName=rondo
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={max(2, os.cpu_count() or 1)} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


def wait_until_idle(environment, folder, daemons):
    deadline = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < deadline:
        for name, process in daemons.items():
            if process.poll() is not None:
                log = folder / f"{name}.log"
                said = log.read_text(errors="replace")[-400:] if log.exists() else "it said nothing"
                raise SlurmError(f"{name} ended with {process.returncode}: {said}")
        state = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True).stdout.strip()
        if state in ("idle", "mixed", "allocated"):
            return
        time.sleep(0.2)
    raise SlurmError(f"no node was idle after {UP_WITHIN_S} s")


def wait_until_no_job_is_left(environment):
    deadline = time.monotonic() + IDLE_WITHIN_S
    while time.monotonic() < deadline:
        if not subprocess.run(["squeue", "-h"], env=environment, capture_output=True, text=True).stdout.strip():
            return
        time.sleep(0.1)


def end_steps():
    """slurmd's steps outlive it; they are this process's children since it adopts them."""
    for child in pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        if pathlib.Path(f"/proc/{child}/comm").read_text().startswith("slurmstepd"):
            os.kill(int(child), signal.SIGKILL)
            os.waitpid(int(child), 0)


@contextlib.contextmanager
def one_box_slurm():
    """Yields the variables that srun needs."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="rondo-slurm-"))
    daemons = {}
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        (folder / "slurm.conf").write_text(configuration(folder))
        variables = {"SLURM_CONF": str(folder / "slurm.conf")}
        environment = {**os.environ, **variables, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}

        def start(name, *arguments):
            with open(folder / f"{name}.out", "wb") as output:
                daemons[name] = subprocess.Popen([name, *arguments], env=environment, stdout=output, stderr=output)

        start("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
              f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed")
        while not (folder / "munge.socket").exists() and daemons["munged"].poll() is None:
            time.sleep(0.05)
        start("slurmctld", "-D")
        start("slurmd", "-D")
        wait_until_idle(environment, folder, daemons)
        yield variables
        wait_until_no_job_is_left(environment)
    finally:
        for process in reversed(daemons.values()):
            process.send_signal(signal.SIGTERM)
        for process in daemons.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        end_steps()
        shutil.rmtree(folder, ignore_errors=True)
