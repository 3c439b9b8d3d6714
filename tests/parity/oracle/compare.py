"""Runs Rondo on the files that ddp_side wrote, and measures how far apart the two are."""
import dataclasses
import math
import os
import subprocess

import torch
from safetensors.torch import load_file

from . import cases

NOT_THERE = 2  # exit code of the worker when a case asks for what Rondo does not have


@dataclasses.dataclass
class Result:
    name: str
    wanted: str
    result: str  # passed, failed, not built
    why: str


def run_rondo(case, folder, programs):
    """What Rondo computes, or a Result that says why there is nothing."""
    output = folder / f"{case.name}.rondo.safetensors"
    command = [programs / "rondo", "run", "--nproc-per-node", str(case.world), "--run-dir", folder / f"run-{case.name}-{os.urandom(3).hex()}",
               programs / "parity_worker", folder / f"{case.name}.safetensors", output]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    said = [line.split("parity_worker: ", 1)[1] for line in ended.stderr.splitlines() if "parity_worker: " in line]
    if ended.returncode == NOT_THERE and said:
        return Result(case.name, wanted(case), "not built", said[0])
    if ended.returncode != 0:
        return Result(case.name, wanted(case), "failed", f"exit code {ended.returncode}: {(said or ended.stderr.splitlines() or ['silence'])[0]}")
    return load_file(output)


def check(case, folder, programs):
    computed = run_rondo(case, folder, programs)
    if isinstance(computed, Result):
        return computed
    tensors = load_file(folder / f"{case.name}.safetensors")
    verdict = compare(case, tensors, computed)
    if verdict.result == "passed" and case.repeat:
        again = run_rondo(case, folder, programs)
        if isinstance(again, Result) or any(not same_bits(again[name], computed[name]) for name in computed):
            return dataclasses.replace(verdict, result="failed", why="a second run has other bits")
        verdict.why += "; a second run has the same bits"
    return verdict


def wanted(case):
    if case.bound == cases.BITS:
        return cases.BITS
    return f"<= {case.bound:.0e} {'an element' if case.measure == 'largest' else 'of the norm'}"


def compare(case, tensors, computed):
    def ended(result, why):
        return Result(case.name, wanted(case), result, why)

    if computed["replicas_equal"].item() != 1:
        return ended("failed", "the parameters of Rondo's ranks differ")
    expected = {name.removeprefix("expect."): tensor for name, tensor in tensors.items() if name.startswith("expect.")}
    actual = {name: tensor for name, tensor in computed.items() if name != "replicas_equal"}
    if expected["loss"].shape[2] != actual["loss"].shape[2]:
        actual["loss"] = mean_over_samples(case, actual["loss"])
    if not case.keep_gradients:
        assert not any(name.startswith("gradient.") for name in actual)
    if set(expected) != set(actual):
        return ended("failed", f"only one of the two has {min(set(expected) ^ set(actual))}")
    if any(expected[name].shape != actual[name].shape or not torch.equal(expected[name].isnan(), actual[name].isnan()) for name in expected):
        return ended("failed", "shapes differ, or numbers are missing")
    kinds = group(expected)
    if case.bound == cases.BITS:
        different = [name for name in sorted(expected) if not same_bits(expected[name], actual[name])]
        if different:
            worst = {kind: distance(case, names, expected, actual) for kind, names in kinds.items()}
            return ended("failed", f"{len(different)} of {len(expected)} tensors differ, the first {different[0]}; distances {figures(worst)}")
        gradients = sum(len(names) for kind, names in kinds.items() if kind.startswith("gradients"))
        counts = [f"{len(names)} {kind}" for kind, names in kinds.items() if not kind.startswith("gradients")]
        return ended("passed", "equal: " + ", ".join(counts + ([f"{gradients} gradients"] if gradients else [])))
    distances = {kind: distance(case, names, expected, actual) for kind, names in kinds.items()}
    good = all(value <= case.bound for value in distances.values())
    return ended("passed" if good else "failed", figures(distances))


def group(names):
    """Kind of tensor -> its names. Gradients: one kind for each step, so that a large step hides no small one."""
    kinds = {}
    for name in sorted(names):
        parts = name.split(".")
        kind = {"loss": "losses", "parameter": "parameters", "buffer": "buffers"}.get(parts[0]) or f"gradients of step {parts[1]}"
        kinds.setdefault(kind, []).append(name)
    return kinds


def figures(distances):
    """The gradients by their worst step."""
    shown = {}
    for kind, value in distances.items():
        kind = kind.split(" of step")[0]
        shown[kind] = max(shown.get(kind, 0.0), value)
    return ", ".join(f"{kind} {value:.1e}" for kind, value in shown.items())


def distance(case, names, expected, actual):
    pairs = [(expected[name].double().nan_to_num(), actual[name].double().nan_to_num()) for name in names]
    if case.measure == "largest":
        # Of numbers above 1, such as gpt's losses, the part: 1e-6 is less than float32 tells apart from 16 on.
        return max(((a - b).abs() / a.abs().clamp(min=1)).max().item() for a, b in pairs)
    difference = math.sqrt(sum((a - b).square().sum().item() for a, b in pairs))
    norm = math.sqrt(sum(a.square().sum().item() for a, b in pairs))
    return difference / norm if norm else math.inf if difference else 0.0


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.reshape(-1).view(torch.uint8).equal(b.reshape(-1).view(torch.uint8))


def mean_over_samples(case, losses):
    """(steps, micro-batches, ranks) -> (steps, micro-batches, 1)"""
    sizes = torch.tensor([[case.samples(rank, step) for rank in range(case.world)] for step in range(case.steps)], dtype=torch.float64)
    sizes = sizes.unsqueeze(1).expand_as(losses)
    return (losses.nan_to_num() * sizes).sum(2, keepdim=True) / sizes.sum(2, keepdim=True)
