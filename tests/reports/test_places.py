"""Every kind of record has its place, and no record stands in a place that is not its own."""

import json

import pytest

from reports import measured, profiles
from reports.figures import Missing, length, speed
from reports.site import build as build_site
from reports.site import extras
from reports.site.check import check
from reports.site.pages import device_facts
from reports.speeds import speed_summary
from reports.tables import build, groups
from reports.tables.build import every
from reports.verdicts import Match
from tests.reports import synthetic
from tests.reports.synthetic import BlockRecord, key


def block(
    model,
    backend,
    metric,
    samples=(),
    number=0,
    precision="fp32",
    status="measured",
    reason="",
    device="local",
    **extra,
):
    cell = key(model, backend, metric)
    cell = type(cell)(**{**vars(cell), "precision": precision, "device": device})
    return BlockRecord("r", number, number, cell, status, reason, samples_ms=list(samples), extra=extra)


def times(model, backend, ms, precision="fp32", **extra):
    """Six quiet blocks of a latency."""
    return [
        block(model, backend, "latency", [ms, ms * (1 + i / 1000), ms], i, precision, **extra)
        for i in range(6)
    ]


def profiled(model, backend, layouts, plain=15.0):
    return [
        block(
            model,
            backend,
            "profile",
            [layout],
            i,
            profile=synthetic.profile(layout, plain - layout),
            plain_ms=[plain, plain * 1.2],
        )
        for i, layout in enumerate(layouts)
    ]


def search(folder):
    """As ``tune-baselines`` leaves it: a run per setting."""
    for threads, precision, ms in ((1, "fp32", 9.0), (2, "fp32", 6.0), (2, "fp16", 5.0)):
        synthetic.write_run(
            folder / f"{threads}-{precision}",
            times("vit_tiny", "openvino", ms, precision, threads=threads),
            "latency",
            "20260301",
            command=["bench", "tune-baselines", "--models", "vit_tiny"],
            request={"threads": threads, "precision": precision},
        )


