"""The parity cases: what is trained, against what of PyTorch's, and how far apart the two may be."""
import dataclasses
import json
import zlib

import torch

from . import nets

SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
ADAMW = {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01}
WIDTHS = {"mlp": 32, "cnn": 12, "resnet8": 8, "gpt": 32, "branches": 32}
SMALL = {"mlp": 4, "cnn": 2, "resnet8": 2, "gpt": 8, "branches": 8}  # of golden files

DDP = "ddp"                  # DistributedDataParallel over Gloo, as many processes as ranks
JOIN = "join"                # the same inside join(divide_by_initial_world_size=False)
ONE_PROCESS = "one process"  # the plain net on the batches of all ranks together
BITS = "same bits"


@dataclasses.dataclass
class Case:
    name: str
    net: str
    against: str = DDP
    bound: object = BITS  # or the largest distance
    measure: str = "norm"  # of a distance: "norm": of the difference, by the norm; "largest": of an element, by itself where it is above 1
    world: int = 2
    steps: int = 20
    dtype: str = "float32"
    optimizer: dict = dataclasses.field(default_factory=lambda: SGD)
    micro_batches: int = 1
    batches: list = None     # [rank][step]: samples; 0: the rank has run out; default: `batch` everywhere
    batch: int = 8
    weigh: bool = False
    routes: list = None      # [step][rank] through the net "branches"
    find_unused: bool = False
    sync_batch_norm: bool = False
    reload: bool = False     # each step starts from PyTorch's parameters
    keep_gradients: bool = False
    bucket_bytes: int = 4096
    hook: str = ""
    repeat: bool = False     # Rondo's second run has the bits of its first
    width: int = 0

    def settings(self):
        kept = "net world steps dtype optimizer micro_batches weigh routes sync_batch_norm reload keep_gradients bucket_bytes hook"
        settings = {key: getattr(self, key) for key in kept.split() if getattr(self, key) is not None}
        return settings | {"width": self.width or WIDTHS[self.net]}

    def samples(self, rank, step):
        return self.batches[rank][step] if self.batches else self.batch

    def tensors(self):
        """Initial values and batches, from the name alone."""
        seed = zlib.crc32(self.name.encode())
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        net = nets.make_net(self.settings())
        tensors = {f"initial.{name}": tensor.detach().clone() for name, tensor in net.named_parameters()}
        tensors |= {f"initial.{name}": tensor.clone() for name, tensor in net.named_buffers()}
        for step in range(self.steps):
            for micro in range(self.micro_batches):
                for rank in range(self.world):
                    if count := self.samples(rank, step):
                        batch = nets.make_batch(self.net, count, getattr(torch, self.dtype), generator)
                        place = f"{step}.{micro}.{rank}"
                        tensors[f"input.{place}"], tensors[f"target.{place}"] = batch
        return tensors


def until(*steps, batch=8, of=None):
    """Batches of `batch` samples; rank r has steps[r] of them."""
    of = of or max(steps)
    return [[batch if step < own else 0 for step in range(of)] for own in steps]


# Every mixture of used and unused branches, the same parameter unused on one rank, on the other, on all.
L, R, B = nets.LEFT, nets.RIGHT, nets.BOTH
ROUTES_2 = [[L, L], [R, R], [L, R], [R, L], [B, L], [R, B], [B, B]] * 3
ROUTES_3 = [[L, L, L], [R, R, R], [L, R, L], [B, L, L], [R, R, B], [B, B, B]] * 4
BASIC = ("mlp", "cnn", "resnet8", "gpt")


def all_cases():
    cases = [Case(f"sgd-{net}", net, repeat=net == "resnet8") for net in BASIC]
    cases += [Case(f"adamw-{net}", net, optimizer=ADAMW, bound=1e-6, measure="largest") for net in BASIC]
    cases += [Case("bf16-hook-mlp", "mlp", hook="bf16", bound=1e-2)]
    cases += [Case("default-buckets-mlp", "mlp", bucket_bytes=0)]
    cases += [Case(f"world-3-gradients-{net}", net, world=3, steps=5, reload=True, keep_gradients=True, bound=1e-6) for net in BASIC]
    cases += [Case(f"world-3-fp64-{net}", net, world=3, dtype="float64", bound=1e-10) for net in BASIC]
    cases += [Case(f"accumulation-{net}", net, micro_batches=3, keep_gradients=True) for net in ("mlp", "resnet8", "gpt")]
    cases += [Case("accumulation-world-3", "mlp", world=3, micro_batches=4, dtype="float64", bound=1e-10)]
    cases += [Case("unused-parameters", "branches", routes=ROUTES_2[:20], find_unused=True, keep_gradients=True)]
    cases += [Case("unused-parameters-world-3", "branches", world=3, routes=ROUTES_3[:20], find_unused=True, keep_gradients=True,
                   dtype="float64", bound=1e-10)]
    cases += [Case("uneven-inputs", "mlp", against=JOIN, steps=5, batches=until(5, 3), weigh=True)]
    cases += [Case("uneven-inputs-world-3", "cnn", against=JOIN, world=3, steps=5, batches=until(5, 3, 0), weigh=True, dtype="float64", bound=1e-10)]
    cases += [Case("unequal-batches", "cnn", against=ONE_PROCESS, batches=[[5] * 20, [3] * 20], weigh=True, dtype="float64", bound=1e-10)]
    cases += [Case("large-batch-gpt", "gpt", against=ONE_PROCESS, dtype="float64", bound=1e-10)]
    cases += [Case("sync-batch-norm", "resnet8", against=ONE_PROCESS, sync_batch_norm=True, dtype="float64", bound=1e-10)]
    cases += [Case("sync-batch-norm-unequal-world-3", "resnet8", against=ONE_PROCESS, world=3, steps=5, sync_batch_norm=True, weigh=True,
                   batches=[[5] * 5, [2] * 5, [3] * 5], dtype="float64", bound=1e-10)]
    return cases


def golden_cases():
    """Small and in float64, so that other instruction sets agree; compared by golden_test.cc."""
    def small(name, net, **more):
        return Case(name, net, **({"dtype": "float64", "bound": 1e-10, "batch": 3, "steps": 3, "bucket_bytes": 256, "width": SMALL[net]} | more))

    cases = [small(f"sgd-{net}", net) for net in BASIC]
    cases += [small("adamw", "gpt", optimizer=ADAMW)]
    cases += [small("world-3", "resnet8", world=3, keep_gradients=True)]
    cases += [small("accumulation", "mlp", micro_batches=3, keep_gradients=True)]
    cases += [small("unused-parameters", "branches", routes=ROUTES_2[:7], steps=7, find_unused=True, keep_gradients=True)]
    cases += [small("uneven-inputs", "mlp", against=JOIN, world=3, steps=4, batches=until(4, 2, 0, batch=3), weigh=True)]
    cases += [small("unequal-batches", "cnn", against=ONE_PROCESS, batches=[[5] * 3, [2] * 3], weigh=True)]
    cases += [small("sync-batch-norm", "resnet8", against=ONE_PROCESS, world=3, sync_batch_norm=True, weigh=True,
                    batches=[[3] * 3, [1] * 3, [2] * 3])]
    return cases


def metadata(case):
    """One entry: safetensors writes several in any order, and golden files shall have the same bytes each time."""
    return {"case": json.dumps(case.settings() | {"against": case.against, "torch": torch.__version__})}
