"""The real Lightning around LeapVerify.

Usage: lightning_test.py [unittest options], with the package on PYTHONPATH
"""

import logging
import tempfile
import unittest
import warnings

import lightning
import torch
from toy import ACCEPTING, EAGER, Net, ToyEvaluator, inputs, squared, target

import leapverify

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


class Module(lightning.LightningModule):
    def __init__(self, options):
        super().__init__()
        torch.manual_seed(7)
        self.net = Net()
        self.options = options
        self.events = []

    def training_step(self, batch, _):
        return squared(self.net(batch[0]), batch[1]).mean()

    def configure_optimizers(self):
        base = torch.optim.AdamW(self.net.parameters(), lr=3e-3)
        if self.options is None:
            return base
        wrapped = leapverify.LeapVerify(
            base, ToyEvaluator(self.net), trace=self.events.append, **self.options)
        return {"optimizer": wrapped, "lr_scheduler": torch.optim.lr_scheduler.ConstantLR(wrapped, 1.0)}


def fit(options, steps=40, folder=None, checkpoint=None, accumulate=1):
    module = Module(options)
    data = torch.utils.data.DataLoader([(inputs(i), target(inputs(i))) for i in range(200)], batch_size=None)
    trainer = lightning.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=folder is not None, default_root_dir=folder, accumulate_grad_batches=accumulate)
    torch.manual_seed(1)
    trainer.fit(module, data, ckpt_path=checkpoint)
    if folder is not None:
        trainer.save_checkpoint(f"{folder}/mine.ckpt")
    return module, trainer


class Lightning(unittest.TestCase):
    def test_leaps(self):
        module, _ = fit(ACCEPTING)
        self.assertTrue([e for e in module.events if e["event"] == "leap" and e["outcome"] == "committed"])
        self.assertFalse([e for e in module.events if e["event"] == "failure"])
        self.assertEqual(max(e["step"] for e in module.events), 40)

    def test_all_rejected_is_the_base_optimizer(self):
        a, _ = fit({**EAGER, "verification": {"sequences": 16, "margin": 1e9}})
        b, _ = fit(None)
        self.assertTrue([e for e in a.events if e["event"] == "candidate"])
        for x, y in zip(a.net.state_dict().values(), b.net.state_dict().values(), strict=True):
            self.assertTrue(torch.equal(x, y))

    def test_accumulated(self):
        module, trainer = fit(ACCEPTING, steps=12, accumulate=3)
        self.assertEqual(trainer.optimizers[0].status()["step"], 12)

    def test_checkpoint(self):
        with tempfile.TemporaryDirectory() as folder:
            _, trainer = fit(ACCEPTING, steps=13, folder=folder)
            before = trainer.optimizers[0].status()
            _, again = fit(ACCEPTING, steps=13, folder=folder, checkpoint=f"{folder}/mine.ckpt")
            self.assertEqual(again.optimizers[0].status(), before)
            module, longer = fit(ACCEPTING, steps=26, folder=folder, checkpoint=f"{folder}/mine.ckpt")
            self.assertEqual(longer.optimizers[0].status()["step"], 26)
            self.assertTrue([e for e in module.events if e["event"] == "leap" and e["step"] > 13])

    def test_what_lightning_hands_out_is_the_same_optimizer(self):
        module, trainer = fit(ACCEPTING, steps=7)
        proxy = module.optimizers()
        proxy.planned_steps = 1000
        self.assertEqual(trainer.optimizers[0].planned_steps, 1000)
        self.assertEqual(proxy.status(), trainer.optimizers[0].status())


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()
