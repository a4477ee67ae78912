"""Claims about parameters and MACs: Tables 2, 4, 7."""

from __future__ import annotations

from reports.audit import vit_math
from reports.audit.base import Outcome, Reader, Verdict, claim, holds_if

SIZES = ("tiny", "small", "base")


@claim(
    "t7.cut_beyond_macs",
    place="Table 7",
    says="The CP level of 80 % lowers latency through decreased computational complexity",
    formula="latency cut against MAC cut at ratio 0.8, in %",
)
def _(n: Reader) -> Outcome:
    latency = {f"{s} latency %": 100 * (1 - n(f"t7.ecp_vit_{s}.ours") / n(f"t7.vit_{s}.ours")) for s in SIZES}
    macs = {f"{s} MACs %": 100 * (1 - vit_math.macs(s, 0.8) / vit_math.macs(s)) for s in SIZES}
    explained = all(macs[f"{s} MACs %"] >= 0.5 * latency[f"{s} latency %"] for s in SIZES)
    return Outcome(
        latency | macs,
        holds_if(explained, Verdict.UNSUPPORTED),
        "a cut of 7 to 18 % is not explained by 0.2 to 0.6 % fewer MACs",
    )


@claim(
    "t2.macs_ratio",
    place="Table 2",
    says="ECP-ViT needs 1.1 / 4.3 / 16.96 G MACs at its best ratio (0.9)",
    formula="MACs at ratio 0.9, and the ratio that would give the printed MACs",
)
def _(n: Reader) -> Outcome:
    at = {f"{s} at 0.9 G": vit_math.macs(s, 0.9) for s in SIZES}
    ratio = {f"{s} ratio for printed": vit_math.ratio_for_macs(s, n(f"t2.ecp_vit_{s}.macs")) for s in SIZES}
    ok = all(n.agrees(f"t2.ecp_vit_{s}.macs", at[f"{s} at 0.9 G"]) for s in SIZES)
    return Outcome(
        at | ratio,
        holds_if(ok, Verdict.CONFLICT),
        "the printed MACs belong to a ratio of 0.1 or less, the accuracy to 0.9",
    )


@claim(
    "t2.vit_cost",
    place="Table 2",
    says="ViT-S has 22M parameters and 4.62G MACs, ViT-Base 86.6M and 17.6G",
    formula="counted from the architecture",
)
def _(n: Reader) -> Outcome:
    values: dict[str, float] = {}
    for s in ("small", "base"):
        values |= {f"{s} params M": vit_math.params(s), f"{s} MACs G": vit_math.macs(s)}
    ok = all(
        abs(n(f"t2.vit_{s}.{what}") / values[f"{s} {label}"] - 1) < 0.01
        for s in ("small", "base")
        for what, label in (("params", "params M"), ("macs", "MACs G"))
    )
    return Outcome(values, holds_if(ok), "within 1 %")


@claim(
    "t2.ecp_params",
    place="Table 2",
    says="ECP-ViT has 5.83M / 21.7M / 86.5M parameters",
    formula="parameters of ViT-T / S / B; core-periphery attention adds and removes none",
)
def _(n: Reader) -> Outcome:
    values = {f"{s} params M": vit_math.params(s) for s in SIZES}
    ok = all(n.agrees(f"t2.ecp_vit_{s}.params", values[f"{s} params M"]) for s in SIZES)
    return Outcome(
        values,
        holds_if(ok, Verdict.CONFLICT),
        "Tiny is printed 0.11M above and Small 0.35M below a network it equals",
    )


@claim(
    "t2.ltmp",
    place="Table 2",
    says="LTMP (75.4 %, 5.7M) needs 1.5G MACs",
    formula="MACs of the dense ViT-T that it prunes, G",
)
def _(n: Reader) -> Outcome:
    dense = vit_math.macs("tiny")
    return Outcome(
        {"dense ViT-T G": dense}, holds_if(n("t2.ltmp.macs") <= dense), "a pruned model above its dense one"
    )


@claim(
    "t4.params",
    place="Table 4",
    says="ViT-B/16 has 86.55M parameters on TinyImageNet",
    formula="ViT-B with a head of 200 classes, and of 1000, M",
)
def _(n: Reader) -> Outcome:
    values = {f"{c} classes": vit_math.params("base", c) for c in (200, 1000)}
    ok = n.agrees("t4.vit_base.params", values["200 classes"])
    return Outcome(
        values, holds_if(ok, Verdict.CONFLICT), "printed with the 1000-class head (and 0.02M short of it)"
    )


@claim(
    "t4.others_params",
    place="Table 4",
    says="BeiT-B has 86.53M and ConViT-B 86.54M parameters on TinyImageNet",
    formula="against the networks with 1000 classes, M",
)
def _(n: Reader) -> Outcome:
    values = {m: n.external(f"{m}.params") for m in ("beit_base", "convit_base")}
    thousand = all(n.agrees(f"t4.{m}.params", v) for m, v in values.items())
    return Outcome(
        values,
        Verdict.CONFLICT if thousand else Verdict.FALSE,
        "the counts of the 1000-class networks, on 200 classes",
    )


@claim(
    "t4.deit_variant",
    place="Table 4 against Table 2",
    says="DeiT-B/16 has 87.34M parameters (Table 4) and 86.6M (Table 2)",
    formula="DeiT-B plain and distilled, 1000 classes, M",
)
def _(n: Reader) -> Outcome:
    values = {"plain": vit_math.params("base"), "distilled": vit_math.params("base", distilled=True)}
    t4 = n.agrees("t4.deit_base.params", values["distilled"])
    t2 = n.agrees("t2.deit_base.params", values["plain"])
    same = n("t4.deit_base.params") == n("t2.deit_base.params")
    because = (
        "Table 4 is the distilled network, Table 2 the plain one" if t4 and t2 else "two sizes for one name"
    )
    return Outcome(values, holds_if(same, Verdict.CONFLICT), because)


@claim(
    "t4.ecp_params",
    place="Table 4",
    says="ECP-ViT-B/16 has 86.50M parameters, ViT-B/16 86.55M",
    formula="difference in M; core-periphery attention has no parameters",
)
def _(n: Reader) -> Outcome:
    gap = n("t4.vit_base.params") - n("t4.ecp_vit_base.params")
    return Outcome(
        {"difference": gap}, holds_if(gap == 0, Verdict.CONFLICT), "0.05M fewer, with nothing to remove them"
    )
