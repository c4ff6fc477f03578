"""ZoeDepth and Depth Anything on small random checkpoints of the real classes, saved and loaded in the real format."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import torch.nn.functional as F  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tolerance import assert_same_but_for_rounding  # noqa: E402
from transformers import (  # noqa: E402
    BeitConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
)

from stvla_ros.errors import InputError  # noqa: E402
from stvla_ros.perception.depth import make_depth_estimator  # noqa: E402

# Matrix products and convolutions one after another: 4 layers of 7, neck and head.
ZOE_PRODUCTS = 60
LAYERS = {"num_hidden_layers": 4, "hidden_size": 16, "num_attention_heads": 2, "reshape_hidden_states": False}
STAGES = ["stage1", "stage2", "stage3", "stage4"]
NECK = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def save(model, folder: Path) -> str:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # the classes' own initialisation is so small that the depth would be flat
        for weight in model.parameters():
            weight.normal_(0, 0.2, generator=generator)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def zoe(tmp_path_factory) -> str:
    backbone = BeitConfig(
        image_size=384,
        patch_size=16,
        intermediate_size=32,
        use_relative_position_bias=True,
        out_features=STAGES,
        **LAYERS,
    )
    config = ZoeDepthConfig(
        backbone_config=backbone,
        bottleneck_features=8,
        num_relative_features=4,
        bin_embedding_dim=8,
        num_attractors=[4, 2, 2, 1],
        bin_configurations=[{"name": "nyu", "n_bins": 8, "min_depth": 0.001, "max_depth": 10.0}],
        **NECK,
    )
    return save(ZoeDepthForDepthEstimation(config), tmp_path_factory.mktemp("zoe"))


def depth_anything_model(kind: str) -> DepthAnythingForDepthEstimation:
    backbone = Dinov2Config(image_size=518, patch_size=14, mlp_ratio=2, out_features=STAGES, **LAYERS)
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20,
        **NECK,
    )
    return DepthAnythingForDepthEstimation(config)


@pytest.fixture(scope="module")
def anything(tmp_path_factory) -> str:
    return save(depth_anything_model("metric"), tmp_path_factory.mktemp("anything"))


@pytest.fixture(scope="module")
def relative(tmp_path_factory) -> str:
    return save(depth_anything_model("relative"), tmp_path_factory.mktemp("relative"))


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


class Brightness(torch.nn.Module):
    """Stands in for the network only: gives each pixel's own value, so that a shift in what is around it would show."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def forward(self, pixels):
        return type("Output", (), {"predicted_depth": pixels[:, 0] * self.deviation + self.mean})


@pytest.mark.parametrize("size", [(48, 64), (61, 37), (224, 224)])
@pytest.mark.parametrize("name", ["zoedepth", "depth_anything"])
def test_the_depth_has_the_pictures_size_and_is_metric(name, size, zoe, anything):
    params = {"checkpoint": zoe} if name == "zoedepth" else {"checkpoint": anything, "network_size": 56}
    depth = make_depth_estimator(name, device="cpu", **params).estimate(noise(*size))
    assert depth.shape == size and depth.dtype == np.float32
    assert np.isfinite(depth).all() and (depth >= 0).all() and np.ptp(depth) > 0


@pytest.mark.parametrize("size", [(240, 320), (224, 224), (61, 137)])
def test_every_pixel_of_the_depth_lies_on_its_own_pixel_of_the_picture(size, zoe, anything):
    y, x = np.mgrid[: size[0], : size[1]]
    red = np.round(128 + 60 * np.sin(x / size[1] * 9) + 50 * np.cos(y / size[0] * 7)).astype(np.uint8)
    rgb = np.stack([red, red, red], axis=-1)
    for estimator, network in (
        (make_depth_estimator("zoedepth", checkpoint=zoe, device="cpu"), Brightness(0.5, 0.5)),
        (make_depth_estimator("depth_anything", checkpoint=anything, device="cpu"), Brightness(0.485, 0.229)),
    ):
        estimator._model = network
        depth = estimator.estimate(rgb)
        depth, inner = estimator.estimate(rgb), (slice(4, -4), slice(4, -4))
        error = (depth - red / 255.0)[inner]
        for gradient in np.gradient(red / 255.0):  # the shift along each axis that explains the error best, in pixels
            slope = gradient[inner]
            assert abs((slope * error).sum() / (slope * slope).sum()) < 0.03


