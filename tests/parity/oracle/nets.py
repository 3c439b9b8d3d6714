"""The nets of the parity cases, with the names and the registration order of ../nets.cc."""
import math

import torch
from torch import nn
from torch.nn import functional as F

CLASSES, FEATURES, VOCABULARY, CONTEXT, HEADS = 10, 24, 29, 12, 2
LEFT, RIGHT, BOTH = 0, 1, 2  # ways through Branches


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(FEATURES, 4 * width)
        self.fc2 = nn.Linear(4 * width, 2 * width)
        self.fc3 = nn.Linear(2 * width, CLASSES)

    def forward(self, x, route):
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


class Cnn(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.fc1 = nn.Linear(2 * width * 9, 4 * width)
        self.fc2 = nn.Linear(4 * width, CLASSES)

    def forward(self, x, route):
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def conv(inputs, outputs, kernel, stride):
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs)
        self.down = self.down_bn = None
        if stride != 1:
            self.down, self.down_bn = conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)

    def forward(self, x):
        straight = x if self.down is None else self.down_bn(self.down(x))
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + straight)


class ResNet8(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.stem, self.bn = conv(3, width, 3, 1), nn.BatchNorm2d(width)
        self.stage1 = Block(width, width, 1)
        self.stage2 = Block(width, 2 * width, 2)
        self.stage3 = Block(2 * width, 4 * width, 2)
        self.fc = nn.Linear(4 * width, CLASSES)

    def forward(self, x, route):
        x = self.stage3(self.stage2(self.stage1(torch.relu(self.bn(self.stem(x))))))
        return self.fc(x.mean((2, 3)))


class Decoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        # No bias: the gradient of a key's is nothing but rounding, and Adam makes a whole step of it.
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.ln2 = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.proj(self.attention(self.ln1(x)))
        return x + self.down(F.gelu(self.up(self.ln2(x))))

    def attention(self, x):
        batch, length, width = x.shape
        depth = width // HEADS
        q, k, v = self.qkv(x).view(batch, length, 3, HEADS, depth).permute(2, 0, 3, 1, 4)
        scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(depth)
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        weights = torch.softmax(scores.masked_fill(later, -math.inf), -1)
        return torch.matmul(weights, v).transpose(1, 2).reshape(batch, length, width)


class Gpt(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.tok, self.pos = nn.Embedding(VOCABULARY, width), nn.Embedding(CONTEXT, width)
        self.block1, self.block2 = Decoder(width), Decoder(width)
        self.ln = nn.LayerNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        self.head.weight = self.tok.weight

    def forward(self, tokens, route):
        x = self.tok(tokens) + self.pos(torch.arange(tokens.shape[1]))
        return self.head(self.ln(self.block2(self.block1(x))))


class Branches(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.trunk = nn.Linear(FEATURES, width)
        self.left, self.right = nn.Linear(width, width), nn.Linear(width, width)
        self.never = nn.Linear(width, width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x, route):
        x = torch.relu(self.trunk(x))
        if route == LEFT:
            return self.head(torch.relu(self.left(x)))
        if route == RIGHT:
            return self.head(torch.relu(self.right(x)))
        return self.head(torch.relu(self.left(x)) + torch.relu(self.right(x)))


NETS = {"mlp": Mlp, "cnn": Cnn, "resnet8": ResNet8, "gpt": Gpt, "branches": Branches}


def make_net(settings):
    return NETS[settings["net"]](settings["width"]).to(getattr(torch, settings["dtype"]))


def make_batch(net, count, dtype, generator):
    """(input, target) of `count` samples."""
    if net == "gpt":
        tokens = torch.randint(VOCABULARY, (count, CONTEXT + 1), generator=generator)
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    shape = {"cnn": (1, 12, 12), "resnet8": (3, 12, 12)}.get(net, (FEATURES,))
    x = torch.randn(count, *shape, dtype=torch.float64, generator=generator).to(dtype)
    return x, torch.randint(CLASSES, (count,), generator=generator)
