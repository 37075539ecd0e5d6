"""The benchmark runs, on four small pictures. How fast is not looked at."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu, loop
from benchmarks.__main__ import NAMES, main
from daskimg.kernels import codec, geometry, measure

pytestmark = pytest.mark.xdist_group("busy")  # one at a time: processes that starve fail


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(4):
        coarse = rng.integers(0, 256, (5, 6 + n, 3), dtype=np.uint8)
        pixels = geometry.resize(coarse, 50, 60 + n, resample="bicubic")
        (tmp_path / f"{n}.jpg").write_bytes(codec.encode(pixels, "jpeg"))
    return tmp_path


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_row_runs(folder, capfd):
    main(["--quick", "--pairs", "1", "--images", str(folder), "--large", str(folder)])
    printed, complained = capfd.readouterr()
    found = re.findall(r"^\| (\S+)", printed, re.MULTILINE)
    assert "differ" not in complained
    assert set(found) >= set(NAMES) - {"loops", "torchless"}
    assert "| loop B |" in printed
    assert "| B without torch |" in printed
    assert str(folder) not in printed


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_gpu_benchmark_runs_without_one(folder, capsys):
    options = ["--cpu", "--pictures", "8", "--batch-size", "2", "--workers", "1"]
    gpu.main([*options, "--images", str(folder)])
    (row,) = re.findall(r"^\| cluster \| 8 \| .+$", capsys.readouterr().out, re.MULTILINE)
    assert row.endswith("| no GPU |")
    assert float(re.search(r"(\d+)%", row).group(1)) <= 100


def test_profile_names_functions(folder, capsys):
    main(["--quick", "--profile", "--rows", "C", "--images", str(folder)])
    printed = capsys.readouterr().out
    assert re.search(r"beyond the loop -?\d+ us", printed)
    assert re.search(r"^\| [0-9.]+ \| [0-9.]+ \| [0-9.]+ \| `.+` \|$", printed, re.MULTILINE)


def test_unknown_row(capsys):
    with pytest.raises(SystemExit):
        main(["--rows", "Z"])
    assert "expected some of loops, B" in capsys.readouterr().err


def test_loop_measures_what_the_library_measures(folder):
    files = sorted(map(str, folder.glob("*.jpg")))
    pixels = [codec.decode(Path(path).read_bytes()) for path in files]
    table = loop.statistics(files)
    assert table["height"].tolist() == [50] * 4
    assert table["mean"].tolist() == pytest.approx([measure.mean(p) for p in pixels])
    assert table["std"].tolist() == pytest.approx([measure.std(p) for p in pixels])
    (batch,) = loop.batches(files)
    (pillow,) = loop.pillow_batches(files)
    assert np.abs(batch.astype(int) - pillow).mean() < 1
