#!/usr/bin/env python3
"""One rank of PyTorch's DistributedDataParallel over Gloo, on the nets of trainer/models/bench_models.h: the rival of
`rondo bench train` and `rondo bench start`, which start it. Layers are made in the same order there, and one seed gives the same initial values
and the same data, so that the loss after the last step must agree. Rank 0 appends a JSON row to --json.
"""
import argparse
import json
import os
import statistics
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

SIDE, CLASSES, VOCABULARY, TOKENS, WIDTH, HEADS, LAYERS = 28, 10, 65, 64, 128, 4, 4


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, CLASSES)

    def forward(self, images):
        seen = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(images)))), 2)
        return self.fc2(F.relu(self.fc1(seen.flatten(1))))


def conv(inputs, outputs, kernel, stride):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.norm1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = conv(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def resnet18():
    layers, inputs = [conv(1, 64, 3, 1), nn.BatchNorm2d(64), nn.ReLU()], 64
    for outputs in (64, 128, 256, 512):
        for stride in (1 if outputs == 64 else 2, 1):
            layers.append(Block(inputs, outputs, stride))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))


class GptLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.qkv, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm2, self.fc1, self.fc2 = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, -1))
        return y + self.fc2(F.gelu(self.fc1(self.norm2(y))))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(TOKENS, WIDTH)
        self.layers = nn.ModuleList(GptLayer() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)).flatten(0, 1)


def make(name, batch, rank):
    torch.manual_seed(0)
    if name == "mlp":
        net = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(),
                            nn.Linear(4096, CLASSES))
    else:
        net = {"cnn": Cnn, "resnet18": resnet18, "gpt": Gpt}[name]()
    torch.manual_seed(1 + rank)
    if name == "gpt":
        return net, torch.randint(VOCABULARY, (batch, TOKENS)), torch.randint(VOCABULARY, (batch, TOKENS)).flatten()
    return net, torch.randn(batch, 1, SIDE, SIDE), torch.randint(CLASSES, (batch,))


def peak_rss_bytes():
    with open("/proc/self/status", encoding="utf-8") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def first_step(loss, request):
    """When the last rank had done it."""
    done = torch.tensor([time.monotonic_ns()])
    dist.all_reduce(done, op=dist.ReduceOp.MAX)
    loss = loss.double()
    dist.all_reduce(loss)
    if dist.get_rank() == 0:
        row = {"kind": "row", "bench": "first-step", "model": request.model, "ranks": dist.get_world_size(),
               "batch": request.batch, "first_step_ns": done.item(), "loss": loss.item() / dist.get_world_size()}
        with open(request.json, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    dist.destroy_process_group()
    os._exit(0)  # as below


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("study", choices=["ranks", "first-step"])
    parser.add_argument("--variant", choices=["view", "static"], default="view")
    parser.add_argument("--contender", default="pytorch")
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--json", required=True)
    for flag, value in (("batch", 64), ("blocks", 3), ("steps", 8), ("warm-up", 2), ("round", 1)):
        parser.add_argument(f"--{flag}", type=int, default=value)
    request = parser.parse_args()

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world_size = dist.get_rank(), dist.get_world_size()
    net, inputs, targets = make(request.model, request.batch, rank)
    ddp = DistributedDataParallel(net, gradient_as_bucket_view=True, static_graph=request.variant == "static")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    step_seconds, block_seconds = [], []

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(ddp(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    if request.study == "first-step":
        loss = step()
        first_step(loss, request)
    for _ in range(request.warm_up):
        loss = step()
    for _ in range(request.blocks):
        dist.barrier()
        begin = time.perf_counter()
        for _ in range(request.steps):
            step_begin = time.perf_counter()
            loss = step()
            step_seconds.append(time.perf_counter() - step_begin)
        dist.barrier()
        block_seconds.append(time.perf_counter() - begin)

    sum_of_losses = loss.double()
    dist.all_reduce(sum_of_losses)
    if rank == 0:
        parameters = sum(p.numel() for p in net.parameters())
        row = {"kind": "row", "bench": "train", "model": request.model, "contender": request.contender,
               "round": request.round, "ranks": world_size, "threads": torch.get_num_threads(), "batch": request.batch,
               "steps": request.warm_up + request.blocks * request.steps, "parameters": parameters,
               "gradient_bytes": sum(p.numel() * p.element_size() for p in net.parameters()), "transport": "gloo",
               "samples_per_second": request.batch * world_size * request.steps / statistics.median(block_seconds),
               "step_p50_us": statistics.median(step_seconds) * 1e6, "loss": sum_of_losses.item() / world_size,
               "peak_rss_bytes": peak_rss_bytes(), "torch": torch.__version__}
        with open(request.json, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    dist.destroy_process_group()
    os._exit(0)  # at times the interpreter's own end aborts: "terminate called without an active exception"


main()
