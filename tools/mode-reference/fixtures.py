"""Losses and LoRA gradients of every training mode, restated in PyTorch from the description of the modes; what test/gpu/training/modes.test.ts is tested against.

    python fixtures.py <mini.safetensors> <samples folder> <test/fixtures/modes>

modes.safetensors   three steps of each mode on the mini model in float64. The network is rank 4, alpha 2 in the blocks OUT10 and OUT11, with factors that are not zero and
                    do not change between the steps. Noise, factors and timesteps come from the counter-based generator that Utsushi uses (see ../training/fixtures.py), so
                    only pictures, texts, losses and the gradients of a few factors are stored.
Needs torch, numpy, Pillow; never needed to build, run or test Utsushi.
"""
import math
import os
import sys

HERE = os.path.dirname(__file__)
sys.path[:0] = [os.path.join(HERE, "..", "training"), os.path.join(HERE, "..", "mini-model")]
import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

import data  # noqa: E402
import export  # noqa: E402
import fixtures as G  # noqa: E402
import lora as L  # noqa: E402
import model as M  # noqa: E402
import st  # noqa: E402

SEED = 1111
STEPS = 3
TIME_STREAM, ORDER_STREAM = 0x74696D65, 0x6F726465
KEPT = ["output_blocks.10.1.transformer_blocks.0.attn2.to_k", "output_blocks.11.1.transformer_blocks.0.attn1.to_q", "output_blocks.11.1.proj_out"]
LOSSES = {
    "mse": lambda d: d * d,
    "l1": lambda d: d.abs(),
    "smoothL1": lambda d: torch.where(d.abs() < 1, 0.5 * d * d, d.abs() - 0.5),
}


def noise(k, batch):
    return torch.from_numpy(np.stack([G.normal(SEED, k * batch + b, (4, 16, 16)) for b in range(batch)]))


def uniform_steps(k, batch, low, high):
    u = G.uniform(SEED, (TIME_STREAM, 0), (k + 1) * batch)[k * batch:]
    return torch.tensor([low + int(math.floor(x * (high - low))) for x in u])


def fixed_step(k, low, high):
    """The five fixed timesteps: the window is chosen on even steps, its lower end is taken."""
    window = (k - k % 2) % 10 + 1
    return min(int(math.floor(low + window * (high - low) / 10)), 999)


