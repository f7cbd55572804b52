"""The same prediction and training step as bench/parity.ts in diffusers, in f32 (and in halves as PyTorch trains, for scale), and how far ours is from it.

    PYTHONPATH=tools/fixtures python bench/parity.py --model FILE --size 1024 --ours FOLDER
"""
import argparse
import glob
import json
import os
import time

import torch
from safetensors import safe_open
from safetensors.torch import load_file

import ldm

p = argparse.ArgumentParser()
p.add_argument("--model")
p.add_argument("--size", type=int)
p.add_argument("--ours")
a = p.parse_args()
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
if device == "cpu":
    torch.set_num_threads(1)
side = a.size // 8
start = time.time()
with safe_open(a.model, "pt", device=device) as f:
    keys = [k for k in f.keys() if k.startswith(ldm.UNET)]
    half = {k: f.get_tensor(k) for k in keys}


def step(dtype):
    model, names = ldm.unet({k: v.to(dtype) for k, v in half.items()})
    context_dim = next(v.shape[1] for k, v in half.items() if k.endswith("attn2.to_k.weight"))
    lora = ldm.Lora(model, names, seed=33, rank=4, alpha=4, conv_rank=2, conv_alpha=1, device=device)
    model.enable_gradient_checkpointing()
    model.train()
    draw = lambda seed, n, *shape: torch.from_numpy(ldm.normal(seed, n, shape)).to(device, torch.float32)[None]  # noqa: E731
    latent, noise, context = draw(5, 0, 4, side, side), draw(1111, 6, 4, side, side), draw(8, 0, 77, context_dim)
    t = torch.tensor([601], device=device)
    bar = ldm.alphas_bar()[601].float().item()
    x = bar ** 0.5 * latent + (1 - bar) ** 0.5 * noise
    added = None
    label = half.get(ldm.UNET + "label_emb.0.0.weight")
    if label is not None:
        sizes = torch.tensor([[a.size, a.size, 0, 0, a.size, a.size]], device=device, dtype=torch.float32)
        added = {"text_embeds": draw(9, 0, label.shape[1] - 6 * 256).to(dtype), "time_ids": sizes}
    with torch.autocast(device, enabled=False):
        eps = model(x.to(dtype), t, context.to(dtype), added_cond_kwargs=added).sample.float()
    loss = ((eps - noise) ** 2).mean()
    scale = 1.0 if dtype == torch.float32 else 2.0 ** 12
    (loss * scale).backward()
    out = {"prediction": eps.detach()[0].permute(1, 2, 0).flatten().cpu(), "loss": loss.detach()[None].cpu()}
    return out | {k: (g / scale).flatten() for k, g in lora.gradients().items()}


def compare(name, ours, theirs):
    grads = [k for k in theirs if k.endswith((".down", ".up"))]
    x, y = (torch.cat([side_[k].double().flatten() for k in grads]) for side_ in (ours, theirs))
    relative = lambda u, v: ((u.double() - v.double()).norm() / v.double().norm()).item()  # noqa: E731
    each = sorted((relative(ours[k].flatten(), theirs[k]), k) for k in grads if theirs[k].norm() > 1e-12)
    cosines = sorted((torch.nn.functional.cosine_similarity(ours[k].double().flatten(), theirs[k].double(), dim=0).item(), k) for k in grads if theirs[k].norm() > 1e-12)
    print(json.dumps({"name": name, "prediction": relative(ours["prediction"], theirs["prediction"]), "loss": [ours["loss"].item(), theirs["loss"].item()],
                      "gradients": relative(x, y), "cosine": torch.nn.functional.cosine_similarity(x, y, dim=0).item(), "factors": len(grads), "median": each[len(each) // 2][0],
                      "p99": each[len(each) * 99 // 100], "worst": each[-1], "cosine.worst": cosines[0], "cosine.p1": cosines[len(cosines) // 100][0]}), flush=True)


truth = step(torch.float32)
print(json.dumps({"truth": "f32", "seconds": round(time.time() - start, 1), "spread of eps": truth["prediction"].std().item(),
                  "peak GiB": torch.cuda.max_memory_allocated() / 2 ** 30 if device == "cuda" else None}), flush=True)
for path in sorted(glob.glob(os.path.join(a.ours, "*.safetensors"))):
    compare("utsushi " + os.path.basename(path).removesuffix(".safetensors"), load_file(path), truth)
if device == "cuda":
    torch.cuda.empty_cache()
    compare("pytorch f16", step(torch.float16), truth)
