"""The benchmark runs, on four small pictures. How fast is not looked at."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import cores, formats, gpu, growth, loop
from benchmarks.__main__ import NAMES, main
from benchmarks.peers import __main__ as peers
from benchmarks.peers import bare_loop, dask_bag, ours
from benchmarks.peers.common import Job
from benchmarks.peers.tables import Runs, render
from benchmarks.peers.tasks import TASKS
from daskimg.kernels import codec, measure, resizing

pytestmark = pytest.mark.xdist_group("busy")  # one at a time: processes that starve fail


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(4):
        coarse = rng.integers(0, 256, (5, 6 + n, 3), dtype=np.uint8)
        pixels = resizing.resize(coarse, 50, 60 + n, resample="bicubic")
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


@pytest.mark.long
@pytest.mark.timeout(600)
def test_cores_are_counted(folder, capsys):
    cores.main(["--pictures", "64", "--threads", "2", "--images", str(folder)])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    one = {("iterate", "one process"), ("statistics", "one process"), ("iterate", "processes")}
    clusters = {(work, f"cluster: {how}") for work in cores.WORK for how in ("2 of 1", "1 of 2")}
    assert {(row[0].strip("| "), row[2]) for row in rows} == one | clusters


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


@pytest.mark.long
def test_peers_are_asked_in_processes(folder, tmp_path, capfd):
    options = ["--rounds", "1", "--sales", "300", "--log", str(tmp_path / "log")]
    options += ["--libraries", "ours,bare_loop,ray_data", "--tasks", "iterate,join,store"]
    peers.main(["--images", str(folder), *options])
    printed = capfd.readouterr().out
    cells = {row[0]: row[1:] for row in rows_of(printed)}
    assert cells["decode, resize to 224, iterate in batches of 64"][0] == "4"
    assert re.fullmatch(r"\d+\.\d\d s", cells["decode, resize to 224, iterate in batches of 64"][1])
    bare = cells["statistics joined with a million sales, means by shop"][2]
    assert re.fullmatch(r"\d+\.\d\d s \(\d+\.\d\d(; \d+\.\d\d)?\)", bare)
    assert (
        cells["iterate, from an object store with 30 ms a request"][2] == "-"
    )  # the loop has none
    assert "- Ray Data: no environment: say --envs" in printed
    assert "Other results" not in printed
    assert str(folder) not in printed


@pytest.mark.parametrize("library", [bare_loop, dask_bag])
def test_peers_do_the_same_work(folder, tmp_path, library):
    flat = peers.flattened(sorted(map(str, folder.glob("*.jpg"))), tmp_path / "flat")
    sales = peers.make_sales(flat, tmp_path / "sales", 300)
    for task in {*TASKS} - {"store", "cold"}:
        targets = [tmp_path / f"{task}-{n}" for n in range(2)]
        for target in targets:
            target.mkdir()
        jobs = [Job(str(flat), str(sales), str(target)) for target in targets]
        mine, theirs = getattr(ours, task)(jobs[0]), getattr(library, task)(jobs[1])
        assert theirs["pictures"] == mine["pictures"] > 0
        assert theirs["value"] == pytest.approx(mine["value"], abs=0.6)


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_what_peers_took_is_compared():
    names = {"ours": "daskimg", "ray_data": "Ray Data", "tf_data": "tf.data"}
    libraries = {n: SimpleNamespace(title=t, version="1") for n, t in names.items()}
    runs = Runs(["iterate", "headers"], libraries)
    for seconds in (9, 1, 2, 3):
        told = {"pictures": 4, "value": 100.0}
        runs.add("iterate", "ours", {**told, "seconds": seconds, "cpu": 1}, counted=seconds < 9)
        runs.add("iterate", "ray_data", {**told, "seconds": 12, "cpu": 3}, counted=seconds < 9)
    runs.add("iterate", "tf_data", {"seconds": 2, "pictures": 3, "value": 50.0}, counted=True)
    runs.add("headers", "ray_data", {"failed": "OSError: no such file\nmore"}, counted=True)
    text = render(runs, {"Daft": "no wheel"}, "4 pictures", "python -m it", 0.5)
    found = rows_of(text)
    assert found[2] == [
        "decode, resize to 224, iterate in batches of 64",
        "4",
        "2.00 s",
        "12.00 s (6.00; 3.00)",
        "2.00 s (1.00)",
    ]
    assert ["iterate", "Ray Data", "5", "6.00", ""] in found
    assert ["iterate", "the best other: tf.data", "1.3", "1.00", "short"] in found
    assert "- headers by Ray Data failed: OSError: no such file\n" in text
    assert "- Other results: iterate by tf.data: 3 rows, mean 50.0; daskimg 4, 100.0" in text
    assert "- Daft: no wheel" in text
    assert "`python -m it`" in text


def test_growth_counts_every_picture(tmp_path, monkeypatch, capsys):
    def here(place: Path, **asked: object) -> dict:
        return growth.one({**asked, "warm": str(growth.sources(place))})

    monkeypatch.setattr(growth, "run", here)
    text = growth.scale(tmp_path, [40, 1030])
    rows = rows_of(text)[2:]
    assert [row[:2] for row in rows] == [
        [n, how] for n in ("40", "1,030") for how in ("folder", "Parquet table")
    ]
    told = here(tmp_path, folder=str(growth.links(tmp_path, 1030)), size=103, columns=5)
    assert told["pictures"] == 1030
    assert told["partitions"] == 10
    assert told["first"] <= told["wall"]
    assert 0 < told["graph"] / 1030 < 100


@pytest.mark.long
def test_formats_lose_what_they_lose(folder, tmp_path, monkeypatch, capsys):
    kinds = [kind for kind in formats.KINDS if kind.name in ("WebP, quality 80", "PNG")]
    monkeypatch.setattr(formats, "KINDS", kinds)
    options = ["--count", "1", "--copies", "2", "--size", "48", "56", "--rounds", "1"]
    formats.main([*options, "--images", str(folder), "--plot", str(tmp_path / "plot.png")])
    lost = {row[0]: row[5] for row in rows_of(capsys.readouterr().out)}
    assert re.fullmatch(r"\d\d\.\d dB", lost["WebP, quality 80"])
    assert lost["PNG"] == lost["NumPy"] == lost["Parquet of pixels"] == "exact"
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_fidelity_of_a_known_error(tmp_path):
    pixels = np.full((16, 16, 3), 100, np.uint8)
    kind = formats.Kind("PNG", "PNG", {})
    kept = formats.keep(formats.encoded([pixels], kind), tmp_path / "kept")
    assert formats.fidelity([pixels], kept["files"]) == formats.EXACT
    psnr, ssim = formats.fidelity([pixels + 10], kept["files"])
    assert psnr == pytest.approx(10 * np.log10(255**2 / 100))
    assert 0.9 < ssim < 1
