"""The build's progress, decisions and error messages. Nothing is compiled."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from carillon_devcluster import ClusterError, LocalCluster, build, health, parts, toolchain
from carillon_devcluster.layout import Root
from carillon_devcluster.progress import Estimate, Reporter, duration


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        """Start at zero."""
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.mark.parametrize(
    ("done", "total", "elapsed", "want"),
    [
        pytest.param(0, 100, 0.0, "0 of 100 packages, 0 %", id="at the start there is no guess"),
        pytest.param(50, 100, 5.0, "50 of 100 packages, 47 %", id="too early for a guess"),
        pytest.param(50, 100, 100.0, "50 of 100 packages, 47 %, about 2 min left", id="half-way"),
        pytest.param(100, 100, 94.0, "100 of 100 packages, 94 %, about 5 s left", id="linking"),
        pytest.param(0, 0, 0.0, "0 of 0 packages, 0 %", id="nothing to do"),
    ],
)
def test_the_estimate_in_words(done: int, total: int, elapsed: float, want: str) -> None:
    """It has the progress and the remaining time."""
    assert Estimate(done, total, elapsed).sentence() == want


@pytest.mark.parametrize(("seconds", "want"), [(0, "5 s"), (42, "40 s"), (58, "1 min"), (250, "4 min")])
def test_durations_are_round(seconds: float, want: str) -> None:
    """Durations are rounded for people."""
    assert duration(seconds) == want


def test_a_log_gets_a_line_each_tenth_or_twenty_seconds() -> None:
    """There is no line for each of thousands of packages."""
    out, clock = io.StringIO(), Clock()
    reporter = Reporter(out, "building", clock)
    for done in range(1001):
        clock.now = done * 0.1
        reporter.step(done, 1000)
    assert len(out.getvalue().splitlines()) == 10


def test_a_count_is_told_now_and_then() -> None:
    """A log does not get a line for each downloaded module."""
    out, clock = io.StringIO(), Clock()
    reporter = Reporter(out, "building", clock)
    for fetched in range(200):
        clock.now = fetched * 0.25
        reporter.count(f"{fetched} modules so far")
    assert out.getvalue().splitlines() == [f"building: {n} modules so far" for n in (0, 80, 160)]


def test_a_terminal_gets_one_line() -> None:
    """The line is overwritten."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out, clock = Terminal(), Clock()
    reporter = Reporter(out, "building", clock)
    for done in range(11):
        clock.now = done * 20.0
        reporter.step(done, 10)
    reporter.finish("built")
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().split("\r")[-1].strip() == "built"


@pytest.mark.parametrize(
    ("log", "want"),
    [
        ("link: write a.out: no space left on device\n", "the disk is full: free about 4 GB"),
        ("go: x: Get https://y: dial tcp: lookup y: no such host\n", "check the network"),
        ("k8s.io/api\ncompile: signal: killed\n", "for want of memory"),
        ("go: verifying x: checksum mismatch\n", "go clean -modcache"),
        ("k8s.io/api\n./node.go:3:5: undefined: x\nk8s.io/other\n", "undefined: x"),
        ("", "Go gave no reason"),
    ],
)
def test_a_failed_build_says_why_and_where_the_log_is(tmp_path: Path, log: str, want: str) -> None:
    """The message is one sentence with the fix."""
    root = Root(tmp_path)
    root.build_log.parent.mkdir()
    root.build_log.write_text(log)
    message = str(build.failure(root))
    assert want in message
    assert str(root.build_log) in message
    assert "\n" not in message


