"""The page on deployment: its commands make a cluster, which its client uses."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "deployment.md").read_text()
SHELL = re.findall(r"^```shell$\n(.*?)^```$", PAGE, re.M | re.S)
CLIENT = re.findall(r"^```py$\n(.*?)^```$", PAGE, re.M | re.S)


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture
def ports():
    """The ports that the page speaks of, as ones that nobody has."""
    return dict(zip(("8786", "8787"), map(str, free_ports(2)), strict=True))


def with_ports(text: str, ports: dict[str, str]) -> str:
    for said, port in ports.items():
        text = text.replace(f":{said}", f":{port}").replace(f" {said} ", f" {port} ")
    return text


@pytest.mark.long
def test_the_commands_and_the_client(tmp_path, monkeypatch, ports):
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "guide"))
    monkeypatch.chdir(tmp_path)
    import made

    made.pictures("shop", broken=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    names: dict[str, object] = {"__name__": "deployment"}
    told = io.StringIO()
    with contextlib.ExitStack() as stack:
        for number, command in enumerate(SHELL):
            log = stack.enter_context((tmp_path / f"log{number}").open("w"))
            process = subprocess.Popen(
                ["bash", "-c", f"exec {with_ports(command, ports)}"],
                stderr=log,
                env=environment,
                start_new_session=True,
            )
            stack.callback(ended, process)
            if not command.startswith("dask "):
                assert process.wait(timeout=60) == 0
        for code in CLIENT:
            with contextlib.redirect_stdout(told):
                exec(compile(with_ports(code, ports), "deployment.md", "exec"), names)
    assert names["check"].ok, told.getvalue()
    assert names["check"].workers.resources.tolist().count({"GPU": 1.0}) == 1
    result, s = names["result"], names["s"]
    good = result[result.light.notna()]
    assert {*good["where"]} == {"gpu"}
    assert (len(good), len(result) - len(good)) == (s.kept, s.failed)
    assert s.failed > 0
    assert all(address.startswith("tls://") for address in names["check"].workers.index)
    assert f'daskimg_images_total{{stage="decode"}} {len(result)}.0' in names["metrics"]


def ended(process: subprocess.Popen) -> None:
    """A process and those it started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_no_door_without_a_certificate():
    """What the page starts is closed: every command says which certificate it wants."""
    starts = [command for command in SHELL if command.startswith("dask ")]
    assert len(starts) == 3
    assert all("--tls-ca-file cert.pem --tls-cert cert.pem" in command for command in starts)
    assert sum("--resources GPU=1" in command for command in starts) == 1
