"""The plan of a pass: the prefix tree of its programs, and how each picture is opened.

What the programs of a pass want together decides how little has to be read: nothing but a
header, a JPEG at a reduced scale, or all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from daskimg.column.array import ImageArray
from daskimg.engine.ops import OPS
from daskimg.engine.program import RECORDS, Program, Row, Step
from daskimg.engine.sinks import ImageSink, ReasonSink, Sink, make_sink
from daskimg.kernels import codec
from daskimg.kernels.augment import RANDOM
from daskimg.kernels.resizing import SKETCH, SMOOTH, Size

__all__ = ["Held", "Node", "Plan"]

COUNTED = ("fetch", "header", "decode")
OPENING = ("fetch", "header", "size", "exif")  # their first parameter is with what a path is opened
HELD = 2**22  # bytes of scratch that a plan keeps from one partition to the next
REDUCED = 1  # the parameter of a decode that lets it give less than the whole
# Steps that know what to do where a row has no value; the others fail there.
TAKE_NULL = ("draw_boxes", "draw_mask", "export", *RANDOM)
SIDES = {"header_height": 0, "header_width": 1}


class Node:
    """One step, what follows it, and the columns that end with it."""

    __slots__ = (
        "children", "counted", "kernel", "options", "otherwise", "params", "rows", "runs", "sides",
        "sinks", "step", "steps", "takes_null", "tally", "target",
    )  # fmt: skip

    def __init__(self, step: Step) -> None:
        self.step = step
        self.counted, self.runs = step.name in COUNTED, 0
        self.kernel = OPS[step.name].kernel
        self.params = list(step.params)
        self.takes_null = step.name in TAKE_NULL
        self.rows = [(k, p.slot) for k, p in enumerate(step.params) if isinstance(p, Row)]
        self.children: list[Node] = []
        self.steps: list[Node] = []  # the children that run when this one has
        self.sinks: list[Sink] = []
        self.sides: list[tuple[int, Sink]] = []  # columns of the result's height (0), width (1)
        self.otherwise: Node | None = None  # its steps run when this one fails
        self.options: dict[str, Any] = {}
        # the one-shape column that the kernel may write its result into
        self.target: ImageSink | None = None
        self.tally: Any = None  # where somebody measures: see `gauge`

    def child(self, step: Step) -> Node:
        """The node of `step` after this one, made on first use."""
        for node in self.children:
            if node.step.key == step.key:
                return node
        node = Node(step)
        self.children.append(node)
        return node

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Plan:
    """The tree of `programs`, and for each of them the column it fills.

    One thread uses it for one partition after the other.
    """

    def __init__(self, programs: Sequence[Program]) -> None:
        self.programs = programs
        self.root = root = Node(Step("path"))  # the cell itself
        self.sinks: list[Sink] = []
        self.scratches: list[codec.Scratch] = []
        self.partial: list[str] = []  # why the picture at hand was decoded in part only
        for program in programs:
            node, steps = root, list(program.steps)
            record = None
            if steps and steps[-1].name in (*RECORDS, "path"):
                record = steps.pop().name
            for step in steps:
                node = node.child(step)
            sink = make_sink(program, record)
            node.sinks.append(sink)
            self.sinks.append(sink)
        _headers_from_bytes(root)
        self.nodes = list(root.walk())
        self.resizes = any(_by_torch(node.step) for node in self.nodes)
        self.calls_users = any(node.step.name == "apply" for node in self.nodes)
        self.opening = [node for node in self.nodes if node.step.name in OPENING]
        limits = [p.max_errors for p in programs if p.max_errors is not None]
        self.max_errors = min(limits, default=None)
        for node in self.nodes:
            if node.step.name == "decode":
                self._decode(node)
            if OPS[node.step.name].out:
                node.target = next(
                    (s for s in node.sinks if isinstance(s, ImageSink) and s.uniform), None
                )
        for node in self.nodes:
            node.steps = list(node.children)
            _sizes_of_pixels(node)
            _encoded_from_pixels(node)

    def _decode(self, node: Node) -> None:
        reduced = node.step.params[REDUCED]
        if reduced and (sizes := _resized(node)):
            node.options["sizes"] = sizes
        if not any(map(_keeps, node.walk())):
            node.options["scratch"] = scratch = codec.Scratch()
            self.scratches.append(scratch)
        if node.step.params[0]:
            node.options["on_partial"] = self.partial.append

    def begin(self, cells: ImageArray) -> None:
        """The rows to come are those of `cells`."""
        for node in self.nodes:
            node.runs = 0
        for sink in self.sinks:
            sink.begin(cells)

    def finish(self) -> list[Any]:
        """The columns; little memory is held on to."""
        for scratch in self.scratches:
            scratch.shrink(HELD)
        for node in self.nodes:
            if isinstance(node.kernel, Held):
                node.kernel.forget()
        return [sink.finish() for sink in self.sinks]


def _sizes_of_pixels(node: Node) -> None:
    """The sizes of what is decoded in full are its pixels': its header is read if that fails."""
    found = {child.step.name: child for child in node.children}
    header, decode = found.get("header"), found.get("decode")
    if header is None or decode is None or "sizes" in decode.options:
        return
    settings = header.params[2:]  # behind how to fetch it
    asked = [child.step.name for child in header.children]
    if decode.params[REDUCED + 1 :] == settings and SIDES.keys() >= {*asked}:
        node.steps.remove(header)
        decode.otherwise = Node(node.step)
        decode.otherwise.steps = [header]
        decode.sides = [
            (SIDES[child.step.name], sink) for child in header.children for sink in child.sinks
        ]


