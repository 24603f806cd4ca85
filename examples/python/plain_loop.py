"""A plain training loop with its optimizer wrapped: two lines more than without."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import leapverify

STEPS, BATCH = 400, 32

torch.manual_seed(0)
x = torch.randn(4096, 16)
y = (x @ torch.randn(16, 10)).argmax(1)
gate, train = (x[:512], y[:512]), (x[512:], y[512:])  # the gate set is held out of the training data

model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 10))
# [README]
base = torch.optim.AdamW(model.parameters(), lr=1e-4)  # far too small
evaluator = leapverify.BatchEvaluator.from_loader(
    model, F.cross_entropy, DataLoader(TensorDataset(*gate), 64), sequences_per_step=BATCH, max_sequences=512)
optimizer = leapverify.LeapVerify(base, evaluator, planned_steps=STEPS, max_overhead=0.05, trace="trace.jsonl")
# [/README]

schedule = torch.optim.lr_scheduler.CosineAnnealingLR(base, STEPS)  # a raised rate needs one that decays

loader = iter(DataLoader(TensorDataset(*train), BATCH, sampler=torch.randint(len(train[0]), (STEPS * BATCH,))))
for step in range(STEPS):
    inputs, targets = next(loader)
    optimizer.zero_grad()
    loss = F.cross_entropy(model(inputs), targets)
    loss.backward()
    optimizer.step()
    schedule.step()
    if (step + 1) % 100 == 0:
        status = optimizer.status()
        print(f"step {step + 1:4d}  loss {loss.item():.3f}  rate x{status['learning_rate_scale']:.3g}  "
              f"{status['accepted']} of {status['candidates']} candidates verified  "
              f"overhead {100 * status['overhead']:.1f} %")
