"""ZoeDepth and Depth Anything on small random checkpoints of the real classes, saved and loaded in the real format."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

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
from stvla_ros.perception.depth import make_depth_estimator, zoedepth  # noqa: E402
from stvla_ros.perception.depth.zoedepth import (  # noqa: E402
    NETWORK_SIZE,
    keep_on_device,
    plain_network,
    stays_on_device,
)

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


ROOMS = {"name": "nyu", "n_bins": 8, "min_depth": 0.001, "max_depth": 10.0}
STREETS = {"name": "kitti", "n_bins": 8, "min_depth": 0.001, "max_depth": 80.0}


# The vote is taken on 128 features at any size.
VOTING = {
    "num_patch_transformer_layers": 4,
    "patch_transformer_hidden_size": 128,
    "patch_transformer_intermediate_size": 16,
    "patch_transformer_num_attention_heads": 2,
}


def zoe_model(*domains: dict, **options) -> ZoeDepthForDepthEstimation:
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
        bin_configurations=list(domains),
        **NECK,
        **options,
    )
    return ZoeDepthForDepthEstimation(config)


@pytest.fixture(scope="module")
def zoe(tmp_path_factory) -> str:
    return save(zoe_model(ROOMS), tmp_path_factory.mktemp("zoe"))


@pytest.fixture(scope="module")
def two_domains(tmp_path_factory) -> str:
    return save(zoe_model(ROOMS, STREETS, **VOTING), tmp_path_factory.mktemp("two_domains"))


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
        return SimpleNamespace(predicted_depth=pixels[:, 0] * self.deviation + self.mean)


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
        estimator._model, estimator._network = network, plain_network(network)
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


def voting_for(domain: int, folder: str) -> ZoeDepthForDepthEstimation:
    model = ZoeDepthForDepthEstimation.from_pretrained(folder).eval()
    with torch.no_grad():
        model.metric_head.mlp_classifier.linear2.bias[domain] += 1e3
    return model


@pytest.mark.parametrize("domain", [0, 1])
def test_the_device_picks_the_domain_that_the_host_picked(two_domains, domain):
    picture = torch.rand(1, 3, *NETWORK_SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, other = (voting_for(each, two_domains)(picture).predicted_depth for each in (domain, 1 - domain))
        network = plain_network(keep_on_device(voting_for(domain, two_domains)))
        for _ in range(2):
            assert_same_but_for_rounding(network(picture).numpy(), expected.numpy(), ZOE_PRODUCTS)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same_but_for_rounding(other.numpy(), expected.numpy(), ZOE_PRODUCTS)


def test_weights_of_another_type_are_picked_after_a_conversion(two_domains):
    picture = torch.rand(1, 3, *NETWORK_SIZE, generator=torch.Generator().manual_seed(0))
    model, coarse = keep_on_device(voting_for(1, two_domains)), picture.bfloat16()
    with torch.inference_mode():
        model(picture)
        expected = voting_for(1, two_domains).bfloat16()(coarse).predicted_depth.float().numpy()
        got = model.bfloat16()(coarse).predicted_depth.float().numpy()
    # bfloat16 has 3 bits less than float16.
    assert_same_but_for_rounding(got, expected, ZOE_PRODUCTS, amplification=8, dtype=np.float16)


def test_what_the_weights_are_called_stays_as_it_was(two_domains):
    model = voting_for(0, two_domains)
    names = list(model.state_dict())
    with torch.inference_mode():
        keep_on_device(model)(torch.zeros(1, 3, *NETWORK_SIZE))
    assert list(model.state_dict()) == names


@pytest.mark.parametrize(
    "model",
    [
        lambda: zoe_model(ROOMS, STREETS | {"n_bins": 4}, **VOTING),
        lambda: zoe_model(ROOMS, STREETS, **VOTING, bin_centers_type="normed"),
    ],
    ids=["numbers of bins", "ranges"],
)
def test_domains_that_differ_by_more_than_weights_are_left_to_the_library(model):
    model = keep_on_device(model().eval())
    assert not stays_on_device(model)
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, *NETWORK_SIZE)).predicted_depth.shape == (1, *NETWORK_SIZE)


@pytest.fixture
def recordings(monkeypatch) -> list[tuple]:
    """What the graph was recorded of, with the meta device in the place of a GPU; reading a value from it fails."""
    recorded: list[tuple] = []

    def record(function, inputs):
        recorded.append((tuple(inputs[0].shape), inputs[0].dtype, tuple(function(*inputs).shape)))
        return function

    monkeypatch.setattr(zoedepth, "parse_device", lambda *_: torch.device("meta"))
    monkeypatch.setattr(zoedepth, "CudaGraph", record)
    return recorded


@pytest.mark.parametrize("checkpoint", ["zoe", "two_domains"])
def test_on_a_gpu_zoedepth_is_recorded_once_whatever_the_pictures_size(request, recordings, checkpoint):
    make_depth_estimator("zoedepth", checkpoint=request.getfixturevalue(checkpoint), dtype="bfloat16")
    assert recordings == [((1, 3, *NETWORK_SIZE), torch.bfloat16, (1, *NETWORK_SIZE))]


def test_a_network_that_reads_values_back_is_not_recorded(recordings, tmp_path):
    folder = save(zoe_model(ROOMS, STREETS | {"n_bins": 4}, **VOTING), tmp_path)
    make_depth_estimator("zoedepth", checkpoint=folder)
    assert not recordings


@pytest.mark.parametrize("name", ["zoedepth", "depth_anything"])
def test_the_thread_sleeps_until_the_device_has_the_depth(name, zoe, anything, monkeypatch):
    steps, fetch = [], torch.Tensor.cpu
    monkeypatch.setattr(f"stvla_ros.perception.depth.{name}.wait_for_device", lambda _: steps.append("waited"))
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: steps.append("fetched") or fetch(tensor))
    params = {"checkpoint": zoe} if name == "zoedepth" else {"checkpoint": anything, "network_size": 56}
    make_depth_estimator(name, device="cpu", **params).estimate(noise(48, 64))
    assert steps == ["waited", "fetched"]


def _full(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total of …")


@pytest.mark.parametrize("name", ["zoedepth", "depth_anything"])
@pytest.mark.parametrize("step", ["from_pretrained", "to"])
def test_too_little_memory_for_the_network_is_one_line_that_says_so(name, step, zoe, anything, monkeypatch):
    checkpoint = zoe if name == "zoedepth" else anything
    model = ZoeDepthForDepthEstimation if name == "zoedepth" else DepthAnythingForDepthEstimation
    monkeypatch.setattr(model, step, _full)
    with pytest.raises(InputError, match=f"^depth checkpoint {checkpoint} as .* on cpu: out of memory; ") as error:
        make_depth_estimator(name, checkpoint=checkpoint, device="cpu")
    assert "\n" not in str(error.value)


def test_too_little_memory_for_the_graph_is_one_line_that_says_so(zoe, recordings, monkeypatch):
    monkeypatch.setattr(zoedepth, "CudaGraph", _full)
    with pytest.raises(InputError, match="^warm-up of depth on meta: out of memory; "):
        make_depth_estimator("zoedepth", checkpoint=zoe)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("checkpoint", ["zoe", "two_domains"])
def test_on_cuda_the_depth_is_that_of_the_cpu(request, checkpoint):
    folder = request.getfixturevalue(checkpoint)
    cpu, cuda = (
        make_depth_estimator("zoedepth", checkpoint=folder, device=device, dtype="float32")
        for device in ("cpu", "cuda")
    )
    for size in ((48, 64), (224, 224), (48, 64)):
        assert_same_but_for_rounding(cuda.estimate(noise(*size)), cpu.estimate(noise(*size)), ZOE_PRODUCTS)
