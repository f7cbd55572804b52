"""Scores LoRA files on generated faces: what the mouths, hair and eyes read as with the weights merged at some strengths.

    python judge.py MINI CLASSIFIER SAMPLES OUT.jsonl [--strengths 0.6,0.8] [--faces mouths|twelve|blue] [--pair front/closed.png,front/a.png]
                    [--strip STRIP.png] [--keep FOLDER] FILE...

MINI: mini.safetensors, CLASSIFIER: reference/classifier.safetensors, SAMPLES: folder of front/*.png. One JSON line a file and strength. `mouths`: the six faces of the
reference (seeds 200-205), `twelve`: its twelve (200-211), `blue`: six faces with blue hair (200-205), for LoRAs that change it. in/out are `Lab.effect`'s, with the mask of
--pair. --strip: one column a file (at the first strength), the first column without any. --keep: pictures are kept there and not drawn a second time.
"""
import argparse
import hashlib
import json
import os

import numpy as np
import torch

import data
import evaluate as E
import lora as L
import st

BLUE = [E.split(c) for c in (
    "1girl, blue hair, long hair, green eyes, closed mouth, facing viewer, simple background, white background",
    "1girl, blue hair, twintails, red eyes, closed mouth, facing viewer, white background",
    "1girl, blue hair, short hair, brown eyes, open mouth, facing viewer, pink background",
    "1girl, blue hair, ponytail, purple eyes, closed mouth, smile, facing viewer, grey background",
    "1girl, blue hair, medium hair, yellow eyes, closed mouth, facing left, white background",
    "1girl, blue hair, double bun, blue eyes, closed mouth, facing viewer, yellow background",
)]
SETS = {"mouths": (L.FACES, 6), "twelve": (L.FACES, 12), "blue": (BLUE, 6)}


class File:
    """A LoRA file as something `Lab.load` merges."""

    def __init__(self, lab, path):
        tensors, _ = st.load(path)
        self.items = []
        for module, m in L.targets(lab.unet, True):
            name = L.kohya_name(module)
            if name + ".alpha" not in tensors:
                continue
            down, up = (torch.from_numpy(np.asarray(tensors[f"{name}.lora_{k}.weight"], np.float32)).to(L.dev).flatten(1) for k in ("down", "up"))
            self.items.append((module, up @ down * (float(tensors[name + ".alpha"]) / down.shape[0])))
        known = {L.kohya_name(module) for module, _ in L.targets(lab.unet, True)}
        unknown = {k.split(".")[0] for k in tensors} - known
        if unknown or not self.items:
            raise SystemExit(f"{path}: {len(self.items)} modules known, not known: {sorted(unknown)[:3]}")

    def merge_into(self, sd, strength):
        for module, w in self.items:
            t = sd[module + ".weight"]
            t += strength * w.reshape(t.shape)


def words(output, names):
    return [names[i] for i in output.argmax(1).tolist()]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model"), p.add_argument("classifier"), p.add_argument("samples"), p.add_argument("out"), p.add_argument("files", nargs="+")
    p.add_argument("--strengths", default="1"), p.add_argument("--faces", choices=SETS, default="mouths")
    p.add_argument("--pair", default="front/closed.png,front/a.png"), p.add_argument("--strip"), p.add_argument("--keep")
    a = p.parse_args()
    if not L.cuda:
        torch.set_num_threads(1)
    lab = L.Lab(a.model, a.classifier, a.samples)
    closed, opened = (lab.image(f)[0] for f in a.pair.split(","))
    change = (opened - closed).abs()
    mask = torch.nn.functional.max_pool2d((change.amax(0, keepdim=True) > 0.1).float(), 9, 1, 4)[0] > 0
    ref = float(change.mean(0)[mask].mean())
    captions, n = SETS[a.faces]
    x, tags = E.noise(list(range(200, 200 + n))), [captions[i % len(captions)] for i in range(n)]

    def draw(nets, key):
        kept = os.path.join(a.keep, f"{a.faces}-{key}.npy") if a.keep else None
        if kept and os.path.exists(kept):
            return torch.from_numpy(np.load(kept)).to(L.dev)
        lab.load(nets)
        y = lab.sample(x, tags)[0]
        if kept:
            os.makedirs(a.keep, exist_ok=True)
            np.save(kept, y.cpu().numpy())
        return y
    before = draw([], "without")
    with torch.no_grad():
        was = lab.cls(before)
    columns = [before]
    print("without", words(was[0], data.HAIRS), words(was[3], data.MOUTHS), flush=True)
    strengths = [float(s) for s in a.strengths.split(",")]
    with open(a.out, "a") as f:
        for path in a.files:
            file = File(lab, path)
            with open(path, "rb") as raw:
                content = hashlib.sha256(raw.read()).hexdigest()[:16]
            for s in strengths:
                y = draw([(file, s)], f"{content}-{s:g}")
                if s == strengths[0]:
                    columns.append(y)
                with torch.no_grad():
                    o = lab.cls(y)
                d = (y - before).abs().mean(1)
                same = lambda k: int((o[k].argmax(1) == was[k].argmax(1)).sum())
                row = {"file": os.path.basename(path), "strength": s, "mouths": words(o[3], data.MOUTHS), "hairs": words(o[0], data.HAIRS),
                       "open": int((o[3].argmax(1) >= 3).sum()), "hair": same(0), "eyes": same(1), "mouth": same(3), "style": same(4), "faces": n,
                       "in": round(float(d[:, mask].mean()) / ref, 3), "out": round(float(d[:, ~mask].mean()) / ref, 3)}
                f.write(json.dumps(row) + "\n"), f.flush()
                print(json.dumps(row), flush=True)
    if a.strip:
        E.grid([[E.to_image(c[i]) for c in columns] for i in range(n)], a.strip)


if __name__ == "__main__":
    main()
