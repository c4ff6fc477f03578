"""Tokens chosen by consensus, against its definition."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.spatialvla.actions.bin_fitting import PUBLISHED_GAUSSIANS, bins_from_gaussians
from stvla_ros.policy.spatialvla.actions.consensus import CANDIDATES, Consensus, consensus_width, token_places
from stvla_ros.policy.spatialvla.decoding.decoder import ChunkDecoder
from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor

TOKENIZER = bins_from_gaussians(PUBLISHED_GAUSSIANS)
PLACES = [torch.tensor(places) for places in token_places(TOKENIZER)]
WIDTH = 0.2
KEY = "bridge_orig/1.0.0"


def likely(kind: int, centres: list[list[float]], shares: list[float], spread: float) -> torch.Tensor:
    """(1, tokens) scores of a density with a few peaks, as a histogram over the bins has it."""
    squared = [(PLACES[kind] - torch.tensor(centre)).square().sum(dim=-1) for centre in centres]
    density = sum(share * torch.exp(-each / (2 * spread**2)) for share, each in zip(shares, squared, strict=True))
    return torch.log(density + 1e-12).float()[None]


@examples(quick=100)
@given(st.integers(0, 1), st.floats(0.4, 0.6), st.floats(0.05, 0.5), st.integers(0, 2**31 - 1))
def test_it_has_the_most_votes_of_the_likeliest_tokens(kind: int, share: float, spread: float, seed: int) -> None:
    centres = np.random.default_rng(seed).uniform(-0.8, 0.8, (2, 3)).tolist()
    scores = likely(kind, centres, [share, 1.0 - share], spread)
    likeliest = scores[0].argsort(descending=True, stable=True)[:CANDIDATES]
    places = PLACES[kind][likeliest]
    votes = torch.exp(-torch.cdist(places, places).square() / (2 * WIDTH**2)) @ torch.softmax(
        scores[0, likeliest].double(), dim=-1
    )
    chosen = int(Consensus(TOKENIZER, WIDTH, torch.device("cpu")).choose(scores, kind))
    # Tokens at the edge of the likeliest may be equally likely: others then take part.
    assert float(votes[likeliest.tolist().index(chosen)]) >= 0.999 * float(votes.max())


def test_a_certain_model_says_its_best_token() -> None:
    scores = torch.full((1, 4096), -50.0)
    scores[0, 1234] = 50.0
    assert int(Consensus(TOKENIZER, WIDTH, torch.device("cpu")).choose(scores, 0)) == 1234


def test_many_that_agree_outvote_one_that_is_a_little_more_likely() -> None:
    near = (PLACES[0] - torch.tensor([0.5, 0.0, 0.0])).norm(dim=-1).argsort()[:6]
    alone = int((PLACES[0] - torch.tensor([-0.7, 0.0, 0.0])).norm(dim=-1).argmin())
    scores = torch.full((1, 4096), -50.0)
    scores[0, near], scores[0, alone] = 1.0, 1.2
    assert int(scores.argmax()) == alone
    assert int(Consensus(TOKENIZER, WIDTH, torch.device("cpu")).choose(scores, 0)) in near.tolist()


def test_the_gripper_takes_the_likelier_token() -> None:
    consensus = Consensus(TOKENIZER, WIDTH, torch.device("cpu"))
    assert int(consensus.choose(torch.tensor([[0.2, 0.1]]), 2)) == 0
    assert int(consensus.choose(torch.tensor([[0.1, 0.2]]), 2)) == 1


def test_decoding_asks_it_for_every_token_of_every_kind(predictor: SpatialVlaPredictor) -> None:
    class Last:
        """Chooses the last legal token, which no score is best for."""

        asked: list[int] = []

        def choose(self, scores: torch.Tensor, kind: int) -> torch.Tensor:
            self.asked.append(kind)
            return torch.tensor([scores.shape[-1] - 1])

    ranges = predictor.action_tokenizer.legal_ranges
    embeddings = torch.randn(1, 7, predictor.model.config.text.hidden_size, generator=torch.Generator().manual_seed(0))
    decoder = ChunkDecoder(predictor.model, ranges * 4, consensus=Last())
    with torch.inference_mode():
        offsets = decoder(embeddings, torch.tensor(7)).offsets
    assert Last.asked == [0, 1, 2] * 4
    assert offsets.tolist() == [end - 1 for _, end in ranges] * 4


@pytest.mark.parametrize(
    "entry", [{"consensus_width": "wide"}, {"consensus_width": -1}, {"consensus_width": True}, 3.5]
)
def test_a_bad_width_is_refused_by_name(entry: object) -> None:
    with pytest.raises(InputError, match="processor_config.json decoding.consensus_width: expected 0 to 2"):
        consensus_width({"decoding": entry})


def test_a_checkpoint_asks_for_it_in_its_processor_config(checkpoint: Path, tmp_path: Path) -> None:
    rgb, metres = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8), np.ones((60, 80), np.float32)
    k = np.array([[80.0, 0, 40], [0, 80, 30], [0, 0, 1]])
    answers = []
    for width in (0.0, 1.5):
        folder = tmp_path / str(width)
        folder.mkdir()
        for file in checkpoint.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        processor = json.loads((folder / "processor_config.json").read_text())
        (folder / "processor_config.json").write_text(json.dumps({**processor, "decoding": {"consensus_width": width}}))
        answers.append(load_policy(str(folder)).predict(rgb, "pick up the red cube", metres, k, KEY).tokens)
    published = load_policy(str(checkpoint)).predict(rgb, "pick up the red cube", metres, k, KEY).tokens
    assert (answers[0] == published).all()
    assert (answers[1] != published).any()
