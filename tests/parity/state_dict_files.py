"""`.pt` and safetensors files both ways: what Rondo writes, Python loads by its defaults; what Python writes is what CI reads in C++.

1. `rondo ckpt export` of a trained recipe: torch.load(file) (weights_only), load_state_dict(strict=True), the same values as in the checkpoint.
2. The files in tests/trainer/checkpoint/data are what this Python writes today; `--write` writes them anew.

Needs torch and safetensors (`./dev setup --pytorch`).
usage: python state_dict_files.py [--rondo build/bin/rondo] [--write]
"""
import argparse
import collections
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file, save_model
from torch import nn

DATA = pathlib.Path(__file__).resolve().parent.parent / "trainer" / "checkpoint" / "data"


class Net(nn.Module):
    """The net of tests/trainer/checkpoint/state_dict_test.cc."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4, 3)
        self.first = nn.Linear(3, 5)
        self.norm = nn.BatchNorm1d(5)
        self.head = nn.Linear(3, 4, bias=False)
        self.head.weight = self.embedding.weight  # tied
        with torch.no_grad():
            for place, (name, tensor) in enumerate(self.state_dict().items()):
                if name != "head.weight":
                    tensor.copy_((torch.arange(tensor.numel()).reshape(tensor.shape) + 100 * place) / 8)
            self.norm.num_batches_tracked.fill_(7)


class Wrapper(nn.Module):
    """Gives keys the prefix that DistributedDataParallel gives them."""

    def __init__(self, module):
        super().__init__()
        self.module = module


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/rondo-evil-pickle-was-run",))


def write_all(folder):
    net = Net()
    torch.save(net.state_dict(), folder / "state_dict.pt")
    torch.save({"epoch": 3, "model": Wrapper(net).state_dict()}, folder / "training.pt")
    torch.save({"first.weight": Evil()}, folder / "evil.pt")
    save_model(net, str(folder / "state_dict.safetensors"))


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, (dict, collections.OrderedDict)):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return a == b


def golden_files_are_current():
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write_all(folder)
        for name in ("state_dict.pt", "training.pt"):
            assert same(torch.load(DATA / name), torch.load(folder / name)), f"{name} differs from what Python writes"
        assert same(load_file(DATA / "state_dict.safetensors"), load_file(folder / "state_dict.safetensors")), "safetensors differ"
        assert (DATA / "evil.pt").stat().st_size == (folder / "evil.pt").stat().st_size, "evil.pt differs"


def exports_load(rondo):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    from safetensors_into_python import NETS

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)

        def run(*words):
            subprocess.run([rondo, *words], check=True, cwd=folder, timeout=300, stdout=subprocess.DEVNULL)

        run("train", "fmnist-mlp", "epochs=1", "limit=640", "--run-dir", "run")
        run("ckpt", "export", "run", "--format", "pt", "model.pt")
        run("ckpt", "export", "run", "--format", "safetensors", "model.safetensors")
        stored = load_file(max((folder / "run" / "checkpoints").glob("step-*")) / "model.safetensors")
        for state in (torch.load(folder / "model.pt"), load_file(folder / "model.safetensors")):
            net = NETS["fmnist-mlp"][0]()
            net.load_state_dict(state, strict=True)
            assert same(dict(sorted(net.state_dict().items())), dict(sorted(stored.items()))), "values differ"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    programs = os.environ.get("RONDO_BIN")  # set by `./dev parity`
    arguments.add_argument("--rondo", default=programs and os.path.join(programs, "rondo"), help="the program; default: in the folder RONDO_BIN")
    arguments.add_argument("--write", action="store_true", help="write the files that C++ tests read, compare nothing")
    options = arguments.parse_args()
    if options.write:
        write_all(DATA)
        return 0
    if not options.rondo:
        arguments.error("--rondo PROGRAM is needed where RONDO_BIN is not set")
    try:
        golden_files_are_current()
        print("parity: the files that C++ tests read are what Python writes")
        exports_load(str(pathlib.Path(options.rondo).resolve()))
        print(f"parity: exported .pt and safetensors load into Python {torch.__version__} by its defaults, strictly, with equal values")
    except AssertionError as error:
        print(f"parity: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
