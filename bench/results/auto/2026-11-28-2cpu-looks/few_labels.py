"""Final held-out loss of a small network on labels drawn at random, of which there are few (25 passes), more (6) or no end:
LeapVerify's presets beside AdamW with a cosine. Usage: few_labels.py, with the package on PYTHONPATH; a line a run."""
import sys, math, json, torch, torch.nn as nn, torch.nn.functional as F
import leapverify
from torch.utils.data import DataLoader, TensorDataset
torch.set_num_threads(1)
def net(w, seed):
    torch.manual_seed(seed); return nn.Sequential(nn.Linear(32,w),nn.ReLU(),nn.Linear(w,w),nn.ReLU(),nn.Linear(w,10))
teacher = net(128, 100)
with torch.no_grad():
    for p in teacher.parameters(): p.mul_(3.0)
def draw(n, seed):
    g = torch.Generator().manual_seed(seed); x = torch.randn(n,32,generator=g)
    with torch.no_grad(): y = torch.multinomial(teacher(x).softmax(-1),1,generator=g)[:,0]
    return x,y
vx,vy = draw(8192, 10**6); gate = draw(512, 10**7)
def run(kind, lr, seed, n=1024, N=400, B=64):
    X,Y = draw(n, seed); m = net(128, seed); g = torch.Generator().manual_seed(seed)
    opt = torch.optim.AdamW(m.parameters(), lr=lr); sch=None; info=None
    if kind=="free": opt = leapverify.LeapVerify(opt, m, planned_steps=N, preset="free")
    elif kind=="auto": opt = leapverify.LeapVerify(opt, leapverify.BatchEvaluator.from_loader(m, F.cross_entropy, DataLoader(TensorDataset(*gate),64), sequences_per_step=B, max_sequences=512), planned_steps=N, preset="auto")
    else: sch = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1,(s+1)/40)*(0.5*(1+math.cos(math.pi*max(0,s-40)/(N-40)))*.98+.02))
    for s in range(N):
        i = torch.randint(n,(B,),generator=g); opt.zero_grad(); F.cross_entropy(m(X[i]),Y[i]).backward(); opt.step()
        if sch: sch.step()
    if kind=="auto": st=opt.status(); info=[st["looks"],st["went_back"],round(st["overhead"],4)]
    with torch.no_grad(): f=float(F.cross_entropy(m(vx),vy))
    print(json.dumps(dict(kind=kind, rate=lr, seed=seed, n=n, final=round(f,4), looks=info)), flush=True)
for seed in (1,2,3):
    for n in (1024, 4096, 10**6):
        for lr in (5e-4,1e-3,2e-3,4e-3,8e-3,1.6e-2): run("adamw", lr, seed, n)
        for lr in (1e-4,1e-2): run("free", lr, seed, n); run("auto", lr, seed, n)
