"""Text as Android's tools print it, to numbers."""

from __future__ import annotations

import math

import pytest

from bench.phones import foreign, parsers

SIMPLEPERF = """Performance counter statistics,
6595722690,cpu-cycles,4.511040,GHz,(100%),
1022843,cache-references,69.957,M/sec,(61%),
48211,cache-misses,4.713441,%,miss rate,(61%),
12,raw-l1d-cache-refill:u,0.001,K/sec,(100%),
Total test time,1.462129,seconds,
"""


def test_simpleperf():
    found = parsers.simpleperf_csv(SIMPLEPERF)
    assert found["cache-misses"] == parsers.Counter("cache-misses", 48211, 0.61)
    assert found["cpu-cycles"].share == 1.0
    assert found["raw-l1d-cache-refill:u"].count == 12


@pytest.mark.parametrize(
    "text", ["", "Performance counter statistics,\n5,cache-misses,", "simpleperf: Permission denied"]
)
def test_simpleperf_cut_off(text):
    with pytest.raises(ValueError, match="no end"):
        parsers.simpleperf_csv(text)


def test_simpleperf_row_without_share():
    found = parsers.simpleperf_csv("7,cache-misses,1,K/sec,\nTotal test time,1,seconds,\n")
    assert math.isnan(found["cache-misses"].share)


THERMAL = """IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 1
Thermal Status: 1
Cached temperatures:
\tTemperature{mValue=99.0, mType=0, mName=CPU0, mStatus=3}
HAL Ready: true
HAL connection:
\tThermalHAL 2.0 connected: yes
Current temperatures from HAL:
\tTemperature{mValue=41.5, mType=0, mName=CPU0, mStatus=0}
\tTemperature{mValue=44.2, mType=1, mName=GPU0, mStatus=0}
\tTemperature{mValue=33.25, mType=3, mName=skin, mStatus=1}
\tTemperature{mValue=0.0, mType=2, mName=second battery, mStatus=0}
\tTemperature{mValue=4200.0, mType=6, mName=vbat, mStatus=0}
\tTemperature{mValue=-5700.0, mType=-1, mName=virtual, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=tz-cpu}
\tTemperature{mValue=88.0, mType=0, mName=wrong, mStatus=3}
"""


def test_thermalservice_reads_only_what_the_hal_says_now():
    found = parsers.thermalservice(THERMAL)
    assert found.celsius == {"cpu:CPU0": 41.5, "gpu:GPU0": 44.2, "skin:skin": 33.25}
    assert (found.status, found.status_name) == (1, "light")


def test_thermalservice_without_hal_has_no_temperature():
    text = (
        "Thermal Status: 0\nCached temperatures:\n\tTemperature{mValue=30.0, mType=0, mName=a, mStatus=0}\n"
    )
    assert parsers.thermalservice(text) == parsers.Thermal(0, {})
    with pytest.raises(ValueError, match="Thermal Status"):
        parsers.thermalservice("Can't find service: thermalservice")


def test_battery():
    text = (
        "Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  Wireless powered: false\n"
        "  Max charging current: 500000\n  status: 2\n  level: 83\n  scale: 100\n  voltage: 4123\n"
        "  temperature: 287\n  technology: Li-ion\n"
    )
    assert parsers.battery(text) == {"level": 83.0, "celsius": 28.7, "charging": True}
    assert parsers.battery(text.replace("USB powered: true", "USB powered: false"))["charging"] is False
    with pytest.raises(ValueError, match="no level"):
        parsers.battery("Can't find service: battery")


MEMINFO = """Applications Memory Usage (in Kilobytes):
Uptime: 1234 Realtime: 1234

** MEMINFO in pid 4242 [ecp-run] **
                   Pss  Private  Private  SwapPss      Rss     Heap     Heap     Heap
                 Total    Dirty    Clean    Dirty    Total     Size    Alloc     Free
                ------   ------   ------   ------   ------   ------   ------   ------
  Native Heap     5120     5100        0        0     6000     8192     5000     3192
    .so mmap      2048      300      900        0     9000
   EGL mtrack     1024     1024        0        0     1024
    GL mtrack   350000   350000        0        0   350000
        TOTAL   365000   360000     2000        0   380000     8192     5000     3192
"""


def test_meminfo():
    found = parsers.meminfo(MEMINFO)
    assert found == {
        "Native Heap": 5120,
        ".so mmap": 2048,
        "EGL mtrack": 1024,
        "GL mtrack": 350000,
        "TOTAL": 365000,
    }
    with pytest.raises(ValueError, match="No process found"):
        parsers.meminfo("No process found for: 4242")


def test_sysfs():
    text = (
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq:1785600\n"
        "/sys/devices/system/cpu/cpu7/cpufreq/scaling_cur_freq:3187200\n"
    )
    assert parsers.cpuinfo_max_khz(text) == {0: 1785600, 7: 3187200}
    assert parsers.kgsl_clock_mhz("680000000\n") == 680.0
    assert parsers.kgsl_clock_mhz("") is None
    assert (parsers.kgsl_celsius("42000\n"), parsers.kgsl_celsius("42"), parsers.kgsl_celsius("?")) == (
        42,
        42,
        None,
    )


def test_getprop_with_a_value_of_two_lines():
    found = parsers.getprop("[ro.a]: [x]\n[ro.b]: [one\ntwo]\n[ro.c]: []\n")
    assert found == {"ro.a": "x", "ro.b": "one\ntwo", "ro.c": ""}


@pytest.mark.parametrize(
    "text",
    [
        "mali0                  1500\n  kctx-0xffffff800f0c1000        700       4242\n  kctx-0x1 800 1\n",
        "mali0                  1500\n  kctx-0xffffff800f0c1000       4242        700\n  kctx-0x1 1 800\n",
    ],
)
def test_mali_in_both_layouts(text):
    assert parsers.mali_gpu_memory(text, 4242) == 700 * 4096
    assert parsers.mali_gpu_memory(text, 99) is None


def test_framework_times():
    mnn = "[ - ] vit.mnn                     max =   13.100 ms  min =   12.000 ms  avg =   12.300 ms\n"
    assert foreign.mnn_times("MNN benchmark\n" + mnn) == foreign.Times(12.3, 12.0, 13.1)
    tnn = "D/tnn: TNN Benchmark time cost: min =   12.0   ms  |  max =   13.1   ms  |  avg =   12.3   ms\n"
    assert foreign.tnn_times(tnn) == foreign.Times(12.3, 12.0, 13.1)
    for parse in (foreign.mnn_times, foreign.tnn_times):
        with pytest.raises(Exception, match="no times"):
            parse("Segmentation fault")