class Lab:
    def __init__(self, ckpt, samples):
        root = M.Root()
        export.load_into(root, ckpt)
        root.eval().requires_grad_(False)
        self.text = {c: root.text(torch.tensor([data.encode(c.split(", ") if c else [])]))[0].double() for c in ["", "1girl, blue hair", "1girl, red hair, smile"]}
        self.latent = {}
        for name in ["closed", "a", "e"]:
            im = torch.from_numpy(np.array(Image.open(os.path.join(samples, "front", name + ".png")).convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1
            self.latent[name] = (root.vae.encode(im)[0] * M.SCALE)[0].double()
        self.unet = root.unet.double()
        self.ab = M.alphas_bar().double()
        self.net = L.Network(self.unet, 4, 2, 0, 0)
        self.net.items = [x for x in self.net.items if x[0].startswith(("output_blocks.10.", "output_blocks.11."))]
        G.factors(self.net, 22, 0.05)
        for _, _, d, u, *_ in self.net.items:
            d.data, u.data = d.data.double(), u.data.double()
        self.net.attach()

    def predict(self, x, t, text, multiplier):
        self.net.mult = torch.tensor(float(multiplier), dtype=torch.float64)
        return self.unet(x, t, torch.stack([self.text[c] for c in text]))

    def noised(self, x, n, t):
        return M.add_noise(x, n, t, self.ab)

    def weight(self, t, gamma):
        snr = self.ab[t] / (1 - self.ab[t])
        return torch.clamp(gamma / snr, max=1.0) if gamma > 0 else torch.ones(len(t), dtype=torch.float64)

    def finish(self, out, name, k, prediction, target, kind, weight, mask=None):
        for _, _, d, u, *_ in self.net.items:
            d.grad = u.grad = None
        f = LOSSES[kind](prediction - target)
        if mask is not None:
            f = f * mask
        loss = weight * f.mean((1, 2, 3))
        loss.mean().backward()
        out[f"{name}.{k}.loss"] = loss.detach().float().numpy()
        for path, _, d, u, *_ in self.net.items:
            if path in KEPT:
                out[f"{name}.{k}.{path}.down"] = d.grad.flatten(1).float().numpy()
                out[f"{name}.{k}.{path}.up"] = u.grad.flatten(1).float().numpy()


def addift(lab, out, name, kind, masked):
    original, target = lab.latent["closed"], lab.latent["a"]
    mask = torch.zeros(16, 16, dtype=torch.float64)
    mask[8:14, 4:12] = 1.5
    out["mask"] = mask.float().numpy()
    for k in range(STEPS):
        t = torch.full((2,), fixed_step(k, 200, 800))
        n = noise(k, 2)
        a, b = (original, target) if k % 2 == 0 else (target, original)
        with torch.no_grad():
            taught = lab.predict(lab.noised(a.expand(2, -1, -1, -1), n, t), t, ["1girl, blue hair"] * 2, 0)
        student = lab.predict(lab.noised(b.expand(2, -1, -1, -1), n, t), t, ["1girl, red hair, smile"] * 2, 0.25 if k % 2 == 0 else -0.25)
        lab.finish(out, name, k, student, taught, kind, lab.weight(t, 5), mask if masked else None)


def leco(lab, out):
    """One tensor of noise for all steps, not noised again; original becomes target."""
    n = noise(0, 2)
    for k in range(STEPS):
        t = uniform_steps(k, 2, 0, 1000)
        with torch.no_grad():
            taught = lab.predict(n, t, ["1girl, red hair, smile"] * 2, 0)
        lab.finish(out, "leco", k, lab.predict(n, t, ["1girl, blue hair"] * 2, 1), taught, "mse", lab.weight(t, 0))


def lora(lab, out):
    """Two pictures with texts of their own in every batch, shuffled anew in every epoch (which is one step here)."""
    for k in range(STEPS):
        names, texts = ["closed", "e"], ["1girl, blue hair", "1girl, red hair, smile"]
        if int(math.floor(G.uniform(SEED, (ORDER_STREAM, k), 2)[1] * 2)) == 0:
            names.reverse(), texts.reverse()
        t, n = uniform_steps(k, 2, 100, 900), noise(k, 2)
        x = lab.noised(torch.stack([lab.latent[i] for i in names]), n, t)
        lab.finish(out, "lora", k, lab.predict(x, t, texts, 1), n, "smoothL1", lab.weight(t, 5))


def velocity(lab, out):
    """The model taken as one that predicts velocity; weights of that form, min(SNR, gamma) / (SNR + 1)."""
    for k in range(STEPS):
        t, n = uniform_steps(k, 2, 0, 1000), noise(k, 2)
        x0 = lab.latent["closed"].expand(2, -1, -1, -1)
        a, s = (c.view(-1, 1, 1, 1) for c in (lab.ab[t].sqrt(), (1 - lab.ab[t]).sqrt()))
        snr = lab.ab[t] / (1 - lab.ab[t])
        lab.finish(out, "velocity", k, lab.predict(lab.noised(x0, n, t), t, [""] * 2, 1), a * n - s * x0, "mse", torch.clamp(snr, max=5.0) / (snr + 1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    ckpt, samples, folder = sys.argv[1:4]
    lab, out = Lab(ckpt, samples), {}
    addift(lab, out, "addift", "mse", False)
    addift(lab, out, "masked", "l1", True)
    leco(lab, out)
    lora(lab, out)
    velocity(lab, out)
    for name, z in lab.latent.items():
        out["latent." + name] = z.permute(1, 2, 0).contiguous().float().numpy()
    for i, c in enumerate(lab.text.values()):
        out[f"text.{i}"] = c.float().numpy()
    st.save(os.path.join(folder, "modes.safetensors"), out, {"seed": str(SEED), "steps": str(STEPS)})
    print({k: v.tolist() for k, v in out.items() if k.endswith("loss")})
