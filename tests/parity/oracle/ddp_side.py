"""PyTorch's side: trains the cases by DistributedDataParallel over Gloo, one process with one thread a rank."""
import contextlib
import os

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import multiprocessing
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from . import cases, nets


class Training:
    """One rank of a case, or the only process of one."""

    def __init__(self, case, tensors, rank):
        self.case, self.tensors, self.rank = case, tensors, rank
        self.alone = case.against == cases.ONE_PROCESS
        self.kept = {}
        self.losses = torch.full((case.steps, case.micro_batches), float("nan"), dtype=torch.float64)
        self.net = nets.make_net(case.settings())
        with torch.no_grad():
            for name, tensor in [*self.net.named_parameters(), *self.net.named_buffers()]:
                if rank == 0:
                    tensor.copy_(tensors[f"initial.{name}"])
                else:  # DistributedDataParallel must bring them
                    tensor.fill_(rank)

    def run(self):
        case, model = self.case, self.net
        if not self.alone:
            more = {"bucket_cap_mb": case.bucket_bytes / 2**20} if case.bucket_bytes else {}
            model = DistributedDataParallel(self.net, find_unused_parameters=case.find_unused, **more)
            if case.hook:
                model.register_comm_hook(None, {"bf16": default_hooks.bf16_compress_hook}[case.hook])
        kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[case.optimizer["name"]]
        optimizer = kind(self.net.parameters(), **{key: value for key, value in case.optimizer.items() if key != "name"})
        joined = model.join(divide_by_initial_world_size=False) if case.against == cases.JOIN else contextlib.nullcontext()
        with joined:
            for step in range(case.steps):
                if self.alone or case.samples(self.rank, step):
                    self.step(model, optimizer, step)

    def step(self, model, optimizer, step):
        case = self.case
        for name, parameter in self.net.named_parameters():
            if case.reload:
                self.kept[f"reload.{step}.{name}"] = parameter.detach().clone()
        optimizer.zero_grad()
        for micro in range(case.micro_batches):
            here = micro + 1 < case.micro_batches and not self.alone
            with model.no_sync() if here else contextlib.nullcontext():
                x, target = self.batch(step, micro)
                logits = model(x, case.routes[step][self.rank] if case.routes else nets.BOTH)
                loss = F.cross_entropy(logits.flatten(0, -2), target.flatten())
                self.losses[step, micro] = loss.item()
                (loss / case.micro_batches if case.micro_batches > 1 else loss).backward()
        for name, parameter in self.net.named_parameters():
            if case.keep_gradients and parameter.grad is not None:
                self.kept[f"expect.gradient.{step}.{name}"] = parameter.grad.clone()
        optimizer.step()

    def batch(self, step, micro):
        ranks = range(self.case.world) if self.alone else [self.rank]
        places = [f"{step}.{micro}.{rank}" for rank in ranks if self.case.samples(rank, step)]
        return [torch.cat([self.tensors[f"{what}.{place}"] for place in places]) for what in ("input", "target")]

    def results(self, losses):
        """`losses`: (steps, micro-batches, processes)"""
        state = {f"expect.parameter.{name}": tensor.detach().clone() for name, tensor in self.net.named_parameters()}
        state |= {f"expect.buffer.{name}": tensor.clone() for name, tensor in self.net.named_buffers()}
        return state | self.kept | {"expect.loss": losses}


def _rank(rank, world, chosen, folder):
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store-{world}", rank=rank, world_size=world)
    for case in chosen:
        file = f"{folder}/{case.name}.safetensors"
        training = Training(case, load_file(file), rank)
        alone = case.against == cases.ONE_PROCESS
        if not alone or rank == 0:
            training.run()
        losses = [training.losses]
        if not alone:
            losses = [torch.empty_like(training.losses) for _ in range(world)]
            dist.all_gather(losses, training.losses)
        dist.barrier()  # all have read the file
        if rank == 0:
            results = {name: tensor.contiguous() for name, tensor in training.results(torch.stack(losses, 2)).items()}
            save_file(training.tensors | results, file, metadata=cases.metadata(case))
        dist.barrier()
    dist.destroy_process_group()


def compute(chosen, folder):
    """Writes folder/NAME.safetensors for each case: what is trained, and what PyTorch makes of it."""
    for case in chosen:
        save_file(case.tensors(), f"{folder}/{case.name}.safetensors", metadata=cases.metadata(case))
    for world in sorted({case.world for case in chosen}):
        of_world = [case for case in chosen if case.world == world]
        multiprocessing.spawn(_rank, (world, of_world, str(folder)), nprocs=world)
