"""Claims about latency and speedup: Tables 1, 6, 7, Figure 1 and the sentences that quote them."""

from __future__ import annotations

from reports.audit.base import Outcome, Reader, Verdict, claim, geomean, holds_if, mean

SIZES = ("tiny", "small", "base")
OTHERS = ("tnn", "tvm", "mnn")


def _ratios(n: Reader, row: str, frameworks: tuple[str, ...] = ("tvm", "mnn")) -> list[float]:
    ours = n(f"t7.{row}.ours")
    return [n(f"t7.{row}.{f}") / ours for f in frameworks]


@claim(
    "t7.average.vanilla",
    place="Table 7; Section 4.3",
    says="Average speedup on vanilla ViTs is 4.8 / 4.9 / 5.3 over the other frameworks",
    formula="mean over TVM, MNN of other / ours, for tiny, small, base",
)
def _(n: Reader) -> Outcome:
    values = {s: mean(_ratios(n, f"vit_{s}")) for s in SIZES}
    values["tiny with TNN"] = mean(_ratios(n, "vit_tiny", OTHERS))
    ok = all(n.agrees(f"t7.vit_{s}.speedup", values[s]) for s in SIZES)
    return Outcome(
        values,
        holds_if(ok),
        "arithmetic means over TVM and MNN; TNN, which runs ViT-tiny, is left out without a word: "
        f"with it tiny would be {values['tiny with TNN']:.2f}",
    )


@claim(
    "t7.average.ecp",
    place="Table 7",
    says="Average speedup on ECP-ViTs is 16.1 / 16.0 / 10.6 over the other frameworks",
    formula="mean over TVM, MNN of other / ours; geometric mean beside it",
)
def _(n: Reader) -> Outcome:
    values = {s: mean(_ratios(n, f"ecp_vit_{s}")) for s in SIZES}
    geo = {f"{s} geometric": geomean(_ratios(n, f"ecp_vit_{s}")) for s in SIZES}
    ok = all(n.agrees(f"t7.ecp_vit_{s}.speedup", values[s]) for s in SIZES)
    return Outcome(
        values | geo, holds_if(ok), "arithmetic means of ratios, which TVM's one slow column dominates"
    )


@claim(
    "s43.within_framework",
    place="Section 4.3",
    says="ECP-ViT is 10.6x to 16.1x faster compared to vanilla ViT within our framework",
    formula="ours(ViT) / ours(ECP-ViT)",
)
def _(n: Reader) -> Outcome:
    values = {s: n(f"t7.vit_{s}.ours") / n(f"t7.ecp_vit_{s}.ours") for s in SIZES}
    low, high = n("latency.ecp.min"), n("latency.ecp.max")
    ok = min(values.values()) >= low * 0.95 and max(values.values()) <= high * 1.05
    return Outcome(
        values, holds_if(ok), "the quoted range is the average over other frameworks, under another label"
    )


@claim(
    "s43.range",
    place="Abstract; Section 4.3",
    says="ECP-ViT outperforms other frameworks by 4.6x to 26.9x",
    formula="min and max over models and frameworks of other / ours on ECP-ViT",
)
def _(n: Reader) -> Outcome:
    every = [r for s in SIZES for r in _ratios(n, f"ecp_vit_{s}")]
    tvm = {f"TVM slowed by the CP graph, {s}": n(f"t7.ecp_vit_{s}.tvm") / n(f"t7.vit_{s}.tvm") for s in SIZES}
    ok = n.agrees("latency.others.min", min(every)) and n.agrees("latency.others.max", max(every))
    return Outcome(
        {"min": min(every), "max": max(every), **tvm},
        holds_if(ok and n("abstract.speedup.max") == n("latency.others.max")),
        "min is Base on MNN, max is Small on TVM; the baselines run the CP graph, which slows TVM by "
        + " / ".join(f"{v:.1f}" for v in tvm.values())
        + "x",
    )


@claim(
    "fair.best_vanilla",
    place="Table 7 (not stated by the paper)",
    says="The fair question: best other framework on the vanilla model against ECP-ViT in ours",
    formula="min over frameworks of other(ViT) / ours(ECP-ViT)",
)
def _(n: Reader) -> Outcome:
    best = {
        "tiny": min(n(f"t7.vit_tiny.{f}") for f in OTHERS),
        "small": min(n(f"t7.vit_small.{f}") for f in OTHERS[1:]),
        "base": min(n(f"t7.vit_base.{f}") for f in OTHERS[1:]),
    }
    values = {s: best[s] / n(f"t7.ecp_vit_{s}.ours") for s in SIZES}
    return Outcome(
        values, Verdict.UNSUPPORTED, "not stated by the paper; its own numbers give 3.6x to 5.7x, not 26.9x"
    )


