"""Claims about accuracy: Tables 2-5 and Section 4.2."""

from __future__ import annotations

from reports.audit import vit_math
from reports.audit.base import Outcome, Reader, Verdict, claim, holds_if

SIZES = ("tiny", "small", "base")
RATIOS = [f"0.{i}" for i in range(1, 10)]


@claim(
    "s42.base_better",
    place="Section 4.2",
    says="ECP-ViT-Base beats ViT-Base at ratios 0.7, 0.8 and 0.9, by 0.73 % at 0.9",
    formula="accuracy at the ratio minus accuracy at 1.0, points",
)
def _(n: Reader) -> Outcome:
    base = n("t3.ecp_vit_base.1.0")
    values = {f"at {r}": n(f"t3.ecp_vit_base.{r}") - base for r in ("0.6", "0.7", "0.8", "0.9")}
    ok = min(values[f"at {r}"] for r in ("0.7", "0.8", "0.9")) > 0 and n.agrees(
        "accuracy.gain", values["at 0.9"]
    )
    return Outcome(values, holds_if(ok), "as printed; one run, no error bars")


@claim(
    "s42.small_drop",
    place="Section 4.2",
    says="For Small and Tiny the drop in accuracy is minimal",
    formula="accuracy at the ratio minus accuracy at 1.0, points",
)
def _(n: Reader) -> Outcome:
    values: dict[str, float] = {}
    for size in ("tiny", "small"):
        base = n(f"t3.ecp_vit_{size}.1.0")
        values |= {f"{size} at {r}": n(f"t3.ecp_vit_{size}.{r}") - base for r in ("0.9", "0.8")}
    return Outcome(
        values,
        Verdict.DEPENDS,
        "'best ratio' leaves out 1.0, where both are best; at 0.8, Table 7's ratio, up to 0.78 is lost",
    )


@claim(
    "t2.best_ratio",
    place="Table 2 against Table 3",
    says="Table 2's ECP-ViT accuracies are those of the best core ratio",
    formula="max over ratios below 1.0 in Table 3",
)
def _(n: Reader) -> Outcome:
    values = {s: max(n(f"t3.ecp_vit_{s}.{r}") for r in RATIOS) for s in SIZES}
    ok = all(n.agrees(f"t2.ecp_vit_{s}.top1", values[s]) for s in SIZES)
    vit = n.agrees("t2.vit_small.top1", n("t3.ecp_vit_small.1.0")) and n.agrees(
        "t2.vit_base.top1", n("t3.ecp_vit_base.1.0")
    )
    return Outcome(values, holds_if(ok and vit), "all three are ratio 0.9; ViT-S and ViT-Base are ratio 1.0")


@claim(
    "t2.conditions",
    place="Tables 2 and 7",
    says="Accuracy, MACs and latency of ECP-ViT are shown as one model's",
    formula="ratio behind each column: accuracy, MACs (from vit_math), latency",
)
def _(n: Reader) -> Outcome:
    ratio = vit_math.ratio_for_macs("small", n("t2.ecp_vit_small.macs"))
    n("t2.ecp_vit_base.top1")
    values = {"accuracy at": 0.9, "MACs at": ratio, "latency at": n("t7.caption.level") / 100}
    return Outcome(values, Verdict.NOT_COMPARABLE, "three different core ratios: not one model")


@claim(
    "t2.small_competitive",
    place="Table 2",
    says="ECP-ViT is competitive with self-attention in a complete graph",
    formula="ECP-ViT minus ViT of the same size, points",
)
def _(n: Reader) -> Outcome:
    values = {s: n(f"t2.ecp_vit_{s}.top1") - n(f"t2.vit_{s}.top1") for s in ("small", "base")}
    return Outcome(
        values, holds_if(min(values.values()) > -0.5), "within half a point; vanilla ViT-T has no row"
    )


@claim(
    "t2.pvt_large",
    place="Table 2",
    says="PVT-Large has 82.0M parameters, 11.84G MACs and 83.8 %",
    formula="against PVT's and PVTv2's own papers",
)
def _(n: Reader) -> Outcome:
    printed = (n("t2.pvt_large.params"), n("t2.pvt_large.top1"))
    own = (n.external("pvt_large.params"), n.external("pvt_large.top1"))
    b5 = (n.external("pvt_v2_b5.params"), n.external("pvt_v2_b5.top1"))
    return Outcome(
        {
            "PVT-Large params M": own[0],
            "PVT-Large top-1 %": own[1],
            "PVTv2-B5 params M": b5[0],
            "PVTv2-B5 top-1 %": b5[1],
        },
        holds_if(printed == own),
        "wrong row: these are PVTv2-B5's figures" if printed == b5 else "neither model's figures",
    )


@claim(
    "t2.deit",
    place="Table 2",
    says="DeiT-Base/16 with 86.6M parameters reaches 84.2 %",
    formula="against DeiT's own model zoo at 224 px",
)
def _(n: Reader) -> Outcome:
    plain, distilled = n.external("deit_base.top1"), n.external("deit_base_distilled.top1")
    printed = n("t2.deit_base.top1")
    return Outcome(
        {"plain %": plain, "distilled %": distilled, "printed %": printed},
        holds_if(printed in (plain, distilled)),
        "the 86.6M model has 81.8; the distilled one 83.4: 84.2 is not the 86.6M model's",
    )


@claim(
    "t2.pretraining",
    place="Table 2 caption",
    says="All reported results are based on pre-trained weights from ImageNet-21K",
    formula="against the sources' own statements",
)
def _(n: Reader) -> Outcome:
    printed = n("t2.pvt_tiny.top1")
    return Outcome(
        {"PVT-Tiny printed %": printed},
        Verdict.FALSE,
        "PVT's (75.1) and DeiT's numbers are ImageNet-1K training; T2T-ViT is trained from scratch",
    )


@claim(
    "t4.margin",
    place="Table 4",
    says="ECP-ViT-B/16 is the best on TinyImageNet with 90.55 %",
    formula="ECP-ViT minus the best other, points",
)
def _(n: Reader) -> Outcome:
    others = [n(f"t4.{m}.top1") for m in ("vit_base", "deit_base", "beit_base", "convit_base")]
    margin = n("t4.ecp_vit_base.top1") - max(others)
    return Outcome(
        {"margin": margin},
        holds_if(margin > 0),
        "as printed; 0.03 from one run is 3 images of 10,000",
    )


@claim(
    "t5.gains",
    place="Table 5",
    says="ECP-ViT-S gains +1.82 on STL-10 and +0.05 on CIFAR-100",
    formula="second row minus first row, points",
)
def _(n: Reader) -> Outcome:
    values = {d: n(f"t5.ecp_vit_small.{d}") - n(f"t5.vit_small.{d}") for d in ("stl10", "cifar100")}
    ok = all(n.agrees(f"t5.ecp_vit_small.{d}_gain", v) for d, v in values.items())
    return Outcome(
        values,
        holds_if(ok),
        "exact as printed; one run, no error bars, best of several ratios on the test set",
    )
