"""Histories for the tests of the guard and the probe: losses, timesteps, probes by band and factor norms of good and bad runs on the mini model.

    python tools/judgement/histories.py OUT.json [name part]

Reuses the reference trainer in tools/mini-model; the pair is public/samples/front. Seven timestep-free numbers would say little: a loss depends on its timestep more
than on the network, so every step keeps its timesteps. Probe: fixed noise at 16 timesteps in 4 bands, as src/training/probe.ts does it (other noise, same rule).
"""
import json
import math
import os
import sys
import time

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tools", "mini-model"))
import lora as L  # noqa: E402
import model as M  # noqa: E402

torch.set_num_threads(1)
BANDS, PER_BAND, EVERY = 4, 2, 5


def short(x):
    return float(f"{x:.4g}") if math.isfinite(x) else None


def rates(good, factors):
    return [(f, good * f) for f in factors]


class Recorder:
    def __init__(self, folder):
        self.lab = L.Lab(os.path.join(ROOT, "public", "models", "mini.safetensors"), None, folder)
        self.z = {n: self.lab.latent(f"front/{n}.png") for n in ("closed", "a")}
        self.runs = []

    def points(self, tmin, tmax):
        n = BANDS * PER_BAND
        t = torch.tensor([tmin + int((k + 0.5) / n * (tmax - tmin)) for k in range(n)])
        g = torch.Generator().manual_seed(7)
        return t, torch.randn(n, 4, 16, 16, generator=g)

    def record(self, name, net, latent, opt, rate, steps, batch, seed, frozen=None, tmin=0, tmax=1000, kind="copier"):
        lab = self.lab
        torch.manual_seed(seed)
        o = L.OPT[opt](net.params)
        pt, pn = self.points(tmin, tmax)
        context = lab.empty

        def eps(x, t):
            return lab.unet(x, t, context.expand(len(x), -1, -1))

        def probe():
            with torch.no_grad():
                z = latent.expand(len(pt), -1, -1, -1)
                if kind == "addift":
                    mult = net.mult.clone()
                    net.mult.zero_()
                    want = eps(M.add_noise(self.z["closed"].expand_as(z), pn, pt, lab.ab), pt)
                    net.mult.fill_(0.25)
                    got = eps(M.add_noise(z, pn, pt, lab.ab), pt)
                    net.mult.copy_(mult)
                else:
                    want, got = pn, eps(M.add_noise(z, pn, pt, lab.ab), pt)
                each = (got - want).pow(2).mean((1, 2, 3))
                return [short(x) for x in each.view(BANDS, PER_BAND).mean(1).tolist()]

        def norms():
            with torch.no_grad():
                down = math.sqrt(sum(float(d.pow(2).sum()) for _, _, d, *_ in net.items))
                up = math.sqrt(sum(float(u.pow(2).sum()) for _, _, _, u, *_ in net.items))
                most = max(sc * float(u.norm()) * float(d.norm()) for _, _, d, u, sc, *_ in net.items)
                return [short(down), short(up), short(most)]

        run = dict(name=name, kind=kind, optimizer=opt, rate=rate, steps=steps, batch=batch, seed=seed, every=EVERY, losses=[], timesteps=[], probes=[probe()], norms=[norms()])
        began = time.time()
        for k in range(steps):
            o.lr(rate * (0.5 + 0.5 * math.cos(math.pi * k / steps)))
            n = torch.randn(batch, 4, 16, 16)
            if kind == "addift":
                even = k % 2 == 0
                if even:
                    slot = k % 10 + 1
                t = torch.full((batch,), tmin + slot * (tmax - tmin) // 10)
                a, b = (self.z["closed"], self.z["a"]) if even else (self.z["a"], self.z["closed"])
                with torch.no_grad():
                    net.mult.zero_()
                    want = eps(M.add_noise(a, n, t, lab.ab), t)
                net.mult.fill_(0.25 if even else -0.25)
                got = eps(M.add_noise(b, n, t, lab.ab), t)
            else:
                t = torch.randint(tmin, tmax, (batch,))
                want, got = n, eps(M.add_noise(latent.expand(batch, -1, -1, -1), n, t, lab.ab), t)
            for q in net.params:
                q.grad = None
            loss = F.mse_loss(got, want)
            loss.backward()
            o.step()
            run["losses"].append(short(float(loss.detach())))
            run["timesteps"].append(t.tolist())
            if (k + 1) % EVERY == 0:
                run["probes"].append(probe())
                run["norms"].append(norms())
        self.runs.append(run)
        print(name, f"{time.time() - began:.0f}s", [short(sum(p) / BANDS) if None not in p else None for p in run["probes"]][:: max(1, len(run["probes"]) // 8)], run["norms"][-1], flush=True)
        return net


def main():
    out, part = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    recorder = Recorder(os.path.join(ROOT, "public", "samples"))
    unet = recorder.lab.unet
    plans = []
    for opt, good in (("AdamW", 5e-3), ("Lion", 1e-3)):
        for factor, rate in rates(good, (1, 0.1, 10)):
            plans.append((f"copier-{opt}-x{factor:g}", "copier", opt, rate, 120, 2, 11))
        plans.append((f"copier-{opt}-x1-seed2", "copier", opt, good, 120, 2, 2))
    for opt, good in (("AdamW", 3e-3), ("Lion", 3e-4)):
        for factor, rate in rates(good, (1, 0.1, 10)):
            plans.append((f"difference-{opt}-x{factor:g}", "difference", opt, rate, 100, 2, 12))
    for opt, good in (("AdamW", 5e-3), ("Lion", 1e-3)):
        for factor, rate in rates(good, (1, 0.1, 10)):
            plans.append((f"addift-{opt}-x{factor:g}", "addift", opt, rate, 60, 1, 13))
    copier = None
    for name, kind, opt, rate, steps, batch, seed in plans:
        if part and part not in name and not (kind == "copier" and name.endswith("AdamW-x1")):
            continue
        rank = 16 if kind == "copier" else 4
        frozen = None
        if kind == "difference":
            frozen = copier.attach()
        net = L.Network(unet, rank, rank, seed=seed).attach()
        latent = recorder.z["closed" if kind == "copier" else "a"]
        span = (200, 800) if kind == "addift" else (0, 1000)
        recorder.record(name, net, latent, opt, rate, steps, batch, seed, frozen, *span, kind=kind)
        net.detach()
        net.freeze()
        if frozen is not None:
            frozen.detach()
        if name == "copier-AdamW-x1":
            copier = net
        with open(out, "w") as f:
            json.dump(recorder.runs, f, separators=(",", ":"))


if __name__ == "__main__":
    main()
