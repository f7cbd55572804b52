"""Fixtures for LoHa, made with LyCORIS itself (pip install lycoris-lora torch safetensors).

Writes test/fixtures/lora/loha.safetensors: a LoHa of four modules of the mini model as LyCORIS saves it (linear, 1x1 convolution, 3x3 convolution in plain and in
Tucker form), and loha-expected.safetensors: the change of each module's weight, and for a loss over the linear module the loss and the gradients of its factors.

    python tools/lycoris/loha.py test/fixtures/lora
"""

import sys
from pathlib import Path

import torch
from lycoris.modules.loha import LohaModule
from safetensors.torch import save_file

folder = Path(sys.argv[1])
torch.manual_seed(7)

ATTENTION = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
PROJECTION = "lora_unet_down_blocks_0_attentions_0_proj_in"
PLAIN = "lora_unet_down_blocks_0_resnets_0_conv1"
TUCKER = "lora_unet_down_blocks_1_resnets_0_conv1"
LAYERS = {
    ATTENTION: (torch.nn.Linear(64, 64, bias=False), 3, 2.0, False),
    PROJECTION: (torch.nn.Conv2d(64, 64, 1), 4, 1.0, False),
    PLAIN: (torch.nn.Conv2d(64, 64, 3, padding=1), 2, 1.0, False),
    TUCKER: (torch.nn.Conv2d(64, 128, 3, padding=1), 2, 2.0, True),
}

state, expected = {}, {}
for name, (layer, rank, alpha, tucker) in LAYERS.items():
    module = LohaModule(name, layer, multiplier=1.0, lora_dim=rank, alpha=alpha, use_tucker=tucker)
    with torch.no_grad():
        module.hada_w2_a.normal_(0, 0.1)
    for key, value in module.state_dict().items():
        state[f"{name}.{key}"] = value.detach().float().contiguous()
    expected[f"{name}.delta"] = module.get_weight(layer.weight.shape).detach().float().contiguous()
    if name == ATTENTION:
        x, target = torch.randn(5, 64), torch.randn(5, 64)
        y = torch.nn.functional.linear(x, layer.weight + module.get_weight(layer.weight.shape))
        loss = ((y - target) ** 2).mean()
        loss.backward()
        expected |= {"x": x, "target": target, "weight": layer.weight.detach(), "loss": loss.detach().reshape(1)}
        expected |= {f"grad.{key}": getattr(module, key).grad for key in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")}

save_file(state, folder / "loha.safetensors", {"ss_network_module": "lycoris.kohya", "ss_network_args": '{"algo": "loha"}'})
save_file({key: value.contiguous() for key, value in expected.items()}, folder / "loha-expected.safetensors")
