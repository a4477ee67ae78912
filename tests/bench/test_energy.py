"""Energy counters: a made-up powercap tree, wrap-around, and a reason wherever there is no number."""

import pytest

from bench import energy, measure
from bench.protocol import Request


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "SYS", tmp_path)

    def write(name, label, value, span=1_000_000):
        folder = tmp_path / "class/powercap" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in (("name", label), ("energy_uj", value), ("max_energy_range_uj", span)):
            (folder / file).write_text(f"{content}\n")
        return folder

    return write


def test_packages_are_summed_and_their_parts_are_not(tree):
    tree("intel-rapl:0", "package-0", 1000)
    tree("intel-rapl:1", "package-1", 500)
    tree("intel-rapl:2", "psys", 0)
    tree("intel-rapl:0:0", "core", 100)
    before = energy.read()
    tree("intel-rapl:0", "package-0", 41_000)
    tree("intel-rapl:1", "package-1", 10_500)
    tree("intel-rapl:2", "psys", 90_000)
    found = energy.between(before, energy.read(), inferences=10)
    assert found["value"] == pytest.approx(4.0 + 1.0)
    assert found["domains"] == {"package-0": 4.0, "package-1": 1.0, "psys": 9.0}
    assert (found["unit"], found["source"]) == ("mJ", "rapl")


def test_a_counter_that_wrapped_is_put_right(tree):
    tree("intel-rapl:0", "package-0", 999_000)
    before = energy.read()
    tree("intel-rapl:0", "package-0", 999)
    assert energy.between(before, energy.read(), 1)["value"] == pytest.approx(2.0)


def test_without_counters_there_is_a_reason_and_no_number(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "is_virtual", lambda: True)
    found = energy.between(energy.read(), energy.read(), 5)
    assert found["value"] is None and "virtual machine" in found["reason"] and "powercap" in found["reason"]
    monkeypatch.setattr(energy, "is_virtual", lambda: False)
    assert "driver" in energy.read()["reason"]
    (tmp_path / "class/powercap").mkdir(parents=True)
    assert "no RAPL domain" in energy.read()["reason"]
    folder = tree("intel-rapl:0", "package-0", "garbage")
    assert "energy_uj" in energy.read()["reason"]

    def refuse(self):
        raise PermissionError

    monkeypatch.setattr(
        type(folder), "read_text", lambda self: "package-0" if self.name == "name" else refuse(self)
    )
    assert "root" in energy.read()["reason"]


def test_a_domain_that_vanishes_is_not_zero(tree):
    tree("intel-rapl:0", "package-0", 1)
    found = energy.between(energy.read(), {"domains": {}}, 1)
    assert found["value"] is None and "disappeared" in found["reason"]


class Idle:
    def execute(self):
        pass


def test_every_latency_block_says_what_it_knows_of_energy(tree):
    request = Request(
        "latency", "ecp", "m", "0", "o", "i", "r", min_samples=5, min_seconds=0.01, warmup_seconds=0.1
    )
    found = measure.latency(request, measure.Session(Idle(), 0, 0))
    assert found["extra"]["energy"]["value"] is None and found["extra"]["energy"]["reason"]
    tree("intel-rapl:0", "package-0", 1)
    found = measure.latency(request, measure.Session(Idle(), 0, 0))
    assert found["extra"]["energy"]["value"] == 0.0
