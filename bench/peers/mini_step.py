"""One training step of the mini model in PyTorch, for comparison with `utsushi bench`.

    python mini_step.py <mini.safetensors> [rank] [batch]

The step is pass 1 of the difference method with AdamW (noise, noising, UNet with rank-16 factors on the 192 linear modules, MSE, backward,
update), float32 as in the reference runs and float16 autocast as a kohya user runs it. Prints one JSON line: milliseconds per step, median of 40,
eager (what trainers run) and replayed as a CUDA graph (no launch cost at all).
Needs PyTorch; never needed to build, run or test Utsushi.
"""
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "tools", "mini-model"))
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

import export  # noqa: E402
import lora as L  # noqa: E402
import model as M  # noqa: E402


def main():
    rank = int(sys.argv[2]) if len(sys.argv) > 2 else 16
    batch = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    dev = L.dev
    root = M.Root()
    export.load_into(root, sys.argv[1])
    root.to(dev).eval().requires_grad_(False)
    net = L.Network(root.unet, rank, rank, 0, 0, seed=1).attach()
    opt = L.AdamW(net.params)
    ab = M.alphas_bar(dev)
    ctx = torch.randn(batch, 77, 64, device=dev)
    z = torch.randn(batch, 4, 16, 16, device=dev)
    opt.lr(1e-4)
    out = {"device": torch.cuda.get_device_name() if L.cuda else "cpu", "torch": torch.__version__, "rank": rank, "batch": batch}

    def step(half):
        for q in net.params:
            q.grad = None
        t = torch.randint(0, 1000, (batch,), device=dev)
        n = torch.randn(batch, 4, 16, 16, device=dev)
        with torch.autocast(dev, dtype=torch.float16, enabled=half):
            e = root.unet(M.add_noise(z, n, t, ab), t, ctx)
        loss = F.mse_loss(e.float(), n)
        loss.backward()
        opt.step()
        return loss

    def measure(run, n=40):
        times = []
        for i in range(n + 8):
            if L.cuda:
                torch.cuda.synchronize()
            a = time.perf_counter()
            run()
            if L.cuda:
                torch.cuda.synchronize()
            if i >= 8:
                times.append((time.perf_counter() - a) * 1000)
        return round(statistics.median(times), 3)

    n = 40 if L.cuda else 5
    out["eager_f32_ms"] = measure(lambda: step(False), n)
    if L.cuda:
        out["eager_f16_ms"] = measure(lambda: step(True), n)
        s = torch.cuda.Stream()
        s.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(s):
            for _ in range(3):
                step(False)
        torch.cuda.current_stream().wait_stream(s)
        for q in net.params:
            q.grad = None
        g = torch.cuda.CUDAGraph()
        with torch.cuda.graph(g):
            step(False)
        out["graph_f32_ms"] = measure(g.replay, n)
        out["peak_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    print(json.dumps(out))


if __name__ == "__main__":
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    main()
