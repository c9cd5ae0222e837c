import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from pipeline.config.crf import PRESETS, CrfSettings, CrfTerm
from pipeline.crf import native
from pipeline.crf.backends import load, pick_backend
from pipeline.crf.dense import dense_crf, dense_crf_batch, dense_crf_shared
from pipeline.crf.energy import Energy
from pipeline.errors import PseudomaskError

PSA = CrfSettings(preset="psa")


def installed(name):
    try:
        load(name).describe()
    except ImportError:
        return False
    return True


needs_native = pytest.mark.skipif(not installed("native"), reason="C++ engine not built")
needs_reference = pytest.mark.skipif(not installed("pydensecrf"), reason="pydensecrf not installed")


@needs_reference
@pytest.mark.parametrize("backend", [pytest.param("native", marks=needs_native), "torch"])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_equal_pydensecrf(scene, backend, preset):
    image, scores = scene(61, 83, 5)
    params = CrfSettings(preset=preset)
    expected = dense_crf(image, scores, params, backend="pydensecrf")
    found = dense_crf(image, scores, params, backend=backend)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (found.argmax(0) == expected.argmax(0)).mean() >= 0.9999


@needs_native
@needs_reference
@pytest.mark.parametrize("labels", [2, 3, 4, 5, 8, 9, 16, 17, 21, 24, 25, 33, 64, 65, 100, 171])
def test_any_number_of_labels(scene, labels):
    image, scores = scene(13, 47, labels)  # 611 pixels: no multiple of any vector
    expected = dense_crf(image, scores, PSA, backend="pydensecrf")
    np.testing.assert_allclose(dense_crf(image, scores, PSA, backend="native"), expected, atol=1e-4)


@pytest.mark.parametrize("isa", ["baseline", "avx2"])
@needs_native
def test_instruction_sets_agree(scene, isa, tmp_path):
    image, scores = scene(30, 41, 21)
    np.savez(tmp_path / "in.npz", image=image, scores=scores)
    code = (
        "import sys, numpy as np\n"
        "from pipeline.config.crf import CrfSettings\n"
        "from pipeline.crf.dense import dense_crf\n"
        "given = np.load(sys.argv[1])\n"
        "params = CrfSettings(preset='psa', backend='native')\n"
        "np.save(sys.argv[2], dense_crf(given['image'], given['scores'], params))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "in.npz"), str(tmp_path / "out.npy")]
    subprocess.run(command, check=True, env={**os.environ, "PSEUDOMASK_ISA": isa})
    found = dense_crf(image, scores, PSA, backend="native")
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), found, atol=1e-5)


@needs_reference
@pytest.mark.parametrize("backend", [pytest.param("native", marks=needs_native), "torch"])
@pytest.mark.parametrize("compat", [(0.5, -1.0, 2.0), ((0.0, 1.0, 3.0), (2.0, 0.0, 1.0), (1.0, 1.0, -1.0))])
def test_vector_and_matrix_compat(scene, backend, compat):
    image, scores = scene(20, 31, 3)
    params = CrfSettings(terms=(CrfTerm(sxy=5, srgb=20, compat=compat), CrfTerm(sxy=2, compat=3)), iterations=5)
    expected = dense_crf(image, scores, params, backend="pydensecrf")
    np.testing.assert_allclose(dense_crf(image, scores, params, backend=backend), expected, atol=1e-4)


@needs_reference
@pytest.mark.parametrize("backend", [pytest.param("native", marks=needs_native), "torch"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 37), (29, 1), (2, 33)])
@pytest.mark.parametrize("labels", [1, 2, 21])
def test_small_images(scene, backend, height, width, labels):
    image, scores = scene(height, width, labels)
    found = dense_crf(image, scores, PSA, backend=backend)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(found, dense_crf(image, scores, PSA, backend="pydensecrf"), atol=1e-4)


@pytest.mark.parametrize("backend", [pytest.param("native", marks=needs_native), "torch"])
@pytest.mark.parametrize(("sxy", "srgb"), [(1e-6, 13), (80, 1e-6), (1e30, 13), (80, 1e30), (1e-30, 1e-30), (0.4, 0.4)])
def test_extreme_sigmas_are_right_or_refused(scene, backend, sxy, srgb):
    image, scores = scene(20, 30, 3)
    params = CrfSettings(terms=(CrfTerm(sxy=sxy, srgb=srgb, compat=5),))
    if min(sxy, srgb) < 0.1:
        with pytest.raises(PseudomaskError, match="too fine"):
            dense_crf(image, scores, params, backend=backend)
    else:
        np.testing.assert_allclose(dense_crf(image, scores, params, backend=backend).sum(0), 1, atol=1e-5)