def _keeps(node: Node) -> bool:
    """Whether a picture may outlive its row here: in a column, or with a user's function."""
    ragged = (isinstance(s, ImageSink) and not s.uniform and not s.encoded for s in node.sinks)
    return node.step.name == "apply" or any(ragged)


def _encoded_from_pixels(node: Node) -> None:
    """What is decoded in full anyway is not decoded again to be encoded in another format."""
    for decode in node.steps:
        if decode.step.name != "decode" or decode.params[0] or "sizes" in decode.options:
            continue
        same = [
            child
            for child in node.steps
            if child.step.name == "export" and child.params[2:] == decode.params[REDUCED + 1 :]
        ]
        if same:
            decode.kernel = held = Held(decode.kernel)
            for export in same:
                export.options["decoded"] = held.of
                node.steps.remove(export)  # to come after it
                node.steps.append(export)
            return


class Held:
    """A kernel that remembers its last result, for who asks for it by the same value."""

    def __init__(self, kernel: Callable[..., Any]) -> None:
        self.kernel = kernel
        self.value: Any = None
        self.result: Any = None

    def __call__(self, value: Any, *params: Any, **options: Any) -> Any:
        self.value = None
        self.result = self.kernel(value, *params, **options)
        self.value = value
        return self.result

    def forget(self) -> None:
        """Let go of it."""
        self.value = self.result = None

    def of(self, value: Any) -> Any:
        """The result for `value`; None where it was not the last one, or failed."""
        return self.result if value is self.value else None


def _by_torch(step: Step) -> bool:
    """Whether PyTorch does it, where it is installed."""
    bilinear = step.name == "resize" and "bilinear" in step.params
    return bilinear or step.name == "random_resized_crop"


def _headers_from_bytes(root: Node) -> None:
    """Where a pass fetches a file anyway, its header and size come from those bytes."""
    fetched = {node.params[0]: node for node in root.children if node.step.name == "fetch"}
    for node in list(root.children):
        if node.step.name in OPENING[1:] and node.params[0] in fetched:
            root.children.remove(node)
            fetched[node.params[0]].children.append(node)


def _resized(node: Node) -> tuple[Size, ...] | None:
    """What a decoded picture is resized to, where nothing else is done with it."""
    if not all(isinstance(sink, ReasonSink) for sink in node.sinks):
        return None
    found: list[Any] = []
    for child in node.children:
        if child.step.name == "sketch":
            sizes: Any = ((child.step.params[0], None, SKETCH),)
        elif child.step.name == "resize":
            *size, resample = child.step.params
            # of a row's own size nothing is known yet
            fixed = not any(isinstance(value, Row) for value in size)
            sizes = (tuple(size),) if fixed and resample in SMOOTH else None
        else:
            sizes = _resized(child) if child.step.name == "convert" else None
        if sizes is None:
            return None
        found += sizes
    return tuple(found)