def test_a_full_disk_is_noticed_before_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how much space is needed."""
    monkeypatch.setattr(build, "NEEDED_BYTES", 1 << 60)
    go = toolchain.find(Root(tmp_path))
    with pytest.raises(ClusterError, match="free some space"):
        build.check_space(Root(tmp_path), go or Path("go"))


def test_a_machine_without_go_that_cannot_get_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Go is neither found nor installed, the message says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain, "COMMON_PLACES", ())
    monkeypatch.setattr(toolchain, "REQUIREMENTS", tmp_path / "missing.txt")
    with pytest.raises(ClusterError, match=r"install Go 1\.26\.0 or newer"):
        toolchain.find_or_install(Root(tmp_path), lambda _: None)


def test_a_build_without_its_stamp_is_not_current(tmp_path: Path) -> None:
    """A program without a stamp, or a truncated one, is built again."""
    root = Root(tmp_path)
    root.binary.parent.mkdir()
    root.binary.write_text("program")
    root.binary.chmod(0o755)
    assert not build.is_current(root)
    root.stamp.write_text(f"{build.stamp()} go1.26.8 7\n")
    assert build.is_current(root)
    root.binary.write_text("prog")
    assert not build.is_current(root)
    root.binary.write_text("program")
    root.stamp.write_text(f"{build.stamp()} go1.20 7\n")
    assert not build.is_current(root)


def test_a_changed_source_changes_the_stamp(tmp_path: Path) -> None:
    """Tests are not part of the stamp."""
    for name in ("go.mod", "go.sum", "main.go", "main_test.go"):
        (tmp_path / name).write_text("")
    before = build.stamp(tmp_path)
    (tmp_path / "main_test.go").write_text("changed")
    assert build.stamp(tmp_path) == before
    (tmp_path / "main.go").write_text("changed")
    assert build.stamp(tmp_path) != before


@pytest.mark.parametrize(
    ("text", "want"), [("go1.26.8", (1, 26, 8)), ("go version go1.27rc1 linux/amd64", (1, 27)), ("nonsense", None)]
)
def test_go_versions_are_read(text: str, want: tuple[int, ...] | None) -> None:
    """The input is the output of `go version`."""
    assert toolchain.parse_version(text) == want


def test_the_controller_managers_limit_is_upstreams_unless_set(tmp_path: Path) -> None:
    """The setting is for benchmarks."""
    files = Root(tmp_path).cluster("x")
    plain = parts.arguments("kube-controller-manager", files, {}, {})
    assert not [flag for flag in plain if "qps" in flag]
    assert "--kube-api-qps=500" in parts.arguments("kube-controller-manager", files, {}, {parts.CM_QPS: "500"})


def test_the_controller_manager_runs_all_controllers_unless_told_otherwise(tmp_path: Path) -> None:
    """The proof of the CronJob controller runs that one itself."""
    files = Root(tmp_path).cluster("x")
    assert not [flag for flag in parts.arguments("kube-controller-manager", files, {}, {}) if "controllers" in flag]
    some = parts.arguments("kube-controller-manager", files, {}, {parts.CM_CONTROLLERS: "*,-cronjob-controller"})
    assert "--controllers=*,-cronjob-controller" in some


def node(status: str, heartbeat: str, taints: list[object] | None = None) -> dict[str, object]:
    """Return a Node object."""
    ready = {"type": "Ready", "status": status, "lastHeartbeatTime": f"1970-01-01T00:01:{heartbeat}Z"}
    return {"spec": {"taints": taints}, "status": {"conditions": [ready]}}


@pytest.mark.parametrize(
    ("found", "want"),
    [
        pytest.param({}, False, id="no status yet"),
        pytest.param(node("False", "40"), False, id="not ready"),
        pytest.param(node("True", "39"), False, id="ready, but not heard of since"),
        pytest.param(node("True", "40"), True, id="ready"),
        pytest.param(node("True", "40", [{"key": "x"}]), False, id="tainted"),
    ],
)
def test_a_node_is_schedulable_when_it_is_ready_now(found: dict[str, object], want: bool) -> None:  # noqa: FBT001
    """A heartbeat from before the start does not count."""
    assert health.is_schedulable(found, 100.5) is want


def test_a_bad_cluster_name_is_refused() -> None:
    """The name becomes a folder's name."""
    with pytest.raises(ClusterError, match="is not a valid cluster name"):
        LocalCluster("../elsewhere")
