"""Radiance fields against the renderer's truth: `python benchmarks/radiance_quality.py [--part fit photo ...]`.

fit: held-out objects from 40 pictures of 64x64, scored on hidden views, by silhouette and by the distance of the mesh.
exact: the prior is "one of 24 cars", known exactly; what it shapes is compared with the cars, next to score distillation with
the same denoiser, the same number of calls and the same field.
photo: one photograph and the shipped denoiser of objects, next to the photograph alone and to score distillation from its own
start and from ours.
again: the same photograph with other seeds, ours and score distillation.
prior: cars that the shipped denoiser makes up, next to score distillation and to cars of the renderer.
variance: a Gaussian prior; the variance of renders with and without the correction for the share that a field follows.

The scores are those of field_scores.py. --pictures FOLDER keeps what the fields show.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from field_scores import SIZE, apart, keep_pictures, mesh_error, overlap, pictures, psnr, saturation, seems, views
from latent_atelier.checkpoints.registry import load_checkpoint
from latent_atelier.demo.models import WEIGHTS
from latent_atelier.demo.objects import CLASSES, make_object
from latent_atelier.demo.solids import Body
from latent_atelier.pipelines.langevin.denoiser import Denoiser, NetworkDenoiser
from latent_atelier.pipelines.langevin.fields.cameras import Cameras, orbit, random_orbits
from latent_atelier.pipelines.langevin.fields.field_learner import Learning
from latent_atelier.pipelines.langevin.fields.field_prior import PRIOR, FieldPrior, FieldPriorSettings, shape_field
from latent_atelier.pipelines.langevin.fields.fitting import FitSettings, PosedImages, fit_images
from latent_atelier.pipelines.langevin.fields.photograph_noise import FLOW
from latent_atelier.pipelines.langevin.fields.radiance_field import RadianceField, field_config, new_field
from latent_atelier.pipelines.langevin.fields.rendering import Sampling
from latent_atelier.pipelines.langevin.seeds import seeded_normal
from latent_atelier.pipelines.training.data import seeded
from torch import Tensor

HELD_OUT = 8500
"""Objects are drawn from seeds that no network was trained on."""
HIDDEN = orbit([60.0, 120.0, 180.0, 240.0, 300.0] * 2, [10.0] * 5 + [30.0] * 5)
"""Where a photographed object is looked at from."""
CONFIG = field_config("planes", blob=5.0, blob_radius=0.6)
COMPLETED = FieldPriorSettings(replace(PRIOR, sweeps=64, sigma_max=12.0, tau=0.0), views=4, inner=3)
MADE_UP = FieldPriorSettings(replace(PRIOR, sweeps=32), coarse=0.5)
"""Of the workflows object_from_one_photo and object_from_prior."""


def say(text: str) -> None:
    """To the terminal, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def fit(objects: int, steps: int) -> None:
    """The plain fit."""
    say(f"Plain fit, 40 views of {SIZE}x{SIZE}, {steps} steps of 2048 rays; 12 hidden views")
    cameras, hidden = (random_orbits(n, seeded(n), elevation=(0, 45)) for n in (40, 12))
    rows: list[list[float]] = []
    for number in range(objects):
        body = make_object(CLASSES[number % 3], (HELD_OUT, number))
        began = time.perf_counter()
        field = fit_images(PosedImages(pictures(body, cameras)[0], cameras), CONFIG, FitSettings(steps))
        spent = time.perf_counter() - began
        (found, opacity), (truth, cover) = views(field, hidden), pictures(body, hidden)
        rows.append([psnr(found, truth), seems(found, truth), overlap(opacity, cover), mesh_error(field, body, hidden)])
        say(f"  {CLASSES[number % 3]:6} {scores(rows[-1:])}, {spent:.0f} s")
    say(f"  mean   {scores(rows)}")


def scores(rows: Sequence[Sequence[float]]) -> str:
    """Of hidden views, averaged."""
    decibels, perceptual, silhouettes, mesh, *colour = torch.tensor(rows).mean(dim=0).tolist()
    return (f"{decibels:5.1f} dB, perceptual {perceptual:.4f}, silhouette IoU {silhouettes:.3f}, mesh off by {mesh:.3f}"
            + "".join(f", saturation off by {value:.3f}" for value in colour))