LAUNCHED = {"launches": 12, "miss_rates": {"L1": 1.5, "L2": 24.5, "L3": 61.5}}
CACHE = {
    "source": "callgrind-sim",
    "unit": "%",
    "miss_rates": {"L1": 2.5, "L2": 12.5, "L3": 44.5},
    "counts": {"launches": 62},
    "kernels": {"matmul_a": LAUNCHED},
    "geometry": {"of": "oneplus11"},
}
KERNELS = [
    {
        "kernel": "mm_a",
        "launches": 12,
        "ms": 2.0,
        "gflops": 311.0,
        "gbs": 7.0,
        "of_roofline": 0.72,
        "nodes": [],
    }
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    main = times("vit_tiny", "ecp", 8.0) + times("vit_tiny", "openvino", 10.0)
    synthetic.write_run(folder / "2026-03-01-latency", main, "latency", "20260301")
    search(folder / "2026-03-02-settings")
    tries = [
        block("vit_base@384", "ecp", "limits", [90.0], 0, batch=1, peak_mib=900.0),
        block("vit_base@384", "ecp", "limits", [170.0], 1, batch=2, peak_mib=1700.0),
        block("vit_base@384", "ecp", "limits", (), 2, status="failed", reason="4 GB is too much", batch=4),
        block("vit_base@384", "torch", "limits", [99.0], 3, batch=1),
    ]
    synthetic.write_run(
        folder / "2026-03-03-limits",
        tries,
        "limits",
        "20260303",
        request={"max_batch": 8},
        state="interrupted",
    )
    cache = [block("vit_tiny", "ecp", "cache", [2.5], **CACHE)]
    cache.append(block("vit_base", "ecp", "memory", [400.0], device="other", unit="MiB"))
    synthetic.write_run(folder / "2026-03-04-cache", cache, "cache", "20260304")
    roof = synthetic.roofline_records("o")
    roof.append(block("vit_tiny", "ecp", "roofline", [61.5], 2, unit="%", kernels=KERNELS))
    synthetic.write_run(folder / "2026-03-05-roofline", roof, "roofline", "20260305")
    return measured.load(folder)


@pytest.fixture(scope="module")
def site(store, tmp_path_factory):
    return build_site(store, tmp_path_factory.mktemp("site") / "site")


def test_a_run_in_which_ours_failed_leaves_no_row_to_a_slower_framework(tmp_path):
    """The newest openvino has no ecp beside it: its older cell counts, not torch as the fastest that is left."""
    first = times("m", "ecp", 8.0) + times("m", "openvino", 10.0) + times("m", "torch", 80.0)
    synthetic.write_run(tmp_path / "2026-03-01-latency", first, "latency", "20260301")
    failed = block("m", "ecp", "latency", (), 0, status="unstable", reason="load")
    second = [failed, *times("m", "openvino", 9.0)]
    synthetic.write_run(tmp_path / "2026-03-02-latency", second, "latency", "20260302")
    (row,) = speed_summary(measured.load(tmp_path))
    assert (row["backend"], row["other"], row["ours"]) == ("openvino", "10.00", "8.00")


def test_a_search_for_the_best_setting_stands_in_no_other_table(store):
    (cell,) = store.find(model="vit_tiny", backend="openvino", metric="latency")
    assert (cell.value, cell.run) == (pytest.approx(10.0, rel=0.01), "2026-03-01-latency")
    assert [(r["other"], r["ratio"]) for r in speed_summary(store)] == [("10.00", "1.25")]
    assert groups(store) == [("local", "fp32"), ("other", "fp32")]
    (grid,) = (g for g in extras.grids(store, "local") if g["id"] == "settings")
    assert grid["backends"] == ["threads=1", "threads=2"]
    fp32, fp16 = grid["rows"]
    assert [(c["text"], c["best"]) for c in fp32["cells"]] == [("9.00", False), ("6.00", True)]
    assert fp16["note"] == "openvino, fp16" and [c["text"] for c in fp16["cells"]] == ["", "5.00"]


def test_a_device_without_anything_of_a_table_gets_none(tmp_path):
    """A simulated cache of a model that Table 6 does not have brings no empty tables and no list of gaps."""
    records = times("vit_tiny", "ecp", 8.0)
    synthetic.write_run(tmp_path / "2026-03-01-a", records, "latency", "20260301")
    other = [block("vit_tiny", "ecp", "cache", [2.5], precision="fp16", **CACHE)]
    synthetic.write_run(tmp_path / "2026-03-02-b", other, "cache", "20260302")
    store = measured.load(tmp_path)
    assert groups(store) == [("local", "fp32"), ("local", "fp16")]
    built = [(t.paper.id, t.precision) for t in every(store) if t.device]
    assert built == [("t1", "fp32"), ("t6", "fp32"), ("t7", "fp32")]
    assert {t.precision for t in every(store, "local") if t.device} == {"fp32", "fp16"}


def test_a_figure_that_another_device_has_is_no_gap_of_the_overview(site):
    gaps = (site.folder / "index.html").read_text().partition('id="gaps"')[2]
    assert "Ablation" in gaps and "Latency on" not in gaps
    assert len({line for line in gaps.splitlines() if "<b>Ablation" in line}) == 1


def test_threads_that_everybody_gets_are_no_setting_and_others_are(tmp_path):
    for day, threads in (("01", 2), ("02", 1), ("03", None)):
        synthetic.write_run(
            tmp_path / f"2026-04-{day}-x",
            times("vit_tiny", "mnn", 5.0, threads=threads),
            "latency",
            f"202604{day}",
            request={"threads": threads},
        )
    assert [c.variant for c in measured.load(tmp_path).cells] == ["", "threads=1", ""]


def test_settings_in_a_file_of_cells_are_variants_too(tmp_path):
    row = {"device": "local", "backend": "ecp", "model": "vit_tiny", "precision": "fp32", "metric": "latency"}
    row |= {"status": "measured", "value": 9.0}
    rows = [
        {**row, "extra": {"threads": 1, "best": False}},
        {**row, "extra": {"options": {"ecp.fuse": "false"}}},
    ]
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "cells.json").write_text(json.dumps(rows))
    (tmp_path / "x" / "search.json").write_text(
        json.dumps({"request": {}, "state": "complete", "done": {"fp32, 2 threads": [row]}})
    )
    store = measured.load(tmp_path)
    assert sorted(c.variant for c in store.cells) == ["", "fuse=off", "threads=1"]
    assert store.runs[0].findings == []


