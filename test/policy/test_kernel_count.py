"""How many kernels a GPU runs for an answer of the published shape, counted on torch's meta device."""

import pytest
import torch

from bench.policy_cuda import chunk_kernels, depth_kernels, meta_model
from bench.policy_kernels import GPUS, CountedCompiler, Kernels, inductor_kernels, kernels_of

LAYERS, PICTURE_LAYERS = 26, 27


@pytest.fixture(scope="module")
def parts() -> dict[str, Kernels]:
    return chunk_kernels(meta_model("4b"))


@pytest.fixture(scope="module")
def compiled() -> dict[str, Kernels]:
    return chunk_kernels(meta_model("4b"), CountedCompiler())


def test_an_operation_is_a_kernel_and_a_view_is_none() -> None:
    x = torch.empty(4, 8, device="meta", dtype=torch.bfloat16)

    def call() -> None:
        (x.t()[:3] + 1).t()[1:]
        x[0].mul_(2)
        x @ x.t()

    kernels = kernels_of(call)
    assert kernels.count == 3 and kernels.products == 1


def test_a_product_is_bound_by_arithmetic_or_by_reading() -> None:
    large, vector = (
        torch.empty(4096, 4096, device="meta", dtype=torch.bfloat16),
        torch.empty(1, 4096, device="meta", dtype=torch.bfloat16),
    )
    gpu = GPUS["H100"]
    assert kernels_of(lambda: large @ large).bound_ms(gpu) == pytest.approx(2 * 4096**3 / gpu.flops * 1e3)
    read = (4096 * 4096 + 2 * 4096) * 2
    assert kernels_of(lambda: vector @ large).bound_ms(gpu) == pytest.approx(read / gpu.bytes_s * 1e3)


def test_a_convolution_is_bound_by_the_arithmetic_of_its_whole_kernel() -> None:
    picture, weight = (
        torch.empty(size, device="meta", dtype=torch.bfloat16) for size in ((1, 512, 96, 96), (512, 512, 3, 3))
    )
    gpu = GPUS["H100"]
    kernels = kernels_of(lambda: torch.nn.functional.conv2d(picture, weight, padding=1))
    assert kernels.bound_ms(gpu) == pytest.approx(2 * 96 * 96 * 512 * 512 * 9 / gpu.flops * 1e3)


def test_a_depth_map_takes_1_kernel_for_each_weight_of_the_domain_and_no_second_head() -> None:
    kernels = depth_kernels("4b")
    assert kernels.names["index_select"] == 24
    assert kernels.count <= 1060


def test_a_decoded_token_takes_25_kernels_a_layer_of_which_6_are_products(parts: dict[str, Kernels]) -> None:
    assert parts["token"].products == 6 * LAYERS + 1  # the head
    assert parts["token"].count <= 25 * LAYERS + 8


def test_the_prompt_takes_28_kernels_a_layer_and_the_picture_11(parts: dict[str, Kernels]) -> None:
    assert parts["prefill"].count <= 28 * LAYERS + 20
    assert parts["picture"].count <= 11 * PICTURE_LAYERS + 20


def test_compiled_a_decoded_token_takes_12_kernels_a_layer(compiled: dict[str, Kernels]) -> None:
    assert compiled["token"].products == 6 * LAYERS + 1
    # Looked up, normalised, scored, capped, chosen.
    assert compiled["token"].count <= 12 * LAYERS + 5


def test_compiled_the_prompt_takes_13_kernels_a_layer_and_the_picture_9(compiled: dict[str, Kernels]) -> None:
    assert compiled["prefill"].count <= 13 * LAYERS + 42
    assert compiled["picture"].count <= 9 * PICTURE_LAYERS + 20


def test_inductor_makes_one_kernel_of_what_follows_another_and_two_of_sums_both_ways() -> None:
    x = torch.empty(512, 384, device="meta")
    assert inductor_kernels(lambda x: (x + 1).tanh() * 2, [x]) == 1
    assert inductor_kernels(lambda x: torch.softmax(x, dim=-1) + 1, [x]) == 1
    assert inductor_kernels(lambda x: (x.sum(0), (x * 2).flatten().sum()), [x]) >= 2


def test_the_server_of_the_published_shape_holds_5_gigabytes() -> None:
    model = meta_model("4b")
    held = sum(each.numel() * each.itemsize for each in (*model.parameters(), *model.buffers()))
    assert held < 5.1e9
