"""Plots of tables. Error bars are the table's 95 % intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stvla_ros.evaluation.intervals import SuccessRate
from stvla_ros.evaluation.tables import MEAN, Table

# Okabe and Ito's colours, which colour-blind people can tell apart, too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vP*"
_SUCCESS = "success, %"


def plot_table(
    table: Table, path: Path, title: str, bounds: Mapping[str, float] | None = None, alike: int = len(COLOURS)
) -> None:
    """Plot the success by task as PNG: a group of bars for each task, and one for the mean.

    :param bounds: share by task that is drawn as a dashed line across its bars: the most that a policy without memory
        can have.
    :param alike: number of policies after which the colours repeat, with the bars hatched.
    """
    tasks = [*table.tasks, *([MEAN] if len(table.tasks) > 1 else [])]
    known = {(row.policy, row.task): row.success for row in table.rows}
    series = {
        policy: {task: known[policy, task] for task in tasks if (policy, task) in known} for policy in table.policies
    }
    plot_groups(series, tasks, path, title, bounds=bounds, alike=alike)


def plot_groups(
    series: Mapping[str, Mapping[str, SuccessRate]],
    groups: Sequence[str],
    path: Path,
    title: str,
    y_label: str = _SUCCESS,
    bounds: Mapping[str, float] | None = None,
    alike: int = len(COLOURS),
) -> None:
    """Plot shares as PNG: a group of bars for each name of ``groups``.

    :param series: shares by name of the group, by the name in the legend.
    :param bounds, alike: parameters of ``plot_table``.
    """
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(min(40.0, max(5.0, 1.2 + 0.45 * len(groups) * (len(series) + 1))), 4.0))
    width = min(0.8 / max(1, len(series)), 0.3)
    for index, (name, known) in enumerate(series.items()):
        places = [place for place, group in enumerate(groups) if group in known]
        rates = [known[groups[place]] for place in places]
        at = [place + (index - (len(series) - 1) / 2) * width for place in places]
        values = [100 * rate.value for rate in rates]
        look = {"color": COLOURS[index % alike % len(COLOURS)], "hatch": ("", "///", "...")[index // alike % 3]}
        axes.bar(at, values, 0.92 * width, edgecolor="white", linewidth=0, label=name, zorder=2, **look)
        axes.errorbar(at, values, _bars(rates), fmt="none", ecolor="#333333", capsize=3, linewidth=1, zorder=3)
    drawn = [(place, 100 * bounds[group]) for place, group in enumerate(groups) if bounds and group in bounds]
    for number, (place, percent) in enumerate(drawn):
        label = "at most, without memory" if number == 0 else None
        axes.hlines(percent, place - 0.48, place + 0.48, "#000000", "dashed", linewidth=1.2, label=label, zorder=4)
    axes.set_xticks(range(len(groups)), [_lines(group) for group in groups])
    axes.set_xlim(-0.6, len(groups) - 0.4)
    _finish(plt, figure, axes, path, title, legend=len(series) > 1 or bool(drawn), y_label=y_label)


def plot_lines(
    series: Mapping[str, Sequence[tuple[float, SuccessRate]]],
    path: Path,
    title: str,
    x_label: str,
    references: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> None:
    """Plot success (with its interval) over a number as PNG, one line for each series.

    :param series: points of each series, x and rate, by name.
    :param references: other figures, x and percent, drawn dashed and without intervals.
    """
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(6.4, 4.0))
    all_x = [x for points in series.values() for x, _ in points]
    # Shifted sideways, so that no interval hides another.
    shift = 0.012 * (max(all_x, default=0.0) - min(all_x, default=0.0))
    for index, (name, points) in enumerate(series.items()):
        at = [x + (index - (len(series) - 1) / 2) * shift for x, _ in points]
        rates = [rate for _, rate in points]
        axes.errorbar(
            at,
            [100 * rate.value for rate in rates],
            _bars(rates),
            marker=_MARKERS[index % len(_MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            capsize=3,
            linewidth=1.5,
            label=name,
        )
    for name, figures in (references or {}).items():
        axes.plot(*zip(*figures), "--", color="#888888", marker="x", linewidth=1, label=name)
    axes.set_xticks(sorted(set(all_x)))
    axes.set_xlabel(x_label)
    _finish(plt, figure, axes, path, title, legend=len(series) + len(references or {}) > 1)


def plot_settings(
    rates: Mapping[str, SuccessRate], path: Path, title: str, references: Mapping[str, float] | None = None
) -> None:
    """Plot the success of named settings side by side as PNG.

    :param references: other figures in percent by setting, drawn as marks over the bars.
    """
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(max(4.5, 1.2 + 1.1 * len(rates)), 4.0))
    values = [100 * rate.value for rate in rates.values()]
    axes.bar(range(len(rates)), values, 0.6, color=COLOURS[0], label="ours (small model)", zorder=2)
    bars = _bars(list(rates.values()))
    axes.errorbar(range(len(rates)), values, bars, fmt="none", ecolor="#333333", capsize=4, linewidth=1, zorder=3)
    known = [(place, references[name]) for place, name in enumerate(rates) if references and name in references]
    if known:
        at, percent = zip(*known)
        axes.scatter(at, percent, marker="D", color=COLOURS[1], label="paper (4B model)", zorder=4)
    axes.set_xticks(range(len(rates)), [_lines(name) for name in rates])
    _finish(plt, figure, axes, path, title, legend=bool(known))


def _bars(rates: Sequence[SuccessRate]) -> list[list[float]]:
    below = [100 * (rate.value - rate.low) for rate in rates]
    return [below, [100 * (rate.high - rate.value) for rate in rates]]


def _lines(name: str) -> str:
    """A name on several lines, so that its neighbour has room."""
    return name.replace("_", "\n").replace("-", "\n")


def _pyplot():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _finish(plt, figure, axes, path: Path, title: str, legend: bool, y_label: str = _SUCCESS) -> None:
    axes.set_ylim(-2, 105)  # a mark at 0 or 100 % stays completely visible
    axes.set_ylabel(y_label)
    axes.set_title(title, fontsize=11)
    axes.grid(axis="y", color="#dddddd", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=130, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