def test_a_climb_that_was_stopped_has_no_largest_batch(store):
    done, stopped = (store.find(metric="limits", backend=b)[0] for b in ("ecp", "torch"))
    assert (done.value, done.extra["first_failure"]["batch"], done.extra["peak_mib"]) == (2.0, 4, 1700.0)
    assert (stopped.status, stopped.value) == ("not-run", None) and "--resume" in stopped.reason
    (grid,) = (g for g in extras.grids(store, "local") if g["id"].startswith("limits"))
    assert [c["text"] for c in grid["rows"][0]["cells"]] == ["2", "not-run"]
    assert grid["rows"][0]["cells"][0]["sub"] == "4: 4 GB is too much" and grid["rows"][0]["cells"][0]["best"]


def test_a_device_says_its_processor_as_the_harness_records_it(tmp_path):
    readings = {
        "cpu": {"value": {"model": "Invented 9000"}, "source": "x"},
        "cpus": {"value": 2, "source": "y"},
    }
    synthetic.write_run(
        tmp_path / "2026-03-01-a",
        times("vit_tiny", "ecp", 8.0),
        "latency",
        "20260301",
        environment=readings,
        host={},
    )
    facts = dict(device_facts(measured.load(tmp_path), "local"))
    assert (facts["Processor"], facts["Processors"]) == ("Invented 9000", "2")


def test_pages_have_limits_settings_kernels_and_misses(site):
    assert check(site.folder) == []
    device = (site.folder / "devices" / "local.html").read_text()
    for said in ("Largest batch", "Settings tried", "openvino, fp16", "4 GB is too much", "400 GFLOP/s"):
        assert said in device
    model = (site.folder / "models" / "vit_tiny.html").read_text()
    for said in (
        "Kernels against the roof",
        "311.0",
        "72.0",
        "Cache misses",
        "44.50",
        "simulated, not counted",
    ):
        assert said in model
    data = {p.name for p in (site.folder / "data").iterdir()}
    assert {"cache-vit_tiny-ecp-fp32-local.csv", "roofline-vit_tiny-ecp-fp32-local.csv"} <= data


def two_runs(folder, first, second):
    synthetic.write_run(folder / "2026-05-01-a", first, "latency", "20260501")
    synthetic.write_run(folder / "2026-05-02-b", second, "latency", "20260502")
    return measured.load(folder)


def test_a_direction_is_taken_inside_one_run(tmp_path):
    """The second run's machine is three times as slow: MNN there is slower than ecp in the first, and says nothing."""
    ours, mnn = times("vit_tiny", "ecp", 8.0), times("vit_tiny", "mnn", 15.0)
    store = two_runs(tmp_path / "both", ours + mnn, times("vit_tiny", "ecp", 24.0))
    cells = build("t7", store, "local", "fp32").cells
    assert cells["vit_tiny", "ours"].found.value == pytest.approx(24, rel=0.01)
    assert cells["vit_tiny", "mnn"].judged.match == Match.DIRECTION
    assert cells["vit_tiny", "speedup"].found.value == pytest.approx(15 / 8, rel=0.01)
    far = two_runs(tmp_path / "far", ours, times("vit_tiny", "mnn", 45.0))
    judged = build("t7", far, "local", "fp32").cells["vit_tiny", "mnn"].judged
    assert judged.match == Match.DIRECTION and "Ours (ms) of another run" in judged.why
    apart = two_runs(tmp_path / "apart", ours, times("vit_tiny", "mnn", 15.9))
    cells = build("t7", apart, "local", "fp32").cells
    judged = cells["vit_tiny", "mnn"].judged
    assert judged.match == Match.NOT_COMPARABLE and "not measured in the same run" in judged.why
    assert cells["vit_tiny", "speedup"].judged.match == Match.NOT_MEASURED


