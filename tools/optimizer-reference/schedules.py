"""The rates of every schedule in its own library, for test/unit/training/schedule.test.ts.

    python tools/optimizer-reference/schedules.py test/fixtures/training/schedules.json

diffusers' get_scheduler (constant, linear, cosine, cosine with restarts, polynomial, piecewise constant) and torch.optim.lr_scheduler (all others), at every step of a run.
`settings` are as in src/recipe/schedules.ts. Torch's own schedulers have no warm-up, so theirs is 0 here.
"""

import json
import sys

import torch
from diffusers.optimization import get_scheduler
from torch.optim import lr_scheduler as torch_schedules

STEPS = 120
RATE = 3e-4


def optimizer(rate: float = RATE) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def run(scheduler, steps: int = STEPS, losses=None) -> list[float]:
    rates = []
    for k in range(steps):
        rates.append(float(scheduler.optimizer.param_groups[0]["lr"]))
        scheduler.optimizer.step()
        scheduler.step() if losses is None else scheduler.step(losses[k])
    return rates


def diffusers_run(name: str, **settings) -> list[float]:
    return run(get_scheduler(name, optimizer(), num_training_steps=STEPS, **settings))


def cases():
    yield {"kind": "constant", "warmup": 0}, diffusers_run("constant")
    yield {"kind": "constant", "warmup": 13}, diffusers_run("constant_with_warmup", num_warmup_steps=13)
    for warmup in (0, 17):
        yield {"kind": "linear", "warmup": warmup}, diffusers_run("linear", num_warmup_steps=warmup)
        yield {"kind": "cosine", "warmup": warmup}, diffusers_run("cosine", num_warmup_steps=warmup)
        yield (
            {"kind": "cosineRestarts", "warmup": warmup, "cycles": 3},
            diffusers_run("cosine_with_restarts", num_warmup_steps=warmup, num_cycles=3),
        )
        yield (
            {"kind": "polynomial", "warmup": warmup, "power": 1.7, "endRate": 1e-7},
            diffusers_run("polynomial", num_warmup_steps=warmup, power=1.7),
        )
    yield (
        {"kind": "piecewise", "warmup": 0, "rules": "1:10, 0.1:50,0.005"},
        diffusers_run("piecewise_constant", step_rules="1:10,0.1:50,0.005"),
    )

    yield (
        {"kind": "cosineAnnealing", "warmup": 0, "minRate": 1e-5},
        run(torch_schedules.CosineAnnealingLR(optimizer(), T_max=STEPS, eta_min=1e-5)),
    )
    for growth in (1, 3):
        yield (
            {"kind": "cosineWarmRestarts", "warmup": 0, "period": 10, "growth": growth, "minRate": 2e-6},
            run(torch_schedules.CosineAnnealingWarmRestarts(optimizer(), T_0=10, T_mult=growth, eta_min=2e-6)),
        )
    yield {"kind": "exponential", "warmup": 0, "gamma": 0.97}, run(torch_schedules.ExponentialLR(optimizer(), gamma=0.97))
    yield {"kind": "step", "warmup": 0, "every": 25, "gamma": 0.3}, run(torch_schedules.StepLR(optimizer(), step_size=25, gamma=0.3))
    yield (
        {"kind": "multiStep", "warmup": 0, "milestones": [30, 60, 61, 90], "gamma": 0.5},
        run(torch_schedules.MultiStepLR(optimizer(), milestones=[30, 60, 61, 90], gamma=0.5)),
    )
    for shape, mode in (("triangular", "triangular"), ("triangular2", "triangular2"), ("exponential", "exp_range")):
        yield (
            {
                "kind": "cyclic",
                "warmup": 0,
                "minRate": 1e-5,
                "maxRate": 1e-3,
                "stepsUp": 20,
                "stepsDown": 11,
                "shape": shape,
                "gamma": 0.99,
            },
            run(
                torch_schedules.CyclicLR(
                    optimizer(), 1e-5, 1e-3, step_size_up=20, step_size_down=11, mode=mode, gamma=0.99, cycle_momentum=False
                )
            ),
        )
    for shape, strategy in (("cosine", "cos"), ("linear", "linear")):
        yield (
            {"kind": "oneCycle", "warmup": 0, "maxRate": 1e-3, "rise": 0.3, "startDivisor": 25, "endDivisor": 1e4, "shape": shape},
            run(
                torch_schedules.OneCycleLR(optimizer(), max_lr=1e-3, total_steps=STEPS, anneal_strategy=strategy, cycle_momentum=False),
                STEPS - 1,
            ),
        )


def plateaus():
    """Losses that fall, stall and jump; without smoothing, as torch has none."""
    losses = [1 / (1 + min(k, 40)) + 0.02 * ((k * 7919) % 13) / 13 for k in range(STEPS)]
    for patience, threshold, cooldown, floor in ((3, 1e-4, 0, 0.0), (5, 0.01, 8, 2e-5)):
        scheduler = torch_schedules.ReduceLROnPlateau(
            optimizer(), factor=0.5, patience=patience, threshold=threshold, cooldown=cooldown, min_lr=floor
        )
        settings = {
            "kind": "plateau",
            "warmup": 0,
            "factor": 0.5,
            "patience": patience,
            "threshold": threshold,
            "cooldown": cooldown,
            "minRate": floor,
            "smoothing": 0,
        }
        yield {"settings": settings, "losses": losses, "rates": run(scheduler, losses=losses)}


if __name__ == "__main__":
    listed = [{"settings": settings, "rates": rates} for settings, rates in cases()]
    with open(sys.argv[1], "w") as file:
        json.dump({"rate": RATE, "steps": STEPS, "schedules": listed, "plateaus": list(plateaus())}, file)
        file.write("\n")
