from __future__ import annotations

import numpy as np
import pytest
import torch

from lucule.core import InputError
from lucule.simulate import camera as cameras
from lucule.simulate.optics import FieldDependent, Pupil, add_emitters, compile_psf, load_psf
from lucule.simulate.torch_render import expose, render, render_padded, sensor_to_torch, to_torch

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))]
BASE = Pupil(zernike_nm={6: -70}, z_range_nm=(-300, 300), z_step_nm=50)
CASES = {
    "gaussian": load_psf("gaussian"),
    "astigmatic": load_psf("astigmatic"),
    "vectorial": BASE,
    "double_helix": load_psf("double_helix", z_range_nm=(-300, 300), z_step_nm=50, oversampling=1),
    "field_dependent": FieldDependent(
        base=BASE, field_size_nm=(4000, 4000), zernike_field_nm={5: [0, 30], 7: [0, 0, 20]}, nodes=(3, 2)
    ),
}


@pytest.fixture(scope="module", params=CASES)
def kernel(request):
    return compile_psf(CASES[request.param], 100)


def emitters(n=200, frames=16, seed=1):
    rng = np.random.default_rng(seed)
    index = rng.integers(0, frames, n)
    return index, *rng.uniform(-300, 4300, (2, n)), rng.uniform(-290, 290, n), rng.uniform(100, 5000, n)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_picture_as_the_compiled_kernels(kernel, device, dtype):
    columns = emitters()
    order = np.argsort(columns[0], kind="stable")
    expected = np.zeros((16, 40, 40), np.float32)
    add_emitters(expected, *(c[order] for c in columns), kernel)
    image = render(to_torch(kernel, device, dtype=dtype), *map(torch.tensor, columns), frames=16, shape=(40, 40))
    assert image.dtype == dtype
    scale = expected.max()
    np.testing.assert_allclose(image.cpu().numpy(), expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_match_differences(kernel, device, dtype):
    psf = to_torch(kernel, device, dtype=dtype)
    exact = to_torch(kernel, dtype=torch.float64)
    index = torch.tensor([0, 0, 1])
    at = [torch.tensor(v, dtype=torch.float64) for v in ([1830.0, 2410, 35], [2030.0, 1905, 3905], [120.0, -77, 15],
                                                         [900.0, 1500, 700])]  # fmt: skip
    weight = torch.rand((2, 40, 40), generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(columns, psf=exact):
        return (render(psf, index, *columns, frames=2, shape=(40, 40)) * weight.to(psf.device, psf.dtype)).sum()

    leaves = [c.to(dtype).requires_grad_() for c in at]
    loss(leaves, psf).backward()
    for axis in range(4):
        for place in range(3):
            step = [c.clone() for c in at]
            step[axis][place] += 0.05
            up = loss(step)
            step[axis][place] -= 0.1
            expected = float((up - loss(step)).detach()) / 0.1
            scale = float(leaves[axis].grad.abs().max())
            assert float(leaves[axis].grad[place]) == pytest.approx(expected, abs=3e-3 * scale)


def test_background_is_added_and_has_a_gradient(kernel):
    background = torch.full((2, 1, 1), 7.0, requires_grad=True)
    nothing = torch.zeros(0)
    image = render(
        to_torch(kernel),
        nothing.long(),
        nothing,
        nothing,
        nothing,
        nothing,
        frames=2,
        shape=(8, 9),
        background=background,
    )
    assert image.shape == (2, 8, 9)
    assert (image == 7).all()
    image.sum().backward()
    assert (background.grad == 72).all()


@pytest.mark.parametrize("check", [True, False])
def test_padded_lists_are_the_same(kernel, check):
    rng = np.random.default_rng(2)
    x, y = torch.tensor(rng.uniform(0, 3000, (2, 5, 6)))
    z, photons = torch.tensor(rng.uniform(-200, 200, (5, 6))), torch.tensor(rng.uniform(100, 900, (5, 6)))
    photons[torch.tensor(rng.random((5, 6)) < 0.4)] = 0
    z[photons == 0], x[photons == 0] = 1e9, np.nan  # what stands in empty places does not matter
    padded = render_padded(to_torch(kernel), x, y, z, photons, shape=(30, 30), check=check)
    used = photons > 0
    index = torch.arange(5)[:, None].expand(5, 6)[used]
    flat = render(to_torch(kernel), index, x[used], y[used], z[used], photons[used], frames=5, shape=(30, 30))
    torch.testing.assert_close(padded, flat)


def test_wrong_emitters_are_refused(kernel):
    one = torch.ones(1)
    with pytest.raises(InputError, match="depth range"):
        render(to_torch(kernel), one.long(), one, one, one * 1e6, one, frames=2, shape=(8, 8))
    with pytest.raises(InputError, match="frames that do not exist"):
        render(to_torch(kernel), one.long() * 2, one, one, one, one, frames=2, shape=(8, 8))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["ideal", "smlm_challenge", "prime95b"])
@pytest.mark.parametrize("level", [0.3, 40.0])
def test_camera_has_the_statistics_of_the_compiled_one(device, dtype, name, level):
    camera = cameras.load_camera(name)
    generator = torch.Generator(device).manual_seed(3)
    photons = torch.full((2, 50, 32, 32), level, device=device, dtype=dtype)
    counts = expose(photons, camera, generator=generator).double().cpu().numpy()
    expected = cameras.expose(photons.flatten(0, 1).cpu().numpy(), camera, seed=4).astype(float)
    error = expected.std() / np.sqrt(expected.size)
    assert abs(counts.mean() - expected.mean()) < 5 * np.sqrt(2) * error
    assert counts.var() == pytest.approx(expected.var(), rel=0.05)
    assert np.array_equal(counts, np.round(counts))


def test_camera_repeats_with_its_generator():
    camera, photons = cameras.load_camera("emccd_ixon897"), torch.full((2, 8, 8), 20.0)
    first, second = (expose(photons, camera, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert expose(photons * 1e6, camera).max() == camera.saturation
    with pytest.raises(InputError, match="differ"):
        expose(photons, cameras.sensor(camera, (5, 5)))
    with pytest.raises(InputError, match="differ"):
        expose(photons, sensor_to_torch(camera, (5, 5)))


@pytest.mark.parametrize("device", DEVICES)
def test_a_kept_sensor_takes_the_same_pictures(device):
    camera, photons = cameras.load_camera("prime95b"), torch.full((2, 8, 9), 20.0, device=device)
    kept = sensor_to_torch(camera, (8, 9), device)
    first, second = (
        expose(photons, one, generator=torch.Generator(device).manual_seed(5))
        for one in (kept, cameras.sensor(camera, (8, 9)))
    )
    assert torch.equal(first, second)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_is_not_waited_for():
    psf = to_torch(compile_psf("astigmatic", 100), "cuda")
    pixels = sensor_to_torch(cameras.load_camera("smlm_challenge"), (16, 16), "cuda")
    place = torch.full((4, 3), 800.0, device="cuda")
    expose(render_padded(psf, place, place, 0 * place, place, shape=(16, 16), check=False), pixels)  # loads kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        expose(render_padded(psf, place, place, 0 * place, place, shape=(16, 16), check=False), pixels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