@needs_native
def test_large_energies_do_not_overflow(scene):
    image, scores = scene(20, 30, 5)
    values = np.where(scores > 0.3, 0, 400).astype(np.float32)
    params = CrfSettings(terms=(CrfTerm(sxy=3, compat=300), CrfTerm(sxy=30, srgb=20, compat=-200)))
    found = dense_crf(image, Energy(values), params, backend="native")
    np.testing.assert_allclose(found, dense_crf(image, Energy(values), params, backend="torch"), atol=1e-3)


@pytest.mark.parametrize("backend", [pytest.param("native", marks=needs_native), "torch"])
def test_shared_lattice_gives_what_single_calls_give(scene, backend):
    image, low = scene(25, 40, 3)
    high, more = scene(25, 40, 3, seed=1)[1], scene(25, 40, 6)[1]
    together = dense_crf_shared(image, [low, more, high], PSA, backend=backend)
    for found, scores in zip(together, [low, more, high], strict=True):
        np.testing.assert_allclose(found, dense_crf(image, scores, PSA, backend=backend), atol=1e-6)


@pytest.mark.parametrize("backend", [pytest.param("native", marks=needs_native), "torch"])
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_keep_their_order(scene, backend, threads):
    items = [scene(20 + i, 50 - i, 2 + i, seed=i) for i in range(7)]
    batch = dense_crf_batch(((image, [scores]) for image, scores in items), PSA, backend=backend, threads=threads)
    for (image, scores), (found,) in zip(items, batch, strict=True):
        np.testing.assert_allclose(found, dense_crf(image, scores, PSA, backend=backend), atol=1e-5)


@pytest.mark.parametrize("backend", [pytest.param("native", marks=needs_native), "torch"])
def test_of_a_batch_the_image_is_named(scene, backend):
    items = [scene(10, 12, 3, seed=number) for number in range(3)]
    items[1][1][0, 0, 0] = np.nan
    batch = dense_crf_batch(((i, [s]) for i, s in items), PSA, backend=backend, names=["a", "b", "c"])
    with pytest.raises(PseudomaskError, match=r"image 'b': .*not finite"):
        list(batch)


def test_wrong_input_is_named(scene):
    image, scores = scene(10, 12, 3)
    holes = scores.copy()
    holes[1, 2, 3] = np.nan
    cases = {
        "not finite": (image, holes),
        "softmax": (image, scores * 5),
        "resize the scores": (image, scores[:, 1:]),
        "grey channel": (image[..., 0], scores),
        "uint8": (image.astype(np.float32), scores),
        "expected": (image, scores[0]),
    }
    for words, (picture, given) in cases.items():
        with pytest.raises(PseudomaskError, match=words):
            dense_crf(picture, given, PSA)
    with pytest.raises(PseudomaskError, match="compat has shape"):
        dense_crf(image, scores, CrfSettings(terms=(CrfTerm(sxy=3, compat=(1, 2)),)))


@needs_native
def test_memory_is_estimated_beforehand(scene, monkeypatch):
    image, scores = scene(300, 400, 21)
    monkeypatch.setattr(native, "free_memory", lambda: 5 << 20)
    with pytest.raises(PseudomaskError, match="MiB"):
        dense_crf(image, scores, PSA, backend="native")


def test_choice_says_what_is_missing(monkeypatch):
    def absent():
        raise ImportError("not compiled")

    monkeypatch.setattr(native, "library", absent)
    picked = pick_backend()
    assert picked.name != "native"
    assert "not compiled" in picked.why
    with pytest.raises(PseudomaskError, match="not compiled"):
        pick_backend("native")


@needs_native
@needs_reference
def test_real_images_equal_pydensecrf(real_data):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in sorted((real_data / "voc-mini" / "JPEGImages").glob("*.jpg"))[::160]:
        image = np.array(Image.open(name).convert("RGB"))
        # Smooth, as scores of networks are: mean field amplifies the rounding of pixel-wise noise.
        noise = cv2.GaussianBlur(rng.normal(0, 40, (*image.shape[:2], 3)), (0, 0), 12)
        scores = (np.exp(noise) / np.exp(noise).sum(2, keepdims=True)).transpose(2, 0, 1)
        found, expected = (dense_crf(image, scores, PSA, backend=b) for b in ("native", "pydensecrf"))
        np.testing.assert_allclose(found, expected, atol=1e-4)
