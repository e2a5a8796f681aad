"""The renderer against closed forms, finite differences and brute force."""

from __future__ import annotations

import math

import pytest
import torch
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.fields.cameras import orbit, turntable
from latent_atelier.pipelines.langevin.fields.occupancy import OccupancyGrid
from latent_atelier.pipelines.langevin.fields.radiance_field import field_config, new_field
from latent_atelier.pipelines.langevin.fields.regularisers import distortion, opacity_entropy, orientation
from latent_atelier.pipelines.langevin.fields.rendering import Sampling, Seen, chunks, composited, intervals, look, render
from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")
WHITE = torch.ones(3, dtype=torch.float64)
FINE = Sampling(samples=2048, coarse=0, chunk=2**20)


class Solid:
    """Constant density inside; colour from the place."""

    def __init__(self, inside, density: float) -> None:
        self.inside, self.value = inside, density

    def density(self, points: Tensor) -> Tensor:
        return torch.where(self.inside(points), self.value, 0.0).to(points)

    def __call__(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        return self.density(points), (points + 1) / 2


class SoftBall:
    """Dense within radius 0.5, its surface 0.02 wide."""

    def density(self, points: Tensor) -> Tensor:
        return 1000 * torch.sigmoid((0.5 - points.norm(dim=1)) / 0.02)

    def __call__(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        return self.density(points), torch.ones_like(points)


def rays(height: int = 9, width: int = 9, **where) -> tuple[Tensor, Tensor]:
    camera = orbit(where.get("azimuth", 0.0), where.get("elevation", 0.0), 4.0, 40.0).to(dtype=torch.float64)
    return next(chunks(camera, height, width, height * width))


@pytest.mark.parametrize("density", [0.3, 2.0])
def test_slab_of_constant_density(density: float) -> None:
    """|z| < 0.4: the chord of a ray is 0.8 / cos; transmittance, and the mean depth of an exponential law cut off."""
    origins, directions = rays()
    inner = (origins + (4 - 0.4) / directions[:, 2:].abs() * directions)[:, :2].abs().amax(dim=1) < 0.6
    seen = look(Solid(lambda p: p[:, 2].abs() < 0.4, density), origins, directions, FINE)
    cos = directions[:, 2].abs()
    chord, enters = 0.8 / cos, (4 - 0.4) / cos
    passed = torch.exp(-density * chord)
    far = seen.edges[:, -1]
    inside = enters * (1 - passed) + (1 - passed * (1 + density * chord)) / density
    assert torch.allclose(seen.transmittance[inner], passed[inner], atol=1e-3)
    assert torch.allclose(seen.depth[inner], (inside + passed * far)[inner], atol=1e-3)
    assert int(inner.sum()) > 10


def test_ball_of_constant_density() -> None:
    """Chord 2 sqrt(r^2 - b^2) at impact parameter b."""
    origins, directions = rays(azimuth=30.0, elevation=20.0)
    seen = look(Solid(lambda p: p.norm(dim=1) < 0.7, 1.5), origins, directions, FINE)
    along = -(origins * directions).sum(dim=1)
    impact = ((origins.square()).sum(dim=1) - along.square()).clamp_min(0)
    chord = 2 * (0.49 - impact).clamp_min(0).sqrt()
    assert torch.allclose(seen.transmittance, torch.exp(-1.5 * chord), atol=1e-3)
    depth = seen.depth - seen.transmittance * seen.edges[:, -1]
    enters = along - chord / 2
    passed = torch.exp(-1.5 * chord)
    assert torch.allclose(depth, enters * (1 - passed) + (1 - passed * (1 + 1.5 * chord)) / 1.5, atol=2e-3)


def test_surface_of_a_ball_has_its_depth_and_its_normals() -> None:
    camera = orbit(40.0, 25.0, 3.0, 30.0).to(dtype=torch.float64)
    picture = render(SoftBall(), camera, 15, 15, WHITE, Sampling(512, 128, 2**20), normals=True)
    origins, directions = next(chunks(camera, 15, 15, 225))
    along = -(origins * directions).sum(dim=1)
    impact = origins.square().sum(dim=1) - along.square()
    well = impact < 0.16  # away from the edge
    depth = along - (0.25 - impact).clamp_min(0).sqrt()
    assert float((picture.opacity.reshape(-1)[well] - 1).abs().max()) < 1e-3
    point = origins + picture.depth.reshape(-1)[:, None] * directions
    normal = point / point.norm(dim=1, keepdim=True)
    assert float((picture.normals.reshape(-1, 3)[well] - normal[well]).abs().max()) < 1e-3
    hard = look(Solid(lambda p: p.norm(dim=1) < 0.5, 5000.0), origins, directions, Sampling(4096, 0, 2**20))
    assert float((hard.depth - depth)[well].abs().max()) < 1e-3
    assert int(well.sum()) > 20


@pytest.mark.parametrize("form", ["planes", "mlp", "hash"])
def test_gradients_equal_finite_differences(form: str) -> None:
    small = {"hash": {"levels": 3, "table": 9, "resolution": 40}}.get(form, {"resolution": 8, "features": 4})
    field = new_field(field_config(form, width=8, depth=3, blob=4.0, directional=True, background="learned",
                                   activation="exp", **small), seed=1).double()
    origins, directions = rays(3, 3)
    sampling = Sampling(12, 0)
    weight = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def value() -> Tensor:
        seen = look(field, origins, directions, sampling)
        return (weight * seen.over(field.shown_background())).sum() + seen.depth.sum() + distortion(seen) \
            + opacity_entropy(seen) + orientation(field.density, origins, directions, seen)

    value().backward()
    generator = torch.Generator().manual_seed(3)
    for parameter in field.parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        step = 1e-6
        with torch.no_grad():
            parameter += step * direction
            above = float(value())
            parameter -= 2 * step * direction
            below = float(value())
            parameter += step * direction
        # relu kinks, and the weight of the orientation is held fixed in its gradient
        assert float((parameter.grad * direction).sum()) == pytest.approx((above - below) / (2 * step), rel=2e-2, abs=1e-4)


def test_weights_and_transmittance_add_up_to_one() -> None:
    generator = torch.Generator().manual_seed(0)
    density = torch.rand(50, 20, generator=generator, dtype=torch.float64) * 30
    edges = torch.rand(50, 21, generator=generator, dtype=torch.float64).cumsum(dim=1)
    weights, passed = composited(density, edges)
    assert torch.allclose(weights.sum(dim=1) + passed, torch.ones(50, dtype=torch.float64), atol=1e-12)
    assert float(weights.min()) >= 0
    alpha = 1 - torch.exp(-density * edges.diff(dim=1))
    before = torch.cat([torch.ones(50, 1, dtype=torch.float64), (1 - alpha).cumprod(dim=1)], dim=1)
    assert torch.allclose(weights, alpha * before[:, :-1], atol=1e-12)


def test_few_importance_samples_see_what_brute_force_sees() -> None:
    """32 placed samples against 4096 even ones, through the occupancy grid and through the medium's own proposal."""
    medium = Solid(lambda p: ((p - torch.tensor([0.2, 0.1, 0.3]).to(p)).norm(dim=1) < 0.45), 60.0)
    origins, directions = rays(24, 24, azimuth=70.0, elevation=35.0)
    truth = look(medium, origins, directions, Sampling(4096, 0, 2**22)).over(WHITE)
    grid = OccupancyGrid(48)
    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        grid.update(medium.density, generator)
    assert 0.03 < grid.share < 0.12
    even = look(medium, origins, directions, Sampling(32, 0)).over(WHITE)
    own = look(medium, origins, directions, Sampling(32, 64)).over(WHITE)
    skipping = look(medium, origins, directions, Sampling(32, 64), occupancy=grid).over(WHITE)
    error = {name: float((x - truth).square().mean().sqrt()) for name, x in
             {"even": even, "own": own, "skipping": skipping}.items()}
    assert error["own"] < 0.6 * error["even"]
    assert error["skipping"] < 0.6 * error["even"]
    unskipped = look(medium, origins, directions, Sampling(32, 0), occupancy=grid).over(WHITE)
    assert torch.allclose(unskipped, even, atol=1e-9)


def test_jitter_averages_to_the_integral() -> None:
    origins, directions = rays(1, 1)
    medium = Solid(lambda p: p[:, 2].abs() < 0.33, 1.0)
    many = (origins.expand(4000, 3), directions.expand(4000, 3))
    jitter = torch.rand(4000, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = look(medium, *many, Sampling(8, 0), jitter=jitter)
    optical = -seen.transmittance.log().mean()
    assert float(optical) == pytest.approx(0.66, abs=0.02)
    assert bool((seen.edges.diff(dim=1) > 0).all())


def test_intervals_follow_a_proposal_and_cover_the_ray() -> None:
    near, far = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    edges = intervals(near, far, 10)
    proposal = torch.zeros(2, 10)
    proposal[0, 4] = 1.0
    placed = intervals(near, far, 50, (edges, proposal))
    assert torch.equal(placed[:, 0], near)
    assert torch.equal(placed[:, -1], far)
    inside = (placed[0] >= edges[0, 4]) & (placed[0] <= edges[0, 5])
    assert int(inside.sum()) >= 48
    assert torch.allclose(placed[1], intervals(near, far, 50)[1], atol=1e-5)


def test_distortion_and_entropy_are_what_they_say() -> None:
    generator = torch.Generator().manual_seed(4)
    edges = torch.cat([torch.zeros(3, 1), torch.rand(3, 6, generator=generator).cumsum(dim=1)], dim=1).double()
    weights = torch.rand(3, 6, generator=generator).double() / 8
    middles = 0.5 * (edges[:, 1:] + edges[:, :-1])
    seen = Seen(torch.zeros(3, 3), weights, 1 - weights.sum(dim=1), edges, middles)
    span = edges[:, -1]
    pairs = (weights[:, :, None] * weights[:, None] * (middles[:, :, None] - middles[:, None]).abs()).sum(dim=(1, 2)) / span
    own = (weights.square() * edges.diff(dim=1)).sum(dim=1) / 3 / span
    assert float(distortion(seen)) == pytest.approx(float((pairs + own).mean()))
    half = Seen(torch.zeros(1, 3), torch.tensor([[0.5]]), torch.tensor([0.5]), edges[:1, :2], middles[:1, :1])
    assert float(opacity_entropy(half)) == pytest.approx(math.log(2))


def test_a_picture_does_not_depend_on_the_chunk_and_misses_are_background() -> None:
    field = new_field(field_config("planes", blob=10.0), seed=2)
    cameras = turntable(3)
    one = render(field, cameras, 12, 12, torch.ones(3), Sampling(16, 32, 2**20))
    other = render(field, cameras, 12, 12, torch.ones(3), Sampling(16, 32, 500))
    assert torch.allclose(one.colour, other.colour, atol=1e-6)
    assert one.opacity[:, 6, 6].min() > 0.5
    away = render(field, orbit(0.0, 0.0, 4.0, 5.0, target=(0.0, 3.0, 0.0)), 4, 4, torch.tensor([0.2, 0.4, 0.6]), Sampling(8, 0))
    assert torch.allclose(away.colour, torch.tensor([0.2, 0.4, 0.6]).expand(1, 4, 4, 3))
    assert float(away.opacity.abs().max()) == 0
    assert float(away.depth.max()) < 10


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least 1 sample"):
        Sampling(samples=0)
    with pytest.raises(InvalidInputError, match="form of a radiance field"):
        field_config("cube")
    with pytest.raises(InvalidInputError, match="width"):
        field_config("planes", width=100_000)


def test_a_grid_of_what_is_occupied_changes_nothing_that_is_seen() -> None:
    camera, sampling, white = orbit([20.0, 110.0], 25.0), Sampling(64, 128), torch.ones(3)
    grid = OccupancyGrid.of(SoftBall().density)
    assert 0.065 < grid.share < 0.3  # the ball fills 0.065 of the cube; neighbours of its cells count
    fine = render(SoftBall(), camera, 24, 24, white, Sampling(512, 512))
    found = render(SoftBall(), camera, 24, 24, white, sampling, occupancy=grid)
    assert float((found.opacity - fine.opacity).abs().max()) < 0.02
    assert float((found.depth - fine.depth).abs().mean()) < 0.01
