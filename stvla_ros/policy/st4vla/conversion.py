"""Converts to a checkpoint what others publish: a run of the published training, or a vision-language model alone.

A run is ``RUN/checkpoints/steps_N_pytorch_model.pt`` with config.yaml (or config.json) and dataset_statistics.json in
RUN. It lacks the vision-language model's shape and the tokenizer: both are in the folder of the model that the run was
started from. The pickle is read once, as weights and nothing else.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stvla_ros.devices import parse_dtype
from stvla_ros.errors import InputError, reason_of
from stvla_ros.policy.checkpoints import new_folder, read_json
from stvla_ros.policy.sampling import check_seed
from stvla_ros.policy.st4vla.checkpoint import empty_model, expected_shapes, save_tensors, stored_bytes, write_record
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.create import write_untrained_statistics
from stvla_ros.policy.st4vla.model import HEAD, TEXT, parts_around
from stvla_ros.policy.st4vla.prompt import PromptTokenizer
from stvla_ros.policy.st4vla.sizes import MODEL_TYPE, config_of_size
from stvla_ros.policy.statistics_file import STATISTICS, read_run_statistics
from stvla_ros.policy.stored_weights import check_tensors, open_tensors, stored_shapes, weight_files
from stvla_ros.policy.tokenizer_files import FILE
from stvla_ros.safe_files import check_limit, check_regular
from stvla_ros.settings import build, read_mapping

_VLM = "qwen_vl_interface.model."
_DINO = "dino_encoder.body."
# Qwen2.5-VL's names before transformers 4.52 (left) and since then.
_SINCE = ((r"^visual\.", "model.visual."), (r"^model\.(?!visual\.|language_model\.)", "model.language_model."))


@dataclass(frozen=True)
class StartOptions:
    """Options of a new checkpoint around a vision-language model.

    :param size: size of the new queries and action expert, one of the family's sizes.
    :param seed: seed of the random weights.
    :param dino: file with DINOv2's weights as its authors publish them (a ``.pth``); empty: random weights.
    """

    size: str = "4b"
    seed: int = 0
    dino: str = ""


def write_converted(source: Path, base: Path | None, output: Path, dtype: str, parameters: Mapping[str, Any]) -> None:
    """Write a checkpoint out of files that somebody else published.

    :param source: a run's ``.pt`` file, the run's folder if it has one such file, or the folder of a Qwen2.5-VL.
    :param base: folder of the vision-language model that a run was started from; None for other sources.
    :param output: a new or empty folder.
    :param dtype: type of the written weights of the vision-language model and DINOv2.
    :param parameters: options of a start from a vision-language model: ``StartOptions``.
    :raises InputError: when something cannot be used; then nothing was made.
    """
    kind = parse_dtype(dtype, "dtype")
    if source.is_dir() and (source / "config.json").is_file():
        model_type = read_json(source / "config.json").get("model_type")
        if model_type == MODEL_TYPE:
            raise InputError(f"checkpoint {source}: expected a run to convert, it is converted already")
        if model_type == "qwen2_5_vl":
            if base is not None:
                raise InputError(f"base: expected none for a vision-language model alone, got {base}")
            _convert_start(source, output, kind, build(StartOptions, dict(parameters), "parameters."))
            return
    if parameters:
        raise InputError(f"parameters: expected none for a run, got {', '.join(map(str, parameters))}")
    _convert_run(_weights_of(source), base, output, kind)


def _weights_of(source: Path) -> Path:
    """The file with the run's weights. :raises InputError: when there is none, or several are possible."""
    if source.is_file():
        return source
    files = sorted((source / "checkpoints").glob("*.pt")) if source.is_dir() else []
    if len(files) != 1:
        found = ", ".join(file.name for file in files[:12]) or "none"
        raise InputError(
            f"checkpoint {source}: expected a .pt file, a run's folder with one in checkpoints/, or a Qwen2.5-VL's "
            f"folder; .pt files there: {found}"
        )
    return files[0]


def _convert_run(file: Path, base: Path | None, output: Path, dtype: torch.dtype) -> None:
    run = file.absolute().parent.parent
    if base is None:
        raise InputError(
            "base: expected the folder of the Qwen2.5-VL that the run was started from (its config.json and "
            "tokenizer.json), got none"
        )
    content = _run_config(run) | {"model_type": MODEL_TYPE, "vlm_config": read_json(base / "config.json")}
    config = St4VlaConfig.from_dict(content, f"{run.name}/config with {base / 'config.json'}")
    PromptTokenizer.load(base, config)
    read_run_statistics(run)
    model = empty_model(config, str(run))
    state = _read_pickle(file)
    shapes = expected_shapes(model)
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if HEAD not in shapes and HEAD in found:
        _check_head(state, file)
        del found[HEAD]
    check_tensors(file, shapes, found)
    with new_folder(output, stored_bytes(model, dtype)) as aside:
        save_tensors(shapes, state.__getitem__, aside, dtype)
        config.write(aside, str(dtype).removeprefix("torch."))
        shutil.copyfile(base / FILE, aside / FILE)
        shutil.copyfile(run / STATISTICS, aside / STATISTICS)
        write_record(aside)


