"""What kohya's own scripts make of two LoRAs: fixtures for the merge and the resize.

    python kohya.py <sd-scripts> <test/fixtures/lora/kohya.safetensors>

<sd-scripts> is a checkout of github.com/kohya-ss/sd-scripts (used: 48d368fa). Its functions merge_lora_models and resize_lora_model run as they are; only what they
import for metadata and logging, and do not use for numbers, is replaced by empty modules. Tensors of the fixture are named <set>/<tensor>:
  a, b                     two LoRAs: parts of a trained one of the mini model, and a random one of other ranks, without some alphas, with a text encoder
  merge, merge-blocks      a:0.7 and b:-0.4 to rank 3 (conv 2) without the clamp at the quantile (whose limit depends on the signs an SVD happens to choose); with weights of 26 blocks
  merge-clamped            the same with it
  resize-fixed, resize-sv_ratio, resize-sv_fro, resize-sv_cumulative   of b
Needs torch and safetensors; never needed to build, run or test Utsushi.
"""
import json
import logging
import os
import sys
import tempfile
import types

import torch
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
TRAINED = os.path.join(HERE, "../../test/fixtures/mini/reference/addift-conv.safetensors")
MODULES = [
    "lora_unet_down_blocks_0_attentions_0_proj_in",
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",
    "lora_unet_down_blocks_0_resnets_0_conv1",
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q",
    "lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_attn2_to_v",
]
BLOCKS_A = [round(0.1 * (i % 7), 1) for i in range(26)]
BLOCKS_B = [round(1 - 0.07 * i, 2) for i in range(26)]


def stub(scripts):
    library = types.ModuleType("library")
    train_util = types.ModuleType("library.train_util")
    train_util.SS_METADATA_KEY_V2 = "ss_v2"
    train_util.SS_METADATA_KEY_BASE_MODEL_VERSION = "ss_base_model_version"
    train_util.load_metadata_from_safetensors = lambda name: {}
    train_util.build_minimum_network_metadata = lambda *args: {}
    utils = types.ModuleType("library.utils")
    utils.setup_logging = lambda: logging.basicConfig(level=logging.WARNING)
    parts = {"train_util": train_util, "utils": utils, "model_util": types.ModuleType("m"), "sai_model_spec": types.ModuleType("s")}
    for name, module in parts.items():
        setattr(library, name, module)
        sys.modules[f"library.{name}"] = module
    sys.modules["library"] = library
    sys.modules["lora"] = types.ModuleType("lora")
    sys.path.insert(0, os.path.join(scripts, "networks"))


def random_lora(trained):
    torch.manual_seed(11)
    out = {}
    for i, module in enumerate(MODULES):
        down, up = trained[f"{module}.lora_down.weight"], trained[f"{module}.lora_up.weight"]
        rank = 5 + i
        fade = 0.5 ** torch.arange(rank)
        out[f"{module}.lora_down.weight"] = torch.randn(rank, *down.shape[1:]) * 0.1
        out[f"{module}.lora_up.weight"] = torch.randn(up.shape[0], rank, *up.shape[2:]) * 0.05 * fade.reshape(1, rank, *[1] * (up.dim() - 2))
        if i != 1:
            out[f"{module}.alpha"] = torch.tensor(rank / 2)
    te = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    out[f"{te}.lora_down.weight"] = torch.randn(2, 24)
    out[f"{te}.lora_up.weight"] = torch.randn(24, 2)
    out[f"{te}.alpha"] = torch.tensor(1.0)
    return out


def main(scripts, target):
    stub(scripts)
    import resize_lora
    import svd_merge_lora

    trained = load_file(TRAINED)
    a = {k: v.float() for k, v in trained.items() if k.rsplit(".", 2)[0] in MODULES or k.rsplit(".", 1)[0] in MODULES}
    b = random_lora(trained)
    sets = {"a": a, "b": b}
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, f"{name}.safetensors") for name in "ab"]
        for file, tensors in zip(files, (a, b)):
            save_file(tensors, file)

        def merged(blocks):
            return svd_merge_lora.merge_lora_models(files, [0.7, -0.4], blocks, 3, 2, None, torch.float)[0]

        sets["merge-clamped"] = merged([])
        svd_merge_lora.CLAMP_QUANTILE = 1.0
        svd_merge_lora.torch.quantile = lambda x, q: x.abs().max()
        sets["merge"] = merged([])
        sets["merge-blocks"] = merged([json.dumps(BLOCKS_A), json.dumps(BLOCKS_B)])
    for method, value in [(None, None), ("sv_ratio", 6.0), ("sv_fro", 0.97), ("sv_cumulative", 0.8)]:
        out, _, _ = resize_lora.resize_lora_model(dict(b), 4, 3, torch.float, None, method, value, False)
        sets["resize-" + (method or "fixed")] = out
    flat = {f"{name}/{key}": value.float().contiguous() for name, tensors in sets.items() for key, value in tensors.items()}
    save_file(flat, target, metadata={"blocks_a": json.dumps(BLOCKS_A), "blocks_b": json.dumps(BLOCKS_B)})
    print(len(flat), "tensors")


main(*sys.argv[1:])
