"""A network that nobody uses any more is gone before another one is loaded."""

import gc
import weakref
from contextlib import contextmanager

import torch

from stvla_ros.policy.spatialvla import loading
from stvla_ros.policy.spatialvla.checkpoint import empty_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.decoding import token_predictor
from stvla_ros.policy.spatialvla.decoding.token_predictor import TokenPredictor
from stvla_ros.policy.spatialvla.policy import SpatialVlaPolicy
from stvla_ros.policy.spatialvla.sizes import published_config

LEGAL = ((0, 4096), (4096, 8192), (8192, 8194)) * 4


@contextmanager
def without_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Graph:
    """In place of a recorded graph: holds what that one holds."""

    def __init__(self, function, inputs, pool):
        self.function, self.inputs = function, inputs


def test_a_predictor_with_graphs_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(token_predictor, "CudaGraph", Graph)
    with without_collector():
        model = empty_model(SpatialVlaConfig.from_dict(published_config("tiny"))).to("meta")
        tokens = TokenPredictor(model, LEGAL)
        inputs = (torch.zeros(1), torch.zeros(1), torch.zeros(1, 32, 64), torch.tensor(288))
        tokens._uses_graphs = True
        tokens._for_padded(inputs)
        alive = [weakref.ref(each) for each in (tokens, tokens._decoder)]
        del tokens
        assert [each() for each in alive] == [None, None]


def test_a_policy_lets_go_of_its_network_before_it_loads_another(checkpoint, monkeypatch):
    policy = SpatialVlaPolicy(str(checkpoint), "cpu", unnorm_key="bridge_orig/1.0.0")
    policy.load()
    old, load = weakref.ref(policy._predictor.model), loading.load_predictor
    seen = []

    def loaded(*given, **options):
        seen.append(old())
        return load(*given, **options)

    monkeypatch.setattr(loading, "load_predictor", loaded)
    policy.load()
    assert seen == [None]
