"""A full-size training step in PyTorch and diffusers, for comparison with `bench/full.ts`: UNets of true shape with random weights.

    python full_step.py sd15|sdxl [--size 512] [--rank 16] [--batch 1] [--variants eager,checkpoint,forward,compile] [--steps 8] [--compile-limit 150] [--conv 0]

The set-up of a kohya or TrainTrain user: base weights float16 and frozen, LoRA factors float32 on every Linear and 1x1 convolution of the transformer blocks (192 modules
in SD1.5, 722 in SDXL; --conv N adds the residual blocks' modules with 3x3 factors of rank N), autocast to float16, noise-prediction MSE, torch's own AdamW, SDPA attention.
Prints one JSON line a variant: median milliseconds a step, peak memory. `compile` runs in a process of its own that is
ended after --compile-limit seconds. Needs PyTorch and diffusers; never needed to build, run or test Utsushi.
"""
import argparse
import json
import math
import statistics
import subprocess
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

SDXL = dict(
    sample_size=128, cross_attention_dim=2048, block_out_channels=(320, 640, 1280), layers_per_block=2,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    transformer_layers_per_block=(1, 2, 10), attention_head_dim=(5, 10, 20), use_linear_projection=True,
    addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
)
SD15 = dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8)


class Factors(nn.Module):
    """A module with its LoRA, in the module's place."""

    def __init__(self, module, rank, alpha):
        super().__init__()
        if isinstance(module, nn.Linear):
            self.down, self.up = nn.Linear(module.in_features, rank, bias=False), nn.Linear(rank, module.out_features, bias=False)
        else:
            self.down = nn.Conv2d(module.in_channels, rank, module.kernel_size, module.stride, module.padding, bias=False)
            self.up = nn.Conv2d(rank, module.out_channels, 1, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.normal_(self.up.weight, std=1e-3)
        self.scale, self.base = alpha / rank, module

    def forward(self, x):
        return self.base(x) + self.up(self.down(x)) * self.scale


def attach(unet, rank, conv):
    """Puts factors on the modules that are trained; returns those factors."""
    found = []
    for path, module in unet.named_modules():
        if not isinstance(module, (nn.Linear, nn.Conv2d)):
            continue
        if "attentions." in path:
            found.append((path, module, rank))
        elif conv and any(part in path for part in ("resnets.", "downsamplers.", "upsamplers.")):
            found.append((path, module, conv if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1) else rank))
    out = []
    for path, module, r in found:
        parent, _, name = path.rpartition(".")
        out.append(Factors(module, r, r))
        setattr(unet.get_submodule(parent), name, out[-1])
    return out


def measure(run, steps, warm):
    times = []
    for i in range(steps + warm):
        torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        torch.cuda.synchronize()
        if i >= warm:
            times.append((time.perf_counter() - began) * 1000)
    return {"ms": round(statistics.median(times), 2), "best_ms": round(min(times), 2)}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("family", choices=["sd15", "sdxl"])
    ap.add_argument("--size", type=int, default=0)
    ap.add_argument("--rank", type=int, default=16)
    ap.add_argument("--conv", type=int, default=0)
    ap.add_argument("--batch", type=int, default=1)
    ap.add_argument("--variants", default="eager,checkpoint,forward")
    ap.add_argument("--steps", type=int, default=8)
    ap.add_argument("--compile-limit", type=float, default=150)
    args = ap.parse_args()
    wanted = args.variants.split(",")
    here = [v for v in wanted if not v.startswith("compile")]
    size = args.size or (1024 if args.family == "sdxl" else 512)
    note = dict(peer="diffusers", family=args.family, size=size, batch=args.batch, rank=args.rank, conv=args.conv, torch=torch.__version__, device=torch.cuda.get_device_name())
    if here or wanted == ["compile-child"]:
        work(args, size, note, here or wanted)
    if "compile" in wanted:
        command = [sys.executable, __file__, args.family, "--size", str(size), "--rank", str(args.rank), "--conv", str(args.conv), "--batch", str(args.batch),
                   "--steps", str(args.steps), "--variants", "compile-child"]
        try:
            print(subprocess.run(command, timeout=args.compile_limit, stdout=subprocess.PIPE, text=True).stdout.strip(), flush=True)
        except subprocess.TimeoutExpired:
            print(json.dumps(dict(note, variant="compile", seconds=args.compile_limit, error="not finished in this time")), flush=True)


def work(args, size, note, variants):
    from diffusers import UNet2DConditionModel

    cfg = SDXL if args.family == "sdxl" else SD15
    torch.manual_seed(1)
    with torch.device("cuda"):
        unet = UNet2DConditionModel(**cfg)
        unet = unet.half().requires_grad_(False)
        lora = attach(unet, args.rank, args.conv)
    params = [part.weight for one in lora for part in (one.down, one.up)]
    note = dict(note, modules=len(lora), parameters=sum(p.numel() for p in params))
    opt = torch.optim.AdamW(params, lr=1e-4)
    b, side = args.batch, size // 8
    z = torch.randn(b, 4, side, side, device="cuda")
    ctx = torch.randn(b, 77, cfg["cross_attention_dim"], device="cuda", dtype=torch.float16)
    more = {}
    if args.family == "sdxl":
        ids = torch.tensor([[size, size, 0, 0, size, size]] * b, device="cuda", dtype=torch.float16)
        more = dict(added_cond_kwargs=dict(text_embeds=torch.randn(b, 1280, device="cuda", dtype=torch.float16), time_ids=ids))
    ab = torch.linspace(0.99, 0.01, 1000, device="cuda")
    net = [unet]

    def predict(x, t):
        with torch.autocast("cuda", dtype=torch.float16):
            return net[0](x, t, ctx, return_dict=False, **more)[0]

    def step():
        opt.zero_grad(set_to_none=True)
        t = torch.randint(0, 1000, (b,), device="cuda")
        n = torch.randn_like(z)
        a = ab[t][:, None, None, None]
        loss = F.mse_loss(predict(a.sqrt() * z + (1 - a).sqrt() * n, t).float(), n)
        loss.backward()
        opt.step()

    def forward():
        with torch.no_grad():
            predict(z.half(), torch.tensor([500] * b, device="cuda"))

    for variant in variants:
        try:
            unet.train()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            began = time.time()
            row = dict(note, variant=variant.replace("-child", ""))
            (unet.enable_gradient_checkpointing if variant == "checkpoint" else unet.disable_gradient_checkpointing)()
            if variant == "compile-child":
                net[0] = torch.compile(unet)
                step()
                row["compile_seconds"] = round(time.time() - began, 1)
                row.update(measure(step, args.steps, 2))
            elif variant == "forward":
                unet.eval()
                row.update(measure(forward, args.steps, 2))
            else:
                row.update(measure(step, args.steps, 2))
            row["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
            row["seconds"] = round(time.time() - began, 1)
        except Exception as error:  # one variant that fails says so and leaves the others alone
            row["error"] = repr(error)[:300]
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
