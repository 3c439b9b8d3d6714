"""The recipes for several hosts in launcher/examples: run where this machine can, checked for syntax and sense where not.

usage: recipes.py --bin BUILD/bin
A line for each; status 1 when one is wrong. What is not run says why.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

from one_box_slurm import SlurmError, missing, one_box_slurm

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "launcher" / "examples"
TIMEOUT_S = 120
LAUNCHERS_OWN = re.compile(r"(RANK|WORLD_SIZE|(LOCAL|GROUP|ROLE)_.*|MASTER_.*|(OMPI|PMIX|PMI|SLURM|TORCHELASTIC|RONDO)_.*)$")


class Wrong(Exception):
    """What was seen and what was expected."""


class NotRun(Exception):
    """Why."""


def expect(true, sentence):
    if not true:
        raise Wrong(sentence)


def run(command, folder, programs, **variables):
    """Ends in good order, and its ranks say that they summed over two."""
    environment = {name: value for name, value in os.environ.items() if not LAUNCHERS_OWN.match(name)}
    environment |= {"PATH": f"{programs}:{environment['PATH']}:/usr/sbin:/sbin", "TMPDIR": tempfile.mkdtemp(dir=folder), **variables}
    done = subprocess.run([str(word) for word in command], cwd=folder, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S, check=False)
    expect(done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def expect_two_ranks(text):
    lines = sorted(re.findall(r"rank=(\d) world=2 local_rank=\d local_world=2 sum=(\d+)", text))
    expect(lines == [("0", "3"), ("1", "3")], f"two ranks that sum 1 + 2 were expected, and this was said:\n{text}")


def secret_file(folder):
    path = pathlib.Path(folder) / "rondo.secret"
    path.write_text(os.urandom(32).hex() + "\n")
    path.chmod(0o600)
    return str(path)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return str(held.getsockname()[1])


def flags_exist(text, programs):
    """Every flag of `rondo run` in a recipe is one of this build."""
    known = subprocess.run([f"{programs}/rondo", "run", "--help-all"], capture_output=True, text=True, check=True).stdout
    command = re.search(r"rondo run(.*?)(?: -- | /opt/)", text.replace("\\\n", " "), re.S)
    expect(command is not None, "no `rondo run` in it")
    for flag in re.findall(r"--[a-z][a-z-]+", command.group(1)):
        expect(re.search(rf"{flag}\b", known), f"`rondo run` has no {flag}")


def two_hosts(folder, programs):
    """Both hosts are this one, and each has one rank; loopback stands for their network."""
    script = EXAMPLES / "two_hosts.sh"
    flags_exist(script.read_text(), programs)
    variables = {"FIRST_HOST": "127.0.0.1", "PORT": free_port(), "RANKS_PER_HOST": "1", "RONDO_INTERFACE": "lo",
                 "RONDO_SECRET_FILE": secret_file(folder)}
    with concurrent.futures.ThreadPoolExecutor() as hosts:
        second = hosts.submit(run, [script, "1", f"{programs}/launched_comm"], folder, programs, **variables)
        text = run([script, "0", f"{programs}/launched_comm"], folder, programs, **variables)
        second.result()
    lines = sorted(re.findall(r"rank=(\d) world=2 local_rank=0 local_world=1 sum=(\d+)", text))
    expect(lines == [("0", "3"), ("1", "3")], f"a rank on each host, summing 1 + 2, was expected, and this was said:\n{text}")
    return "run by two agents on this host"


def mpirun(folder, programs):
    if shutil.which("mpirun") is None or "Open MPI" not in subprocess.run(["mpirun", "--version"], capture_output=True, text=True, check=False).stdout:
        raise NotRun("no mpirun of Open MPI: `./dev setup` brings it for the tests")
    for hosts in ("localhost:2", "localhost,localhost"):
        expect_two_ranks(run([EXAMPLES / "mpirun.sh", f"{programs}/launched_comm"], folder, programs, HOSTS=hosts,
                             OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1"))
    return "run with one host and two ranks, and with that host named twice"


def slurm(folder, programs):
    script = EXAMPLES / "slurm.sbatch"
    if absent := missing() + [name for name in ("sbatch",) if shutil.which(name) is None]:
        raise NotRun(f"no {' '.join(absent)}: `./dev setup --slurm` brings them")
    try:
        with one_box_slurm() as variables:
            run(["sbatch", "--test-only", "--nodes=1", script, "true"], folder, programs, **variables)
            output = pathlib.Path(folder) / "slurm.out"
            run(["sbatch", "--wait", "--nodes=1", f"--output={output}", script, f"{programs}/launched_comm"], folder, programs,
                RONDO_SECRET_FILE=secret_file(folder), **variables)
            expect_two_ranks(output.read_text())
    except SlurmError as error:
        raise NotRun(f"Slurm did not start: {error}") from error
    return "run by sbatch with one host and two ranks"


def kubernetes(folder, programs):
    try:
        import yaml
    except ImportError as error:
        raise NotRun("no PyYAML (python3-yaml): `./dev setup` brings it for the tests") from error
    text = (EXAMPLES / "kubernetes.yaml").read_text()
    flags_exist(text, programs)
    service, job = yaml.safe_load_all(text)
    name, spec = job["metadata"]["name"], job["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    command = " ".join(container["args"])
    expect((service["kind"], job["kind"]) == ("Service", "Job"), "a Service and a Job were expected")
    expect(service["spec"]["clusterIP"] == "None", "only a headless Service (clusterIP: None) gives pods names")
    expect(service["spec"]["publishNotReadyAddresses"], "pods must find each other before they are ready")
    expect(service["spec"]["selector"] == {"job-name": name}, "the Service selects the pods of the Job")
    expect(pod["subdomain"] == service["metadata"]["name"], "subdomain is the name of the Service")
    expect(spec["completionMode"] == "Indexed", "JOB_COMPLETION_INDEX is there in an indexed Job only")
    expect(spec["completions"] == spec["parallelism"], "all pods run at once")
    expect(f"--nnodes {spec['completions']} " in command, "--nnodes is the number of pods")
    expect('--node-rank "$JOB_COMPLETION_INDEX"' in command, "--node-rank is the pod's index")
    port = service["spec"]["ports"][0]["port"]
    expect(f"--rdzv-endpoint {name}-0.{pod['subdomain']}:{port} " in command, "hosts meet at pod 0 by its name")
    mount, volume = container["volumeMounts"][0], pod["volumes"][0]
    expect(mount["name"] == volume["name"], "the secret's volume is mounted")
    expect(volume["secret"]["defaultMode"] in (0o400, 0o600), "the secret is for its owner only: mode 0400 or 0600")
    path = {entry["name"]: entry["value"] for entry in container["env"]}["RONDO_SECRET_FILE"]
    expect(path == f"{mount['mountPath']}/rondo.secret", "RONDO_SECRET_FILE lies in the secret's volume")
    script = pathlib.Path(folder) / "pod.sh"
    script.write_text(command)
    subprocess.run([*container["command"][:1], "-n", str(script)], check=True)
    return "parsed; names, counts, ports and the secret's mode fit together"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    programs = pathlib.Path(parser.parse_args().bin).resolve()
    wrong = 0
    for script in sorted(EXAMPLES.iterdir()):
        if script.suffix in (".sh", ".sbatch"):
            subprocess.run(["bash", "-n", str(script)], check=True)
    for recipe in (two_hosts, mpirun, slurm, kubernetes):
        with tempfile.TemporaryDirectory(prefix="rondo-recipe-") as folder:
            try:
                print(f"{recipe.__name__}: {recipe(folder, programs)}", flush=True)
            except NotRun as why:
                print(f"{recipe.__name__}: not run: {why}")
            except (Wrong, subprocess.SubprocessError) as error:
                wrong = 1
                print(f"{recipe.__name__}: WRONG: {error}")
    sys.exit(wrong)


if __name__ == "__main__":
    main()