def test_zoedepth_at_224_follows_spatialvlas_steps(zoe):
    rgb = noise(224, 224)
    pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    pixels = F.interpolate(
        F.pad(pixels, (31, 31, 31, 31), mode="reflect"), (384, 384), mode="bicubic", align_corners=True
    )
    with torch.no_grad():
        depth = ZoeDepthForDepthEstimation.from_pretrained(zoe).eval()((pixels - 0.5) / 0.5).predicted_depth
    depth = F.interpolate(depth[:, None], (286, 286), mode="bicubic", align_corners=True)[0, 0, 31:-31, 31:-31].numpy()
    estimated = make_depth_estimator("zoedepth", checkpoint=zoe, device="cpu").estimate(rgb)
    assert_same_but_for_rounding(estimated, depth, ZOE_PRODUCTS)
    # Tight enough for a pixel's shift to show.
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same_but_for_rounding(np.roll(estimated, 1, axis=1), depth, ZOE_PRODUCTS)


def test_the_same_picture_gives_the_same_depth(anything):
    estimator = make_depth_estimator("depth_anything", checkpoint=anything, device="cpu", network_size=56)
    assert_same_but_for_rounding(estimator.estimate(noise(48, 64)), estimator.estimate(noise(48, 64)), ZOE_PRODUCTS)


def test_bfloat16_is_used_and_gives_float32_metres(anything):
    estimator = make_depth_estimator(
        "depth_anything", checkpoint=anything, device="cpu", dtype="bfloat16", network_size=56
    )
    assert next(estimator._model.parameters()).dtype == torch.bfloat16
    assert estimator.estimate(noise(48, 64)).dtype == np.float32


def test_a_relative_checkpoint_is_refused(relative):
    with pytest.raises(InputError, match="metric.*'relative'"):
        make_depth_estimator("depth_anything", checkpoint=relative, device="cpu")


@pytest.mark.parametrize("name", ["zoedepth", "depth_anything"])
def test_another_models_checkpoint_is_refused(name, zoe, anything):
    with pytest.raises(InputError, match="expected a '" + name):
        make_depth_estimator(name, checkpoint=anything if name == "zoedepth" else zoe, device="cpu")


@pytest.mark.parametrize("name", ["zoedepth", "depth_anything"])
def test_a_missing_folder_says_how_to_get_one(name, tmp_path):
    with pytest.raises(InputError, match="hf download"):
        make_depth_estimator(name, checkpoint=str(tmp_path / "nothing"), device="cpu")


def test_an_unreachable_hub_says_how_to_get_the_checkpoint(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="no-such-owner/no-such-model.*hf download"):
        make_depth_estimator("zoedepth", checkpoint="no-such-owner/no-such-model", device="cpu")


def _cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def _drop_a_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(min(tensors))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _reshape_a_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors[min(tensors)] = torch.zeros(3)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _without_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.pop("model_type")
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _drop_a_weight,
        _reshape_a_weight,
        _without_type,
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
    ],
    ids=["truncated", "weight missing", "weight reshaped", "no model type", "no weights", "no config", "config cut"],
)
def test_a_damaged_checkpoint_is_one_error_that_says_how_to_get_it(damage, anything, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(anything, folder)
    damage(folder)
    with pytest.raises(InputError, match=f"{folder}.*hf download") as caught:
        make_depth_estimator("depth_anything", checkpoint=str(folder), device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none_is_refused(zoe):
    with pytest.raises(InputError, match="device.*CUDA"):
        make_depth_estimator("zoedepth", checkpoint=zoe, device="cuda")


@pytest.mark.parametrize("params", [{"device": "gpu"}, {"device": "meta"}, {"dtype": "int8"}, {"network_size": 3}])
def test_a_bad_parameter_is_named(params, anything):
    with pytest.raises(InputError, match=next(iter(params))):
        make_depth_estimator("depth_anything", **{"checkpoint": anything, "device": "cpu", **params})


def test_zoedepths_position_biases_are_made_once(zoe: str, monkeypatch) -> None:
    from transformers.models.beit.modeling_beit import BeitRelativePositionBias

    made = []
    make = BeitRelativePositionBias.forward

    def counted(self, *given, **named):
        made.append(self)
        return make(self, *given, **named)

    monkeypatch.setattr(BeitRelativePositionBias, "forward", counted)
    estimator = make_depth_estimator("zoedepth", checkpoint=zoe, device="cpu")
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    first = estimator.estimate(rgb)
    assert len(made) == LAYERS["num_hidden_layers"]
    np.testing.assert_array_equal(estimator.estimate(rgb), first)
    assert len(made) == LAYERS["num_hidden_layers"]
