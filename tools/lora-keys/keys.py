"""Which tensors a LoRA file must hold for the programs that read it, worked out by diffusers alone.

    python keys.py <test/fixtures/lora>

Writes keys-mini.json and keys-sdxl.json: one row per module, [name in the file, checkpoint path, shape of lora_down, shape of lora_up] at rank 4.
- mini (SD1.5 topology): kohya's rule ("lora_unet_" + diffusers path with underscores) over the modules of a diffusers UNet; the checkpoint path is the one whose
  weight diffusers' single-file conversion turns into that module.
- sdxl: every conceivable checkpoint-style name is offered to diffusers' LoRA conversion; those that land on a module of its UNet are kept.
Needs torch and diffusers; never needed to build, run or test Utsushi.
"""
import itertools
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "mini-model"))
import torch  # noqa: E402
from diffusers import UNet2DConditionModel  # noqa: E402
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_lora_to_diffusers, _maybe_map_sgm_blocks_to_diffusers  # noqa: E402
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint  # noqa: E402

import model as M  # noqa: E402

PARENTS = ("Transformer2DModel", "ResnetBlock2D", "Downsample2D", "Upsample2D")
RANK = 4


def targets(unet):
    out = {}
    for name, parent in unet.named_modules():
        if type(parent).__name__ in PARENTS:
            for child, m in parent.named_modules():
                if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d)):
                    out[f"{name}.{child}"] = m.weight
    return out


def shapes(w):
    kernel = list(w.shape[2:])
    return [RANK, w.shape[1], *kernel], [w.shape[0], RANK, *[1] * len(kernel)]


def mini():
    cfg = dict(sample_size=16, in_channels=4, out_channels=4, layers_per_block=2, block_out_channels=(64, 128, 128, 64), cross_attention_dim=64, attention_head_dim=8,
               down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**cfg)
        ldm = M.UNet(**M.CONFIG["unet"])
    # Follow each weight through the conversion by giving it a number of its own.
    tag = {k: torch.full((1,), float(i)) for i, k in enumerate(ldm.state_dict())}
    keys = list(tag)
    full = {f"model.diffusion_model.{k}": v for k, v in tag.items()}
    converted = convert_ldm_unet_checkpoint(full, dict(unet.config))
    back = {k: keys[int(v.item())] for k, v in converted.items()}
    return [["lora_unet_" + path.replace(".", "_"), back[path + ".weight"].removesuffix(".weight"), *shapes(w)] for path, w in targets(unet).items()]


def sdxl():
    cfg = dict(sample_size=128, in_channels=4, out_channels=4, layers_per_block=2, block_out_channels=(320, 640, 1280), cross_attention_dim=2048, attention_head_dim=(5, 10, 20),
               down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
               transformer_layers_per_block=(1, 2, 10), use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
               projection_class_embeddings_input_dim=2816)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**cfg)
    want = targets(unet)
    subs = ["in_layers.2", "emb_layers.1", "out_layers.3", "skip_connection", "op", "conv", "proj_in", "proj_out"]
    subs += [f"transformer_blocks.{k}.{s}" for k in range(12) for s in
             [f"attn{a}.to_{x}" for a in (1, 2) for x in ("q", "k", "v", "out.0")] + ["ff.net.0.proj", "ff.net.2"]]
    heads = [f"input_blocks.{n}.{i}" for n in range(12) for i in range(3)] + [f"middle_block.{i}" for i in range(3)] + \
            [f"output_blocks.{n}.{i}" for n in range(12) for i in range(3)]
    rows = {}
    for head, sub in itertools.product(heads, subs):
        # diffusers takes a sampler at any place of its level; the checkpoint has them at input_blocks.{3,6}.0.op and output_blocks.{2,5}.2.conv.
        if sub == "op" and not re.fullmatch(r"input_blocks\.[36]\.0", head) or sub == "conv" and not re.fullmatch(r"output_blocks\.[25]\.2", head):
            continue
        path = f"{head}.{sub}"
        name = "lora_unet_" + path.replace(".", "_")
        state = {f"{name}.lora_down.weight": torch.zeros(1, 1), f"{name}.lora_up.weight": torch.zeros(1, 1), f"{name}.alpha": torch.tensor(1.0)}
        try:
            out, _ = _convert_non_diffusers_lora_to_diffusers(_maybe_map_sgm_blocks_to_diffusers(state, unet.config))
        except Exception:
            continue
        found = [k for k in out if k.startswith("unet.")]
        if not found:
            continue
        module = re.sub(r"[._]lora\.(down|up)\.weight$", "", found[0].removeprefix("unet.")).replace(".processor", "")
        module = re.sub(r"to_out$", "to_out.0", module)
        if module in want and module not in rows:
            rows[module] = [name, path, *shapes(want[module])]
    missing = [m for m in want if m not in rows]
    print("sdxl", len(want), "modules,", len(rows), "found", missing[:3])
    return list(rows.values())


def write(path, rows):
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "\n]\n")
    print(path, len(rows))


if __name__ == "__main__":
    write(os.path.join(sys.argv[1], "keys-mini.json"), mini())
    write(os.path.join(sys.argv[1], "keys-sdxl.json"), sdxl())
