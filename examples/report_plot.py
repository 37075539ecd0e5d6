"""What a merchandiser looks at: which products sell well behind a poor picture."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

COLORS = ("#2c7a57", "#3b6fb6", "#c08a1e", "#8a4f9e", "#c04a2b", "#3f97a3", "#7d6a4f")
OTHER, INK, SOFT = "#a9b0ac", "#1d2321", "#66716c"
NO_PICTURE = -10.0  # where products without a picture stand, left of quality 0


def revenue_against_quality(
    products: pd.DataFrame, good: float, poor: float, width: float, height: float, labels: int
) -> str:
    """An inline SVG: a dot a product, mean picture quality across, revenue up, a colour a category.

    Products without a readable picture stand left of the axis, hollow.
    """
    sold = products[products["revenue"] > 0]
    x = sold["quality"].fillna(NO_PICTURE).to_numpy(float)
    y = sold["revenue"].to_numpy(float)
    with matplotlib.rc_context(
        {
            "svg.hashsalt": f"daskimg {width}",
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.size": 10,
        }
    ):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.axvspan(-20, poor, color="#c04a2b", alpha=0.06, linewidth=0)
        axes.axvline(0, color="#e1e4dd", linewidth=1)
        axes.axvline(good, color="#e1e4dd", linewidth=1)
        largest = products.groupby("category")["revenue"].sum().nlargest(len(COLORS)).index
        groups = [(name, color) for name, color in zip(largest, COLORS, strict=False)]
        for name, color in [*groups, ("other categories", OTHER)]:
            mine = (
                ~sold["category"].isin(largest) if color == OTHER else sold["category"] == name
            ).to_numpy(bool)
            if mine.any():
                fill = np.where(x[mine] < 0, "white", color)
                axes.scatter(x[mine], y[mine], s=46, c=fill, edgecolors=color)
                axes.scatter([], [], s=46, c=color, label=name)
        if len(sold) and y.max() > 30 * y.min():
            axes.set_yscale("log")
        left = -16.0 if (x < 0).any() else min([poor, *x]) // 10 * 10 - 2
        ticks = {
            NO_PICTURE: "none",
            0: "0",
            25: "25",
            poor: f"{poor:.0f}",
            good: f"{good:.0f}",
            85: "85",
            100: "100",
        }
        ticks = {value: text for value, text in ticks.items() if value >= left}
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set_xlim(left, 102)
        axes.set_xlabel("mean quality of its pictures", color=SOFT)
        axes.set_ylabel("revenue", color=SOFT)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(colors=SOFT, length=0)
        axes.grid(axis="y", color="#eceee8", linewidth=0.8)
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_visible(False)
        if len(sold):
            figure.legend(
                loc="outside upper left",
                ncols=4 if width > 6 else 2,
                frameon=False,
                labelcolor=INK,
                handletextpad=0.2,
                columnspacing=1.4,
            )
        label_largest(axes, sold["name"].astype(str).to_numpy(), x, y, labels)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def label_largest(axes: Axes, names: np.ndarray, x: np.ndarray, y: np.ndarray, labels: int) -> None:
    """Name the products where most is to be gained, right or left of the dot, where there is room.

    A name that would cover another name or another dot is left out.
    """
    axes.figure.draw_without_rendering()
    dots = axes.transData.transform(np.column_stack([x, y]))
    frame, taken = axes.get_window_extent(), []
    for i in np.argsort(-y * (105 - x), kind="stable"):
        for side in ("left", "right"):
            text = axes.annotate(
                names[i],
                (x[i], y[i]),
                (7 if side == "left" else -7, -0.5),
                textcoords="offset points",
                va="center",
                ha=side,
                fontsize=9,
                color=INK,
            )
            extent = text.get_window_extent().padded(3)
            clear = frame.x0 <= extent.x0 and extent.x1 <= frame.x1
            clear &= not any(extent.overlaps(other) for other in taken)
            clear &= not any(extent.contains(*dot) for dot in np.delete(dots, i, axis=0))
            if clear:
                taken.append(extent)
                break
            text.remove()
        if len(taken) == labels:
            break