def test_a_profiles_parts_have_the_spread_of_its_blocks(tmp_path):
    records = profiled("vit_base", "mnn", [4.0, 4.5, 5.0, 5.0, 5.5, 6.0])
    records += profiled("deit_base", "mnn", [4.5, 5.0, 5.5, 5.5, 6.0, 6.5])
    synthetic.write_run(tmp_path / "2026-05-01-p", records, "profile", "20260501")
    cells = build("t1", measured.load(tmp_path), "local", "fp32").cells
    assert (cells["vit_base", "layout"].found.value, cells["vit_base", "layout"].found.interval) == (
        5.0,
        (4, 6),
    )
    # Two copies of one network, so whatever lies between them says nothing.
    assert cells["deit_base", "layout"].judged.match == Match.SAME_NETWORK
    assert "level with" in cells["deit_base", "layout"].judged.why
    synthetic.write_run(tmp_path / "one" / "2026-05-01-p", records[:1], "profile", "20260501")
    (cell,) = measured.load(tmp_path / "one").cells
    assert profiles.part(cell, "layout_ms") == (4.0, (pytest.approx(4.0), pytest.approx(4.8)))


def test_lengths_of_different_runs_are_not_one_line(tmp_path):
    sides = {"": 10.0, "@384": 30.0, "@512": 60.0}
    dense = [r for s, ms in sides.items() for r in times(f"vit_small{s}", "ecp", ms)]
    pruned = [r for s, ms in sides.items() for r in times(f"ecp_vit_small@0.1{s}", "ecp", ms)]
    apart = two_runs(tmp_path / "apart", dense, pruned)
    assert isinstance(length.against_length(apart, "local", "fp32"), Missing)
    figure = length.against_length(two_runs(tmp_path / "both", dense + pruned, []), "local", "fp32")
    assert {r["relative"] for r in figure.rows} == {1.0} and len(figure.rows) == 6


def test_ablation_divides_by_the_whole_compiler_of_its_own_run(tmp_path):
    folder = tmp_path / "2026-05-01-ablation"
    for name, off, plain in (("1-all", {}, 10.0), ("2-fuse", {"ecp.fuse": "false"}, 15.0)):
        extra = {"options": off, "plain_ms": [plain], "profile": synthetic.profile(0.0, plain)}
        records = [block("vit_tiny", "ecp", "profile", [0.0], i, **extra) for i in range(3)]
        synthetic.write_run(folder / name, records, "profile", "20260501")
    later = times("vit_tiny", "ecp", 30.0) + profiled("vit_tiny", "ecp", [0.0, 0.0], 30.0)
    synthetic.write_run(tmp_path / "2026-05-02-slow", later, "profile", "20260502")
    figure = speed.ablation(measured.load(tmp_path), "local", "fp32")
    (row,) = figure.rows
    assert (row["off"], row["slower_by"], row["low"], row["high"]) == ("fuse", 1.5, 1.5, 1.5)
    assert "compare two runs" not in figure.caption
    (folder / "1-all" / "records.jsonl").unlink()
    figure = speed.ablation(measured.load(tmp_path), "local", "fp32")
    assert "1 of 1 compare two runs" in figure.caption and figure.rows[0]["slower_by"] < 1