def _run_config(run: Path) -> dict[str, Any]:
    if (run / "config.yaml").is_file():
        return read_mapping(run / "config.yaml", "run")
    if (run / "config.json").is_file():
        return read_json(run / "config.json")
    raise InputError(f"run {run}: expected config.yaml or config.json, there is neither")


def _read_pickle(file: Path) -> dict[str, torch.Tensor]:
    """Tensors by name, mapped from the file. Nothing else in a pickle is executed."""
    try:
        check_regular(file)
        check_limit("weight_bytes", file.stat().st_size, str(file), "bytes")
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except InputError:
        raise
    except Exception as error:  # the unpickler raises whatever it runs into
        raise InputError(
            f"{file}: expected a weights-only PyTorch file, names and tensors and nothing else ({reason_of(error)})"
        ) from None
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items()
    ):
        other = " with other things in it" if isinstance(state, Mapping) else ""
        raise InputError(f"{file}: expected tensors by name, got a {type(state).__name__}{other}")
    for name, tensor in state.items():
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise InputError(f"{file}: expected {name} to be of floating-point numbers, got {tensor.dtype}")
    return dict(state)


def _check_head(state: Mapping[str, torch.Tensor], file: Path) -> None:
    """A head beside its embedding table may only be left out if both hold the same numbers."""
    if TEXT not in state or not torch.equal(state[HEAD], state[TEXT]):
        raise InputError(
            f"{file}: expected {HEAD} to be {TEXT}, as vlm_config.tie_word_embeddings says, they differ: set it to "
            "false in the base's config.json"
        )


# --- the vision-language model alone ----------------------------------------------------------------------------------


def _convert_start(source: Path, output: Path, dtype: torch.dtype, options: StartOptions) -> None:
    check_seed(options.seed)
    vlm = read_json(source / "config.json")
    config = St4VlaConfig.from_dict(_around(vlm, options.size), str(source / "config.json"))
    PromptTokenizer.load(source, config)
    dino = _read_dino(Path(options.dino)) if options.dino else {}
    model = empty_model(config, str(source))
    shapes = expected_shapes(model)
    files = weight_files(source)
    stored = stored_shapes(files)
    places = {_VLM + _since(name): name for name in stored}
    found = {name: stored[old] for name, old in places.items() if not (name == HEAD and HEAD not in shapes)}
    check_tensors(source, {name: shape for name, shape in shapes.items() if name.startswith(_VLM)}, found)
    if dino:
        wanted = {name: shape for name, shape in shapes.items() if name.startswith(_DINO)}
        check_tensors(Path(options.dino), wanted, {name: tuple(tensor.shape) for name, tensor in dino.items()})
    with new_folder(output, stored_bytes(model, dtype)) as aside:
        fresh = _random_around(config, options.seed)

        def tensor(name: str) -> torch.Tensor:
            if name in found:
                return _read_tensor(files, places[name])
            return dino[name] if name in dino else fresh[name]

        save_tensors(shapes, tensor, aside, dtype)
        config.write(aside, str(dtype).removeprefix("torch."))
        shutil.copyfile(source / FILE, aside / FILE)
        write_untrained_statistics(aside)
        write_record(aside)


def _around(vlm: Mapping[str, Any], size: str) -> dict[str, Any]:
    """The configuration of a size with another vision-language model in it; the queries read the last state of that
    model.
    """
    content = json.loads(json.dumps(config_of_size(size)))
    text = vlm.get("text_config", vlm)
    width, layers = text.get("hidden_size"), text.get("num_hidden_layers")
    if type(width) is not int or type(layers) is not int:
        raise InputError(f"config.json: expected hidden_size and num_hidden_layers, got {width!r}, {layers!r}")
    content["framework"]["qwenvl"]["vl_hidden_dim"] = width
    content["framework"]["layer_qformer"] |= {
        "qformer_start_layer": layers,
        "qformer_end_layer": layers + 1,
        "input_dim": width,
    }
    return {**content, "vlm_config": dict(vlm)}


def _since(name: str) -> str:
    """The name that a tensor of Qwen2.5-VL has since transformers 4.52."""
    for pattern, replacement in _SINCE:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    return name


def _random_around(config: St4VlaConfig, seed: int) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.nn.ModuleDict(parts_around(config)).state_dict()


def _read_dino(file: Path) -> dict[str, torch.Tensor]:
    return {_DINO + name: tensor for name, tensor in _read_pickle(file).items()}


def _read_tensor(files: list[Path], name: str) -> torch.Tensor:
    for file in files:
        with open_tensors(file) as tensors:
            if name in tensors.keys():
                return tensors.get_tensor(name)
    raise InputError(f"expected a tensor {name}, there is none")
