"""A checkpoint of Rondo loads into the same net in Python, strictly, and computes the same.

Trains the recipe for a few steps, lets rondo-train write inputs and outputs of its net, loads model.safetensors by
`load_state_dict(strict=True)` and compares. Needs torch, safetensors and numpy (`./dev setup --pytorch`).

usage: python safetensors_into_python.py --rondo-train build/bin/rondo-train [--recipe fmnist-cnn] [--keep FOLDER]
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from torch import nn

BOUND = 1e-5  # largest difference of a logit: same library version, same kernels, perhaps other threads


class FmnistCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.fc1 = nn.Linear(64 * 7 * 7, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class FmnistMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 256)
        self.fc2 = nn.Linear(256, 128)
        self.fc3 = nn.Linear(128, 64)
        self.fc4 = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1)))))
        return self.fc4(torch.relu(self.fc3(x)))


NETS = {"fmnist-cnn": (FmnistCnn, 421_642), "fmnist-mlp": (FmnistMlp, 242_762)}


def check(recipe, rondo_train, folder):
    """The largest difference of a logit, or an AssertionError with what is wrong."""
    run = folder / f"run-{recipe}"
    run.mkdir(parents=True)
    environment = {**os.environ, "RONDO_RUN_DIR": str(run), "OMP_NUM_THREADS": "1"}
    subprocess.run([rondo_train, recipe, "epochs=1", "limit=1280"], check=True, env=environment, timeout=300)
    outputs = folder / f"{recipe}.safetensors"
    subprocess.run([rondo_train, "--dump-outputs", outputs, "--resume", run], check=True, env=environment, timeout=300)

    checkpoint = max((run / "checkpoints").glob("step-*"))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    state = load_file(checkpoint / "model.safetensors")
    state |= {alias: state[name] for alias, name in manifest["aliases"].items()}
    kind, parameters = NETS[recipe]
    net = kind()
    assert list(state) and set(state) == set(net.state_dict()), f"keys differ: {sorted(set(state) ^ set(net.state_dict()))}"
    net.load_state_dict(state, strict=True)
    assert sum(p.numel() for p in net.parameters()) == parameters, f"expected {parameters} parameters"
    momentum = load_file(checkpoint / "optimizer.safetensors")
    for name, parameter in net.named_parameters():
        assert momentum[f"state.{name}.momentum_buffer"].shape == parameter.shape, f"momentum of {name}"

    dumped = load_file(outputs)
    with torch.no_grad():
        logits = net.eval()(dumped["inputs"])
        fresh = kind().eval()(dumped["inputs"])
    difference = (logits - dumped["logits"]).abs().max().item()
    assert (fresh - dumped["logits"]).abs().max().item() > 100 * BOUND, "an untrained net gives the same: the comparison sees nothing"
    assert difference <= BOUND, f"logits differ by {difference:.3g}, at most {BOUND:.0e} expected"
    assert torch.equal(logits.argmax(1), dumped["logits"].argmax(1)), "predictions differ"
    return difference


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    programs = os.environ.get("RONDO_BIN")  # set by `./dev parity`
    arguments.add_argument(
        "--rondo-train",
        default=programs and os.path.join(programs, "rondo-train"),
        required=not programs,
        help="the program; default: in the folder RONDO_BIN",
    )
    arguments.add_argument("--recipe", choices=sorted(NETS), action="append", help="default: all")
    arguments.add_argument("--keep", type=pathlib.Path, help="keep the runs here")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or pathlib.Path(temporary)
        for recipe in options.recipe or sorted(NETS):
            try:
                difference = check(recipe, options.rondo_train, folder)
            except AssertionError as error:
                print(f"parity: {recipe}: {error}")
                return 1
            print(f"parity: {recipe} loads into Python {torch.__version__} with strict=True; logits differ by at most {difference:.3g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
