"""Final validation loss of a convolutional network with batch norm on digits, as torch draws it and after He et al.: AdamW with a cosine at
several rates, auto and free. Usage: batch_norm.py, with the package on PYTHONPATH; a line a run."""
import sys, json, math, torch, torch.nn as nn, torch.nn.functional as F
import pathlib
sys.path.insert(0, str(pathlib.Path(__file__).parents[3]))
from harness.tasks import DigitsTask
from harness.arenas import ARENAS
import leapverify
torch.set_num_threads(1)
task = DigitsTask(ARENAS["digits"], torch.device("cpu"))
def net(seed, he):
    torch.manual_seed(seed)
    m = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
    if he:
        for p in m.modules():
            if isinstance(p, (nn.Conv2d, nn.Linear)): nn.init.kaiming_normal_(p.weight, nonlinearity="relu")
    return m
def run(kind, lr, seed, he, N=400):
    m = net(seed, he); opt = torch.optim.AdamW(m.parameters(), lr=lr, weight_decay=0.01); sch = None
    if kind == "auto":
        opt = leapverify.LeapVerify(opt, leapverify.BatchEvaluator(m, task.gate(), task.losses, sequences_per_step=32, max_sequences=180), planned_steps=N, preset="auto")
    elif kind == "free": opt = leapverify.LeapVerify(opt, m, planned_steps=N, preset="free")
    else: sch = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1, (s+1)/40) * (0.5*(1+math.cos(math.pi*max(0, s-40)/(N-40)))*.98+.02))
    for s in range(N):
        b = task.batch("train", seed, s); opt.zero_grad(); task.losses(m, b).mean().backward(); opt.step()
        if sch: sch.step()
    if kind != "adamw":  # batch norm's statistics at the average
        for mod in m.modules():
            if isinstance(mod, (nn.BatchNorm1d, nn.BatchNorm2d)): mod.reset_running_stats(); mod.momentum = None
        with torch.no_grad():
            for s in range(40): m(task.batch("train", seed, s)[0])
    m.eval()
    with torch.no_grad(): f = float(torch.cat([task.losses(m, p) for p in task.validation()]).mean())
    print(json.dumps(dict(kind=kind, he=he, rate=lr, seed=seed, final=round(f, 5))), flush=True)
for he in (False, True):
    for seed in (1, 2, 3, 4):
        for lr in (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2): run("adamw", lr, seed, he)
        for lr in (1e-4, 1e-2): run("auto", lr, seed, he); run("free", lr, seed, he)