@claim(
    "t7.one_pair_two_claims",
    place="Section 1, contributions; Abstract",
    says="'up to 16.1x' in the contributions, 'up to 26.9x' in abstract and conclusion",
    formula="largest other / ours on ECP-ViT; largest average of a row",
)
def _(n: Reader) -> Outcome:
    top = max(r for s in SIZES for r in _ratios(n, f"ecp_vit_{s}"))
    average = max(mean(_ratios(n, f"ecp_vit_{s}")) for s in SIZES)
    same = n.agrees("contrib.speedup", top)
    n("conclusion.speedup")
    return Outcome(
        {"largest ratio": top, "largest row average": average},
        holds_if(same, Verdict.CONFLICT),
        "two different 'up to': 16.1 is a row's average, 26.9 a single pair",
    )


@claim(
    "t6.ecp_latency",
    place="Table 6 against Table 7",
    says="ECP-ViT (Base) takes 99.84 ms (Table 6); ECP-ViT-base takes 122.8 ms (Table 7)",
    formula="Table 7 / Table 6 - 1, in %",
)
def _(n: Reader) -> Outcome:
    apart = 100 * (n("t7.ecp_vit_base.ours") / n("t6.ecp_vit_base.latency") - 1)
    return Outcome(
        {"apart %": apart}, holds_if(apart < 5, Verdict.CONFLICT), "one model, one phone, two latencies"
    )


@claim(
    "t6.vit_latency",
    place="Table 6 against Table 7",
    says="ViT-Base takes 421.25 ms (Table 6)",
    formula="nearest ViT-base latency of Table 7; Table 6's speedup and memory change",
)
def _(n: Reader) -> Outcome:
    here = n("t6.vit_base.latency")
    table7 = {f: n(f"t7.vit_base.{f}") for f in ("tvm", "mnn", "ours")}
    nearest = min(table7.values(), key=lambda v: abs(v - here))
    values = {
        "nearest in Table 7 (ms)": nearest,
        "speedup": here / n("t6.ecp_vit_base.latency"),
        "memory %": 100 * (n("t6.ecp_vit_base.memory") / n("t6.vit_base.memory") - 1),
    }
    ok = abs(nearest / here - 1) < 0.05
    return Outcome(
        values, holds_if(ok, Verdict.CONFLICT), "matches none of Table 7's 131.9 / 610.3 / 780.3 ms"
    )


@claim(
    "t6.cache",
    place="Table 6",
    says="ECP-ViT lowers the cache miss rates",
    formula="ECP-ViT / ViT-Base - 1 per level, in %",
)
def _(n: Reader) -> Outcome:
    values = {
        lv.upper(): 100 * (n(f"t6.ecp_vit_base.{lv}") / n(f"t6.vit_base.{lv}") - 1)
        for lv in ("l1", "l2", "l3")
    }
    return Outcome(
        values,
        holds_if(all(v < 0 for v in values.values())),
        "lower at each level, by half a percent at L3; one run, no spread",
    )


@claim(
    "f1.six_times",
    place="Figure 1",
    says="ECP-ViT-Base is 6x faster than ViT-Base",
    formula="ViT-Base / ECP-ViT-Base for three pairs that could be meant",
)
def _(n: Reader) -> Outcome:
    ecp6, ecp7 = n("t6.ecp_vit_base.latency"), n("t7.ecp_vit_base.ours")
    values = {
        "MNN / Table 6 ECP": n("t7.vit_base.mnn") / ecp6,
        "TVM / Table 7 ECP": n("t7.vit_base.tvm") / ecp7,
        "MNN / Table 7 ECP": n("t7.vit_base.mnn") / ecp7,
    }
    rounds = [n.agrees("f1.faster", v) for v in values.values()]
    verdict = Verdict.HOLDS if all(rounds) else Verdict.DEPENDS if any(rounds) else Verdict.FALSE
    return Outcome(values, verdict, "6 only for some of the pairs; the pair is not stated")


