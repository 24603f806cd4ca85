"""The product of the gradient and the way from the start, in runs of the preset auto in the any-rate bench's arenas.

Usage: slopes.py FOLDER ARENA SEED FACTOR, with bench/ and the package on PYTHONPATH and FOLDER that of the any-rate bench, for its
base. FACTOR: on the stride; in an experimental build whose runs never begin anew. A line: for each step before it is taken the
product over the matrices, and the length of the way.
"""
import json
import os
import sys

folder, arena, seed, factor = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
os.environ["LV_STRIDE"] = factor
import harness.train  # noqa: E402
import torch  # noqa: E402

STEPS = {"pretrain": 400, "pretrain-large-batch": 100}.get(arena, 200)
base_step, start, steps = torch.optim.AdamW.step, [], []


@torch.no_grad()
def step(self, *arguments, **named):
    matrices = [p for group in self.param_groups for p in group["params"] if p.grad is not None and p.dim() > 1]
    if not start:
        start.extend(p.clone() for p in matrices)
    way = [p - begun for p, begun in zip(matrices, start)]
    product = sum(float((p.grad * w).sum()) for p, w in zip(matrices, way))
    steps.append((round(product, 5), round(sum(float(w.square().sum()) for w in way) ** 0.5, 5)))
    return base_step(self, *arguments, **named)


torch.optim.AdamW.step = step
line = harness.train.run({"arena": arena, "method": "leapverify-auto", "variant": "", "rate": 1.6e-3, "warmup": 0.1, "seed": seed,
                          "purpose": "slopes", "steps": STEPS, "size": "cpu", "folder": folder, "texts": {}})
print(json.dumps({"arena": arena, "seed": seed, "factor": float(factor), "final": line.get("final"), "steps": steps}), flush=True)
