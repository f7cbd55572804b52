"""Numbers from PyTorch that the training room is tested against.

    python fixtures.py <mini.safetensors> <reference folder> <test/fixtures/training>

gradients.safetensors   all LoRA gradients of one training step of the mini UNet in float64: frozen linear copier (rank 4) and trained network (rank 4, conv rank 4) with
                        non-zero up factors, two items with their own noise, timestep and weight. Factors and noise come from the same counter-based generator that
                        Utsushi uses (Philox 4x32-10), so only the gradients are stored.
picture.png, picture.safetensors
                        two faces drawn with the reference LoRA `difference-adamw` at strength 1 (DDIM 10, guidance 5), and their latents.
Needs torch, numpy, Pillow; never needed to build, run or test Utsushi.
"""
import math
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "mini-model"))
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from PIL import Image  # noqa: E402

import data  # noqa: E402
import evaluate as E  # noqa: E402
import export  # noqa: E402
import lora as L  # noqa: E402
import model as M  # noqa: E402
import st  # noqa: E402


# ------------------------------------------------------------------ counter RNG
def philox(counter, key):
    """counter: four uint64 arrays below 2^32, key: two ints. Salmon et al. 2011."""
    c = [np.asarray(x, np.uint64) for x in np.broadcast_arrays(*counter)]
    k0, k1 = key
    mask = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), p1 & mask, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), p0 & mask]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def uniform(seed, stream, n):
    blocks = np.arange((n + 3) // 4, dtype=np.uint64)
    words = np.stack(philox((blocks, 0, stream[0], stream[1]), (seed & 0xFFFFFFFF, seed >> 32)), 1).reshape(-1)[:n]
    return (words >> np.uint64(8)).astype(np.float64) * 2.0 ** -24


def normal(seed, draw, shape):
    """One tensor [C, H, W] of WebUI's "NV" noise."""
    n = math.prod(shape)
    a, b, _, _ = philox((draw, 0, np.arange(n, dtype=np.uint64), 0), (seed & 0xFFFFFFFF, seed >> 32))
    u, v = (a.astype(np.float64) + 0.5) / 2 ** 32, (b.astype(np.float64) + 0.5) / 2 ** 32
    return (np.sqrt(-2 * np.log(u)) * np.sin(2 * np.pi * v)).reshape(shape)


# -------------------------------------------------------------------- gradients
def factors(net, seed, up_scale):
    """Overwrites a network: module i of the list takes streams (i, 1) and (i, 2) of the seed; file layout of conv factors is [r, in, ky, kx], drawn as [r, ky, kx, in]."""
    for i, (_, m, d, u, *_) in enumerate(net.items):
        v = (2 * uniform(seed, (i, 1), d.numel()) - 1) / math.sqrt(d[0].numel())
        v = v.astype(np.float32)
        if d.dim() == 4:
            v = v.reshape(d.shape[0], d.shape[2], d.shape[3], d.shape[1]).transpose(0, 3, 1, 2)
        w = ((2 * uniform(seed, (i, 2), u.numel()) - 1) * up_scale).astype(np.float32)
        with torch.no_grad():
            d.copy_(torch.from_numpy(v.reshape(d.shape).copy()))
            u.copy_(torch.from_numpy(w.reshape(u.shape)))


def gradients(root, latent, ctx, path):
    unet = root.unet.double()
    ab = M.alphas_bar().double()
    copy = L.Network(unet, 4, 2, 0, 0).attach()
    factors(copy, 21, 0.05)
    copy.double().freeze()
    copy.items = [(p, m, d.data.double(), u.data.double(), sc, al, r) for p, m, d, u, sc, al, r in copy.items]
    copy.detach()
    copy.attach()
    net = L.Network(unet, 4, 4, 4, 2)
    factors(net, 22, 0.05)
    for q in net.params:
        q.data = q.data.double()
    net.attach()
    seed, t, weight = 1111, torch.tensor([801, 37]), torch.tensor([1.0, 0.3], dtype=torch.float64)
    n = torch.from_numpy(np.stack([normal(seed, 6 + b, (4, 16, 16)) for b in range(2)]))
    x = M.add_noise(latent.double().expand(2, -1, -1, -1), n, t, ab)
    e = unet(x, t, ctx.double().expand(2, -1, -1))
    loss = weight * F.mse_loss(e, n, reduction="none").mean((1, 2, 3))
    loss.mean().backward()
    out = {"loss": loss.detach().float().numpy(), "prediction": e.detach().permute(0, 2, 3, 1).contiguous().float().numpy(),
           "latent": latent[0].permute(1, 2, 0).contiguous().float().numpy(), "context": ctx[0].float().numpy()}
    for (p, _, d, u, *_) in net.items:
        gd = d.grad.permute(0, 2, 3, 1).flatten(1) if d.dim() == 4 else d.grad
        out[p + ".down"], out[p + ".up"] = gd.contiguous().float().numpy(), u.grad.flatten(1).float().numpy()
    st.save(path, out, {"seed": str(seed), "offset": "6", "t": "801,37", "weight": "1,0.3", "copier": "rank 4 alpha 2 seed 21", "trained": "rank 4 alpha 4 conv 4 alpha 2 seed 22"})
    net.detach()
    copy.detach()
    print("loss", loss.detach().numpy())


# --------------------------------------------------------------------- picture
def picture(ckpt, reference, folder):
    root = M.Root()
    export.load_into(root, ckpt)
    root.eval().requires_grad_(False)
    tensors, _ = st.load(os.path.join(reference, "difference-adamw.safetensors"))
    sd = root.unet.state_dict()
    for p, m in L.targets(root.unet, False):
        n = L.kohya_name(p)
        d, u = (torch.from_numpy(tensors[f"{n}.lora_{s}.weight"].astype(np.float32)) for s in ("down", "up"))
        sd[p + ".weight"] += float(tensors[n + ".alpha"]) / d.shape[0] * (u.flatten(1) @ d.flatten(1)).reshape(m.weight.shape)
    tags, seeds = L.FACES[:2], [200, 201]
    keep = {}
    decode = root.vae.decode
    root.vae.decode = lambda z: decode(keep.setdefault("z", z * M.SCALE) / M.SCALE)
    y = E.generate(root, tags, E.noise(seeds), "cpu", steps=10)
    E.grid([[E.to_image(v) for v in y]], os.path.join(folder, "picture.png"))
    ctx = root.text(torch.tensor([data.encode([])] + [data.encode(t) for t in tags]))
    st.save(os.path.join(folder, "picture.safetensors"), {"latents": keep["z"].permute(0, 2, 3, 1).contiguous().numpy(), "contexts": ctx.numpy()}, {"seeds": "200,201", "strength": "1"})


if __name__ == "__main__":
    torch.set_num_threads(1)
    ckpt, reference, folder = sys.argv[1:4]
    picture(ckpt, reference, folder)
    root = M.Root()
    export.load_into(root, ckpt)
    root.eval().requires_grad_(False)
    pair = os.path.join(os.path.dirname(__file__), "..", "..", "public", "samples", "front", "closed.png")
    im = torch.from_numpy(np.array(Image.open(pair).convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        latent = root.vae.encode(im)[0] * M.SCALE
        ctx = root.text(torch.tensor([data.encode([])]))
    gradients(root, latent, ctx, os.path.join(folder, "gradients.safetensors"))
