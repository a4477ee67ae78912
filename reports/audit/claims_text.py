"""Claims that stand in sentences: what is said across models, data sets and figures."""

from __future__ import annotations

from reports.audit import vit_math
from reports.audit.base import Outcome, Reader, Verdict, claim, holds_if


@claim(
    "s1.speedup_with_accuracy",
    place="Section 1, contributions",
    says="Up to 16.1x on ImageNet inference while maintaining an accuracy of 84.51 %",
    formula="the model whose speedup is 16.1 against the model whose accuracy is 84.51",
)
def _(n: Reader) -> Outcome:
    sizes = ("tiny", "small", "base")
    fastest = max(sizes, key=lambda s: n(f"t7.ecp_vit_{s}.speedup"))
    accurate = next(s for s in sizes if n(f"t3.ecp_vit_{s}.0.8") == n("contrib.accuracy"))
    values = {
        f"top-1 of {fastest} (the 16.1x) %": n(f"t3.ecp_vit_{fastest}.0.8"),
        f"speedup of {accurate} (the 84.51 %)": n(f"t7.ecp_vit_{accurate}.speedup"),
    }
    return Outcome(
        values,
        holds_if(fastest == accurate, Verdict.MIXES),
        f"16.1x is {fastest.title()}, 84.51 % is {accurate.title()}, whose average is 10.6x",
    )


@claim(
    "abstract.four_datasets",
    place="Abstract",
    says="4.6x to 26.9x on mobile GPUs across four datasets",
    formula="data sets among the conditions of Table 7",
)
def _(n: Reader) -> Outcome:
    keys = n.published("t7.ecp_vit_small.ours").conditions
    count = 1.0 if "dataset" in keys else 0.0
    return Outcome(
        {"data sets in Table 7": count, "claimed": n("abstract.datasets")},
        holds_if(count > 0, Verdict.UNSUPPORTED),
        "Table 7 has no data-set dimension; latency does not depend on the images",
    )


@claim(
    "s1.swin_flops",
    place="Section 1",
    says="Despite having fewer FLOPs, Swin-T is more than 3x slower than ViT-T",
    formula="MACs of Swin-T against MACs of ViT-T, G",
)
def _(n: Reader) -> Outcome:
    swin, vit = n.external("swin_tiny.macs"), vit_math.macs("tiny")
    n("intro.swin_slower")
    return Outcome(
        {"Swin-T G": swin, "ViT-T G": vit}, holds_if(swin < vit), "Swin-T has 3.6 times ViT-T's MACs"
    )


@claim(
    "s1.peak_use",
    place="Section 1 with Table 7",
    says="The OnePlus 11's GPU has a peak over 3 TFLOP/s",
    formula="2 x MACs / latency of ours, as a share of 3 TFLOP/s",
)
def _(n: Reader) -> Outcome:
    values = {
        f"{s}, % of peak": 100 * 2 * vit_math.macs(s) / n(f"t7.vit_{s}.ours") / n("intro.peak")
        for s in vit_math.WIDTH
    }
    return Outcome(
        values,
        Verdict.UNSUPPORTED,
        "cited from a comparison site; at the published latencies under a tenth of it is used",
    )


@claim(
    "t3.best_is_ecp",
    place="Section 5",
    says="ECP-ViT not only reduces computational size but also improves prediction accuracy",
    formula="best ECP-ViT accuracy of Table 3 minus the accuracy at ratio 1.0, points",
)
def _(n: Reader) -> Outcome:
    ratios = [f"0.{i}" for i in range(1, 10)]
    values: dict[str, float] = {}
    for size in ("tiny", "small", "base"):
        best = max(n(f"t3.ecp_vit_{size}.{r}") for r in ratios)
        values[size] = best - n(f"t3.ecp_vit_{size}.1.0")
    return Outcome(
        values,
        holds_if(min(values.values()) > 0, Verdict.MIXES),
        "true for Base only; Tiny and Small lose at every ratio",
    )


@claim(
    "s32.cores",
    place="Section 3.2",
    says="224 px and 16 px patches give 196 tokens; a ratio of 10 % makes around 20 cores",
    formula="(224 / 16)^2; round(0.1 x 196)",
)
def _(n: Reader) -> Outcome:
    tokens = (n("cp.image") / n("cp.patch")) ** 2
    cores = vit_math.core_tokens(n("cp.ratio") / 100) - 1
    ok = tokens == n("cp.tokens") and cores == n("cp.cores")
    return Outcome(
        {"tokens": tokens, "cores": cores}, holds_if(ok), "19.6 rounds to 20; the class token is not counted"
    )


@claim(
    "s32.nodes",
    place="Section 3.2",
    says="A graph of 5 nodes has 40, 39, 39, 39 and 39 patches",
    formula="196 mod n nodes get floor(196 / n) + 1, the others floor(196 / n)",
)
def _(n: Reader) -> Outcome:
    split = vit_math.patches_per_node(int(n("nodes.example.n")), int(n("nodes.tokens")))
    ok = split == [n(f"nodes.example.{i}") for i in range(1, 6)]
    return Outcome(
        {f"node {i}": p for i, p in enumerate(split, 1)}, holds_if(ok), "the rule gives these numbers"
    )


@claim(
    "s41.frameworks",
    place="Section 4.1 against Tables 1, 6",
    says="Latency is compared against MNN, TNN and TVM on the GPU in 16 bit",
    formula="frameworks named beside Tables 1 and 6",
)
def _(n: Reader) -> Outcome:
    named = sum(
        n.published(i).conditions["framework"] != "not stated"
        for i in ("t1.vit_base.layout", "t6.vit_base.latency")
    )
    return Outcome(
        {"tables that name their framework": float(named), "of": 2.0},
        holds_if(named == 2, Verdict.UNSUPPORTED),
        "Tables 1 and 6 name neither the framework nor, for Table 6, the device",
    )
