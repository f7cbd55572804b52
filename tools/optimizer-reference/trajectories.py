"""Fifty steps of every optimizer in its own library, for test/gpu/training/optimizers.test.ts.

    python tools/optimizer-reference/trajectories.py test/fixtures/training/optimizers.safetensors

Libraries: torch, lion-pytorch, transformers (Adafactor), pytorch_optimizer (CAME, Tiger), prodigyopt, dadaptation, schedulefree; bitsandbytes for the tables and the
rounding of 8-bit state (its 8-bit optimizers themselves run on CUDA only, so their two lines of arithmetic are restated here around its quantize_blockwise).

Values and gradients are float64, so that the file holds the rule itself and not one machine's rounding; 8-bit state is rounded as bitsandbytes does it, in float32.
Start values and gradients are not stored: `noise` makes them, here and in the test, from integers. `c` is a convolution [6, 7, 3, 3]; optimizers that factor the squares of a
matrix get it as the matrix [6, 63] it is used as (see src/kernels/optimizer-factored.ts).
"""

import json
import math
import sys

import bitsandbytes.functional as bnb
import dadaptation
import numpy as np
import prodigyopt
import pytorch_optimizer
import schedulefree
import torch
import transformers
from lion_pytorch import Lion
from safetensors.torch import save_file

STEPS = 50
# Columns as the engine stores them: a rank of 5 takes the room of 8, and the blocks of 8-bit state run over that.
STORED_COLUMNS = {305: 8}
SHAPES = {"a": (5, 37), "b": (61, 5), "c": (6, 7, 3, 3), "d": (67, 70)}
KEPT = {"a": (1, 10, 50), "b": (1, 10, 50), "c": (1, 10, 50), "d": (50,)}