@claim(
    "f1.fastest",
    place="Figure 1 caption",
    says="ECP-ViT-Base offers the fastest inference speed among transformer-based models",
    formula="ours(ECP-ViT-base) against ours(every other transformer of Table 7), ms",
)
def _(n: Reader) -> Outcome:
    rows = [f"{p}vit_{s}" for p in ("", "ecp_") for s in SIZES]
    ours = {r: n(f"t7.{r}.ours") for r in rows}
    faster = [r for r in rows if ours[r] < ours["ecp_vit_base"]]
    values = {"ECP-ViT-base (ms)": ours["ecp_vit_base"], "fastest (ms)": min(ours.values())}
    return Outcome(
        values,
        holds_if(not faster),
        f"Table 7 has {len(faster)} faster transformers, ECP-ViT-tiny among them",
    )


@claim(
    "t1.framework",
    place="Table 1 against Table 7",
    says="ViT-Base takes 324 ms in transformations and 286 ms in computation",
    formula="324 + 286 against Table 7's ViT-base",
)
def _(n: Reader) -> Outcome:
    total = n("t1.vit_base.layout") + n("t1.vit_base.compute")
    near = abs(total / n("t7.vit_base.mnn") - 1) < 0.005
    return Outcome(
        {"sum (ms)": total, "MNN in Table 7 (ms)": n("t7.vit_base.mnn")},
        holds_if(near),
        "the sum is MNN's latency in Table 7: Table 1 is MNN's, which the paper does not say",
    )


@claim(
    "t1.deit_total",
    place="Table 1",
    says="DeiT-Base takes 1936 ms where ViT-Base takes 610 ms",
    formula="sum of the two parts, DeiT / ViT",
)
def _(n: Reader) -> Outcome:
    deit = n("t1.deit_base.layout") + n("t1.deit_base.compute")
    vit = n("t1.vit_base.layout") + n("t1.vit_base.compute")
    return Outcome(
        {"DeiT (ms)": deit, "ViT (ms)": vit, "ratio": deit / vit},
        Verdict.CONFLICT,
        "DeiT-B/16 without distillation is ViT-B/16's network: another export or the distilled variant",
    )


@claim(
    "s1.share.vit",
    place="Section 1 against Table 1",
    says="Data transformation is 43 % of the execution time in ViT",
    formula="layout / (layout + computation) of Table 1, in %",
)
def _(n: Reader) -> Outcome:
    share = {
        m: 100 * n(f"t1.{m}.layout") / (n(f"t1.{m}.layout") + n(f"t1.{m}.compute"))
        for m in ("vit_base", "deit_base")
    }
    ok = n.agrees("intro.share.vit", share["vit_base"])
    return Outcome(
        {"ViT %": share["vit_base"], "DeiT %": share["deit_base"]},
        holds_if(ok, Verdict.CONFLICT),
        "Table 1 gives 53 % for ViT-Base",
    )


@claim(
    "s1.share.others",
    place="Section 1",
    says="Data transformation is 69 % of the execution time in Swin and 0.8 % in VGG16",
    formula="no table of the paper has the two models",
)
def _(n: Reader) -> Outcome:
    values = {"Swin %": n("intro.share.swin"), "VGG16 %": n("intro.share.vgg16")}
    return Outcome(values, Verdict.UNSUPPORTED, "printed once, without framework, model size or times")


@claim(
    "t7.real_time",
    place="Section 4.3",
    says="Real time (30 frames per second) for small and tiny ECP-ViT",
    formula="1000 / ours(ECP-ViT), frames per second; vanilla beside it",
)
def _(n: Reader) -> Outcome:
    ecp = {f"ECP {s}": 1000 / n(f"t7.ecp_vit_{s}.ours") for s in ("tiny", "small")}
    vanilla = {f"vanilla {s}": 1000 / n(f"t7.vit_{s}.ours") for s in ("tiny", "small")}
    return Outcome(
        ecp | vanilla,
        holds_if(min(ecp.values()) >= n("latency.fps")),
        "vanilla ViT-tiny is also above 30 in the same framework, vanilla small just below",
    )


@claim(
    "t7.tvm_slower",
    place="Section 4.3",
    says="TVM exhibits even higher latency for ECP-ViT",
    formula="other(ECP-ViT) / other(ViT)",
)
def _(n: Reader) -> Outcome:
    tvm = {f"TVM {s}": n(f"t7.ecp_vit_{s}.tvm") / n(f"t7.vit_{s}.tvm") for s in SIZES}
    mnn = {f"MNN {s}": n(f"t7.ecp_vit_{s}.mnn") / n(f"t7.vit_{s}.mnn") for s in SIZES}
    return Outcome(
        tvm | mnn,
        holds_if(min(tvm.values()) > 1),
        "TVM does; MNN gets faster on the same graph, by 5 to 18 %",
    )