def against(ours: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> str:
    """Differences of two methods on the same objects: mean and its standard error."""
    apart = torch.tensor(ours) - torch.tensor(others)
    mean, error = apart.mean(dim=0).tolist(), (apart.std(dim=0) / math.sqrt(len(apart))).tolist()
    names = "decibels", "perceptual", "silhouettes", "mesh", "saturation"
    return ", ".join(f"{name} {m:+.4f} ({e:.4f})" for name, m, e in zip(names, mean, error, strict=True))


class OneOf:
    """The exact denoiser of "one of these objects, all alike probable", from cameras of a pool."""

    sigma_data = 0.5

    def __init__(self, bodies: Sequence[Body], pool: Cameras) -> None:
        self.pool = pool
        self.data = torch.stack([pictures(body, pool)[0] for body in bodies]) * 2 - 1

    def seen(self, cameras: Cameras) -> Tensor:
        """What the objects look like, [objects,N,3,H,W]."""
        return self.data[:, torch.cdist(cameras.positions, self.pool.positions).argmin(dim=1)]

    def __call__(self, x: Tensor, sigma: float, view: object = None) -> Tensor:
        truth = self.seen(view)  # pyright: ignore[reportArgumentType]
        misfit = (x - truth).square().flatten(2).sum(dim=2) / (2 * sigma**2)
        return (torch.softmax(-misfit, dim=0)[:, :, None, None, None] * truth).sum(dim=0)


def distilled(denoiser: Denoiser, settings: FieldPriorSettings, calls: int, *, annealed: bool, pool: Cameras | None = None,
              anchors: PosedImages | None = None, of_photographs: bool = False) -> RadianceField:
    """Score distillation (Poole et al. 2022): each step moves views towards D(x + sigma n) at a random level, or at a level
    that falls. The same field, optimiser, cameras, number of denoised views and of updates. It starts at D of noise alone, or
    of_photographs where ours does."""
    job = FieldPrior(CONFIG, denoiser, settings, anchors=anchors, pool=pool)
    job.expect(of_photographs=of_photographs)
    count = calls // settings.views
    updates = max(1, round(settings.inner * settings.prior.sweeps / count))
    for step in range(count):
        cameras = job.views.cameras(settings.views, step)
        x = job.views.render(cameras)
        at = step / count if annealed else float(torch.rand((), generator=seeded(step + 977 * settings.seed)))
        low, high = settings.prior.sigma_min * denoiser.sigma_data, settings.prior.sigma_max * denoiser.sigma_data
        sigma = high * (low / high) ** at
        noise = torch.stack([seeded_normal(x.shape[1:], settings.seed, step, i) for i in range(len(x))])
        with torch.no_grad():
            target = denoiser(x + sigma * noise, sigma, cameras)
        job.views.forget()
        job.views.aim(cameras, target)
        job.views.learn(updates)
    return job.field


def exact(seeds: int, known: int) -> None:
    """A prior that is known."""
    pool = orbit([22.5 * i for i in range(16)] * 2, [10.0] * 16 + [30.0] * 16)
    prior = OneOf([make_object("car", (HELD_OUT + 1, i)) for i in range(known)], pool)
    every = (prior.data + 1) / 2
    cover = [pictures(make_object("car", (HELD_OUT + 1, i)), pool[:8])[1] for i in range(known)]
    colourful = [saturation(every[i, :8], cover[i]) for i in range(known)]
    spread = apart(list(every))
    say(f"One of {known} cars: {seeds} seeds")

    def score(name: str, fields: Sequence[RadianceField], spent: float) -> None:
        shown = [views(field, pool) for field in fields]
        nearest: list[int] = []
        best: list[float] = []
        second: list[float] = []
        off: list[float] = []
        like: list[float] = []
        for colour, opacity in shown:
            errors = (colour[None] - every).square().flatten(1).mean(dim=1)
            order = errors.argsort()
            nearest.append(int(order[0]))
            best.append(-10 * math.log10(float(errors[order[0]])))
            second.append(-10 * math.log10(float(errors[order[1]])))
            off.append(saturation(colour[:8], opacity[:8]) - colourful[nearest[-1]])
            like.append(seems(colour, every[nearest[-1]]))
        diversity = apart([colour for colour, _ in shown]) / spread if len(fields) > 1 else math.nan
        say(f"  {name:36} nearest car {sum(best) / len(best):5.1f} dB, perceptual {sum(like) / len(like):.4f}, next "
            f"{sum(second) / len(second):5.1f} dB; {len(set(nearest))} cars, diversity {diversity:.2f}; saturation off by "
            f"{sum(off) / len(off):+.3f}; {spent:.0f} s each")

    settings = FieldPriorSettings()
    jobs: list[FieldPrior] = []
    began = time.perf_counter()
    for seed in range(seeds):
        jobs.append(FieldPrior(CONFIG, prior, replace(settings, seed=seed), pool=pool))
        shape_field(jobs[-1])
    calls = sum(sweep.calls for sweep in jobs[0].sweeps)
    score("ours", [job.field for job in jobs], (time.perf_counter() - began) / seeds)
    for annealed in (False, True):
        began = time.perf_counter()
        fields = [distilled(prior, replace(settings, seed=seed), calls, annealed=annealed, pool=pool) for seed in range(seeds)]
        spent = (time.perf_counter() - began) / seeds
        score(f"score distillation, {'falling' if annealed else 'random'} levels", fields, spent)


def photographed(number: int) -> tuple[Body, PosedImages]:
    """A held-out object and one photograph of it."""
    body, camera = make_object(CLASSES[number % 3], (HELD_OUT + 2, number)), orbit([30.0], 20.0)
    return body, PosedImages(pictures(body, camera)[0], camera)


def photo(numbers: range, folder: Path | None) -> None:
    """One photograph."""
    say(f"One photograph of {len(numbers)} held-out objects; hidden views")
    table: dict[str, list[list[float]]] = {}
    for number in numbers:
        kind = CLASSES[number % 3]
        body, given = photographed(number)
        denoiser, settings = objects_denoiser(kind), replace(COMPLETED, seed=number)
        job = FieldPrior(CONFIG, denoiser, settings, anchors=given)
        fields = {"ours": shape_field(job)}
        calls = FLOW.calls + sum(sweep.calls for sweep in job.sweeps)
        fields["score distillation"] = distilled(denoiser, settings, calls, annealed=False, anchors=given)
        fields["score distillation, our start"] = distilled(denoiser, settings, calls, annealed=False, anchors=given,
                                                            of_photographs=True)
        fields["the photograph alone"] = fit_images(given, CONFIG, FitSettings(600, seed=number))
        truth, cover = pictures(body, HIDDEN)
        shown: list[Tensor] = []
        for name, field in fields.items():
            colour, opacity = views(field, HIDDEN)
            table.setdefault(name, []).append([psnr(colour, truth), seems(colour, truth), overlap(opacity, cover),
                                               mesh_error(field, body, HIDDEN),
                                               abs(saturation(colour, opacity) - saturation(truth, cover))])
            shown.append(colour)
        keep_pictures(folder, f"photo_{number}", [truth, *shown])
        say(f"  {kind} {number}: " + "; ".join(f"{name} {' '.join(f'{value:.4f}' for value in rows[-1])}"
                                               for name, rows in table.items()))
    for name, rows in table.items():
        say(f"  {name:29} {scores(rows)}")
    for other in ("score distillation", "score distillation, our start") if len(numbers) > 1 else ():
        say(f"  ours less {other}, mean over the objects (its standard error): {against(table['ours'], table[other])}")


def again(numbers: range, seeds: int) -> None:
    """The same photograph, other seeds."""
    say(f"One photograph, {seeds} seeds, hidden views; diversity over that of 20 other objects of the class")
    for number in numbers:
        kind = CLASSES[number % 3]
        (body, given), denoiser = photographed(number), objects_denoiser(kind)
        truth = pictures(body, HIDDEN)[0]
        spread = apart([pictures(make_object(kind, (HELD_OUT + 3, i)), HIDDEN)[0] for i in range(20)])
        jobs = [FieldPrior(CONFIG, denoiser, replace(COMPLETED, seed=seed), anchors=given) for seed in range(seeds)]
        ours = [shape_field(job) for job in jobs]
        calls = FLOW.calls + sum(sweep.calls for sweep in jobs[0].sweeps)
        others = [distilled(denoiser, job.settings, calls, annealed=False, anchors=given) for job in jobs]
        for name, fields in {"ours": ours, "score distillation": others}.items():
            shown = [views(field, HIDDEN)[0] for field in fields]
            far = torch.tensor([psnr(each, truth) for each in shown])
            say(f"  {kind} {number}, {name:20} diversity {apart(shown) / spread:.4f}, {float(far.mean()):.2f} dB "
                f"({float(far.min()):.2f} to {float(far.max()):.2f})")


def prior(seeds: int, folder: Path | None) -> None:
    """Cars from nothing."""
    denoiser = objects_denoiser("car")
    around = orbit([30.0 + 45 * i for i in range(8)], 20.0)
    real = [pictures(make_object("car", (HELD_OUT + 3, i)), around) for i in range(60)]
    spread, vivid = apart([colour for colour, _ in real]), sum(saturation(*each) for each in real) / len(real)
    say(f"Cars made up by the shipped denoiser, {seeds} seeds, seen from 8 sides; of 60 renderings: saturation {vivid:.3f}")

    def score(name: str, make: Callable[[int], RadianceField]) -> None:
        began = time.perf_counter()
        shown = [views(make(seed), around) for seed in range(seeds)]
        spent = (time.perf_counter() - began) / seeds
        nearest = [min(seems(colour, truth) for truth, _ in real) for colour, _ in shown]
        vividness = sum(saturation(*each) for each in shown) / seeds
        filled = sum(float(opacity.mean()) for _, opacity in shown) / seeds
        say(f"  {name:20} diversity {apart([colour for colour, _ in shown]) / spread:.2f}, saturation {vividness:.3f}, covers "
            f"{filled:.3f} of the picture; perceptual distance to the nearest rendering {sum(nearest) / seeds:.4f}; "
            f"{spent:.0f} s each")
        keep_pictures(folder, f"prior_{name.replace(' ', '_')}", [colour for colour, _ in shown])

    settings = MADE_UP
    calls = settings.views * sum(settings.prior.calls(level / denoiser.sigma_data)
                                 for level in settings.prior.sigmas(denoiser.sigma_data))
    score("ours", lambda seed: shape_field(FieldPrior(CONFIG, denoiser, replace(settings, seed=seed))))
    score("score distillation", lambda seed: distilled(denoiser, replace(settings, seed=seed), calls, annealed=False))
    again = [min(seems(real[i][0], real[j][0]) for j in range(60) if j != i) for i in range(20)]
    say(f"  {'renderings':20} diversity 1.00, saturation {vivid:.3f}, covers {sum(float(c.mean()) for _, c in real) / 60:.3f} "
        f"of the picture; perceptual distance to the nearest rendering {sum(again) / 20:.4f}")


def objects_denoiser(kind: str) -> NetworkDenoiser:
    """The shipped one, told the class."""
    network = load_checkpoint(WEIGHTS / "denoisers" / "objects_64.safetensors").module
    return NetworkDenoiser(network, sigma_data=network.sigma_data, label=network.labels.condition(kind))


def variance(seeds: int) -> None:
    """A slab whose colours alone learn, seen by one camera; the prior is white noise of variance 1 around 0, pixel by pixel."""
    size, camera = 4, orbit([0.0], 0.0)
    config = field_config("planes", resolution=8, features=8, width=16, colour="linear", blob=40.0, blob_radius=0.9,
                          background="black")

    class White:
        sigma_data = 1.0

        def __call__(self, x: Tensor, sigma: float, view: object = None) -> Tensor:
            return x / (1 + sigma**2)

    prior = replace(PRIOR, sweeps=60, sigma_max=5.0, sigma_min=0.05, tau=1.0, keep=1.0)
    say("Renders of a slab under a white Gaussian prior of variance 1, one camera")
    plain = FieldPriorSettings(prior=prior, views=1, kept=1, inner=16, rays=64, size=(size, size), start=0, lasting=1,
                               learning=Learning(0.05, Sampling(8, 16), refresh=1000, smooth=0.0))
    for name, settings in {"without the correction": plain, "with it": replace(plain, louder=True),
                           "with it, by what is followed": replace(plain, louder=True, share_of="followed")}.items():
        found: list[Tensor] = []
        shares: list[float] = []
        for seed in range(seeds):
            field = new_field(config, seed)
            field.density_head.requires_grad_(False)
            job = FieldPrior(config, White(), replace(settings, seed=seed), begun=field, pool=camera)
            shape_field(job)
            job.views.scale = 1
            inner = job.views.render(camera)[0, :, 1:3, 1:3]
            found.append(inner.flatten())
            shares.append(job.views.measured)
        drawn = torch.stack(found)
        say(f"  {name}: variance "
            f"{float((drawn - drawn.mean(0)).square().mean()):.2f} (exact: 1), share {sum(shares) / len(shares):.2f}")


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", nargs="*", default=["fit", "exact", "photo", "again", "prior", "variance"])
    parser.add_argument("--objects", type=int, default=6)
    parser.add_argument("--first", type=int, default=0, help="of the objects that are photographed")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--known", type=int, default=24)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    if "fit" in args.part:
        fit(args.objects, args.steps)
    if "exact" in args.part:
        exact(args.seeds, args.known)
    if "photo" in args.part:
        photo(range(args.first, args.first + args.objects), args.pictures)
    if "again" in args.part:
        again(range(args.first, args.first + args.objects), args.seeds)
    if "prior" in args.part:
        prior(args.seeds, args.pictures)
    if "variance" in args.part:
        variance(4 * args.seeds)


if __name__ == "__main__":
    main()