def noise(count: int, seed: int) -> np.ndarray:
    """Fractions of 2^-24 in [-0.5, 0.5), from a 32-bit mixer."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9) + np.uint32((seed * 0x85EBCA6B) & 0xFFFFFFFF)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float64) / 2**24 - 0.5


def start(index: int, count: int) -> np.ndarray:
    return noise(count, 1000 + index)


def gradient(step: int, index: int, count: int) -> np.ndarray:
    """A constant part and noise; exact in float32."""
    return (noise(count, 2000 + index) + noise(count, 10 * step + index)) / 16


def rate(k: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * k / STEPS))


class EightBit(torch.optim.Optimizer):
    """Lion or AdamW with running means kept by bitsandbytes in blocks of 256 with 8 bits a number."""

    def __init__(self, params, kind, lr, betas, eps=1e-8, weight_decay=0.0):
        super().__init__(params, {"lr": lr})
        self.kind, self.betas, self.eps, self.decay, self.k = kind, betas, eps, weight_decay, 0

    def load(self, p, name):
        kept = self.state[p].get(name)
        if kept is None:
            return torch.zeros(p.numel())
        rows, columns = p.shape[0], p.numel() // p.shape[0]
        stored = STORED_COLUMNS.get(p.numel(), columns)
        return bnb.dequantize_blockwise(kept[0], kept[1])[: rows * stored].reshape(rows, stored)[:, :columns].flatten()

    def keep(self, p, name, value):
        rows, columns = p.shape[0], p.numel() // p.shape[0]
        stored = STORED_COLUMNS.get(p.numel(), columns)
        padded = torch.zeros(math.ceil(rows * stored / 256) * 256)
        padded[: rows * stored].reshape(rows, stored)[:, :columns] = value.reshape(rows, columns)
        self.state[p][name] = bnb.quantize_blockwise(padded, code=bnb.create_dynamic_map(signed=name == "m"), blocksize=256)

    @torch.no_grad()
    def step(self):
        self.k += 1
        b1, b2 = self.betas
        for group in self.param_groups:
            for p in group["params"]:
                g, lr = p.grad.flatten().float(), group["lr"]
                m = self.load(p, "m")
                p.mul_(1 - lr * self.decay)
                if self.kind == "lion":
                    p.sub_((lr * torch.sign(b1 * m + (1 - b1) * g)).view_as(p))
                    m = b2 * m + (1 - b2) * g
                else:
                    m = b1 * m + (1 - b1) * g
                    v = b2 * self.load(p, "v") + (1 - b2) * g * g
                    p.sub_((lr / (1 - b1**self.k) * m / (v.sqrt() / math.sqrt(1 - b2**self.k) + self.eps)).view_as(p))
                    self.keep(p, "v", v)
                self.keep(p, "m", m)


def cases():
    """name → (settings as in the recipe, learning rate, makes the optimizer)."""
    fixed = {"foreach": False}
    lion = {"kind": "lion", "beta1": 0.9, "beta2": 0.99, "weightDecay": 0, "stateBits": 32}
    adam = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "stateBits": 32}
    yield "lion", lion, 2e-3, lambda p, lr: Lion(p, lr=lr, betas=(0.9, 0.99))
    yield "lion-decay", {**lion, "beta1": 0.95, "beta2": 0.98, "weightDecay": 0.1}, 2e-3, lambda p, lr: Lion(p, lr=lr, betas=(0.95, 0.98), weight_decay=0.1)
    yield "lion-8bit", {**lion, "stateBits": 8}, 2e-3, lambda p, lr: EightBit(p, "lion", lr, (0.9, 0.99))
    yield "adamw", {"kind": "adamw", **adam, "weightDecay": 0.01}, 2e-3, lambda p, lr: torch.optim.AdamW(p, lr=lr, **fixed)
    yield (
        "adamw-8bit",
        {"kind": "adamw", **adam, "weightDecay": 0.01, "stateBits": 8},
        2e-3,
        lambda p, lr: EightBit(p, "adamw", lr, (0.9, 0.999), weight_decay=0.01),
    )
    yield "adam", {"kind": "adam", **adam, "weightDecay": 0.1}, 2e-3, lambda p, lr: torch.optim.Adam(p, lr=lr, weight_decay=0.1, **fixed)
    yield (
        "sgdNesterov",
        {"kind": "sgdNesterov", "momentum": 0.9, "weightDecay": 0.01, "stateBits": 32},
        2e-2,
        lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, nesterov=True, weight_decay=0.01, **fixed),
    )
    adafactor = {
        "kind": "adafactor",
        "relativeStep": True,
        "scaleParameter": True,
        "warmupInit": False,
        "epsilon1": 1e-30,
        "epsilon2": 1e-3,
        "clipThreshold": 1,
        "decayRate": -0.8,
        "beta1": 0,
        "weightDecay": 0,
    }
    yield "adafactor", adafactor, 0, lambda p, lr: transformers.Adafactor(p)
    yield "adafactor-warmup", {**adafactor, "warmupInit": True}, 0, lambda p, lr: transformers.Adafactor(p, warmup_init=True)
    yield (
        "adafactor-own-rate",
        {**adafactor, "relativeStep": False, "scaleParameter": False, "clipThreshold": 0.5, "beta1": 0.9, "weightDecay": 0.1},
        2e-3,
        lambda p, lr: transformers.Adafactor(p, lr=lr, relative_step=False, scale_parameter=False, clip_threshold=0.5, beta1=0.9, weight_decay=0.1),
    )
    came = {"kind": "came", "beta1": 0.9, "beta2": 0.999, "beta3": 0.9999, "epsilon1": 1e-30, "epsilon2": 1e-16, "clipThreshold": 1, "weightDecay": 0}
    yield "came", came, 2e-4, lambda p, lr: pytorch_optimizer.CAME(p, lr=lr, **fixed)
    yield (
        "came-decay",
        {**came, "beta2": 0.99, "beta3": 0.995, "clipThreshold": 0.7, "weightDecay": 0.1},
        2e-4,
        lambda p, lr: pytorch_optimizer.CAME(p, lr=lr, betas=(0.9, 0.99, 0.995), clip_threshold=0.7, weight_decay=0.1, **fixed),
    )
    prodigy = {
        "kind": "prodigy",
        "beta1": 0.9,
        "beta2": 0.999,
        "beta3": None,
        "epsilon": 1e-8,
        "weightDecay": 0,
        "biasCorrection": False,
        "safeguardWarmup": False,
        "d0": 1e-6,
        "dCoefficient": 1,
        "growthRate": 0,
    }
    yield "prodigy", prodigy, 1, lambda p, lr: prodigyopt.Prodigy(p, lr=lr)
    yield (
        "prodigy-safe",
        {**prodigy, "beta3": 0.9, "weightDecay": 0.1, "biasCorrection": True, "safeguardWarmup": True, "d0": 1e-4, "dCoefficient": 2, "growthRate": 1.2},
        1,
        lambda p, lr: prodigyopt.Prodigy(
            p, lr=lr, beta3=0.9, weight_decay=0.1, use_bias_correction=True, safeguard_warmup=True, d0=1e-4, d_coef=2, growth_rate=1.2
        ),
    )
    dadapt = {
        "kind": "dAdaptAdam",
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "weightDecay": 0,
        "decoupled": False,
        "biasCorrection": False,
        "d0": 1e-6,
        "growthRate": 0,
    }
    yield "dAdaptAdam", {**dadapt, "weightDecay": 0.1}, 1, lambda p, lr: dadaptation.DAdaptAdam(p, lr=lr, weight_decay=0.1)
    yield (
        "dAdaptAdam-decoupled",
        {**dadapt, "weightDecay": 0.1, "decoupled": True, "biasCorrection": True, "d0": 1e-4, "growthRate": 1.2},
        1,
        lambda p, lr: dadaptation.DAdaptAdam(p, lr=lr, weight_decay=0.1, decouple=True, use_bias_correction=True, d0=1e-4, growth_rate=1.2),
    )
    yield (
        "dAdaptLion",
        {"kind": "dAdaptLion", "beta1": 0.9, "beta2": 0.99, "weightDecay": 0.1, "d0": 1e-6},
        1,
        lambda p, lr: dadaptation.DAdaptLion(p, lr=lr, weight_decay=0.1),
    )
    free = {"kind": "scheduleFreeAdamW", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weightDecay": 0, "warmup": 0, "r": 0, "weightRatePower": 2}
    yield "scheduleFreeAdamW", free, 2e-3, lambda p, lr: schedulefree.AdamWScheduleFree(p, lr=lr, **fixed)
    yield (
        "scheduleFreeAdamW-warmup",
        {**free, "beta1": 0.95, "weightDecay": 0.1, "warmup": 10, "r": 1, "weightRatePower": 1},
        2e-3,
        lambda p, lr: schedulefree.AdamWScheduleFree(p, lr=lr, betas=(0.95, 0.999), weight_decay=0.1, warmup_steps=10, r=1, weight_lr_power=1, **fixed),
    )
    yield "tiger", {"kind": "tiger", "beta": 0.965, "weightDecay": 0.01}, 2e-3, lambda p, lr: pytorch_optimizer.Tiger(p, lr=lr, **fixed)


def main(path: str) -> None:
    torch.set_default_dtype(torch.float32)
    tensors: dict[str, torch.Tensor] = {}
    listed = []
    for name, settings, base, make in cases():
        # Only what is factored sees a convolution as a matrix; nothing else cares.
        flat = settings["kind"] in ("adafactor", "came")
        parameters = {}
        for i, (key, shape) in enumerate(SHAPES.items()):
            shaped = (shape[0], math.prod(shape[1:])) if flat else shape
            parameters[key] = torch.nn.Parameter(torch.from_numpy(start(i, math.prod(shape))).reshape(shaped))
        optimizer = make(list(parameters.values()), base)
        if hasattr(optimizer, "train"):
            optimizer.train()
        for k in range(STEPS):
            if base:
                for group in optimizer.param_groups:
                    group["lr"] = base * rate(k)
            for i, p in enumerate(parameters.values()):
                p.grad = torch.from_numpy(gradient(k + 1, i, p.numel())).reshape(p.shape).clone()
            optimizer.step()
            for key, p in parameters.items():
                if k + 1 in KEPT[key]:
                    tensors[f"{name}.{key}.{k + 1}"] = p.detach().float().reshape(p.shape[0], -1).contiguous().clone()
        case = {"name": name, "settings": settings, "rate": base}
        if "d" in optimizer.param_groups[0]:
            case["distance"] = optimizer.param_groups[0]["d"]
        if hasattr(optimizer, "eval"):
            optimizer.eval()
            tensors[f"{name}.a.average"] = parameters["a"].detach().float().contiguous().clone()
        listed.append(case)
    tensors["codes.signed"] = bnb.create_dynamic_map(signed=True).float()
    tensors["codes.unsigned"] = bnb.create_dynamic_map(signed=False).float()
    save_file(tensors, path, {"cases": json.dumps(listed)})


if __name__ == "__main__":
    main(sys.argv[1])
