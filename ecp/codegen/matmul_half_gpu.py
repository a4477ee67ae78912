"""Products and convolutions on GPUs with ``cl_khr_fp16`` whose multiply-adds are asked for in half.

Half has 11 bits of mantissa and ends at 65504. A sum of K products kept in half would lose its small terms (above
2048 an added 1 is lost) and overflow where float does not, so at most :data:`PARTIAL` products meet in half and
their sum is added to a float accumulator: the error of a product is then at most ``(PARTIAL + 1) * 2^-11`` of
``sum |a*b|`` instead of ``(K + 1) * 2^-11``. Row statistics of a folded LayerNorm, the epilogue (bias, GELU, residual),
attention and every reduction are in float as ever; what is multiplied is rounded to half after the normalisation.
"""

from __future__ import annotations

from math import ceil

from ecp.codegen.contraction import Contraction
from ecp.codegen.core.kernel import Launch
from ecp.codegen.core.statements import Form
from ecp.codegen.matmul_direct_gpu import DirectProduct
from ecp.codegen.matmul_local_gpu import LocalProduct
from ecp.codegen.reader import Env
from ecp.codegen.schedule import Schedule
from ecp.index.expr import Expr, var

# Products that are summed in half at once.
PARTIAL = 32

# A device computes in half; -D ECP_HALF_EMULATED lets one without half arithmetic show what it would compute: every
# operation in float, then rounded. OpenCL leaves to the device whether mad rounds once (1) or twice (2).
TYPES = """#ifdef ECP_HALF_EMULATED
#define ECP_H float
#define ECP_H4 float4
ECP_H ecp_to_h(float x) { ushort h[1]; vstore_half(x, 0, (half*)h); return vload_half(0, (const half*)h); }
ECP_H4 ecp_to_h4(float4 x) { ushort h[4]; vstore_half4(x, 0, (half*)h); return vload_half4(0, (const half*)h); }
#define ECP_FROM_H4(x) (x)
#define ECP_LOAD_H4(i, p) vloada_half4(i, p)
#define ECP_READ_H4(image, at) read_imagef(image, at)
#if ECP_HALF_EMULATED == 1
#define ECP_MAD_H4(a, b, c) ecp_to_h4(fma(a, b, c))
#else
#define ECP_MAD_H4(a, b, c) ecp_to_h4(ecp_to_h4((a) * (b)) + (c))
#endif
#else
#ifndef cl_khr_fp16
#error "arithmetic half needs cl_khr_fp16, which this device does not have; compile with arithmetic float"
#endif
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define ECP_H half
#define ECP_H4 half4
#define ecp_to_h(x) convert_half(x)
#define ecp_to_h4(x) convert_half4(x)
#define ECP_FROM_H4(x) convert_float4(x)
#define ECP_LOAD_H4(i, p) ((const __global half4*)(p))[i]
#define ECP_READ_H4(image, at) read_imageh(image, at)
#define ECP_MAD_H4(a, b, c) mad(a, b, c)
#endif
"""


def _in_half(launch: Launch) -> Launch:
    """The finished launch, marked."""
    launch.arithmetic = "half"
    return launch


class HalfDirectProduct(DirectProduct):
    """As :class:`DirectProduct`: A from memory, B from an image or packed weights, both as half vectors."""

    def __init__(self, env: Env, schedule: Schedule, family: str, c: Contraction):
        super().__init__(env, schedule, family, c)
        self.kernel.helper("ecp_half_arithmetic", TYPES)

    def emit(self) -> Launch:
        """The launch."""
        return _in_half(super().emit())

    def _steps(self, rows: list[Expr]) -> None:
        """All of k, in pieces whose sums are in half."""
        c, t, k, w = self.c, self.t, self.kernel, self.width
        total, piece = c.k // w, PARTIAL // w
        with k.loop("part", ceil(total / piece)):
            for i in range(t.mr):
                k.emit("ECP_H4 " + ", ".join(f"h{i}_{v} = (ECP_H4)(0)" for v in range(t.nr)) + ";")
            end = f"part*{piece} + {piece}"
            end = f"min({end}, {total})" if total % piece else end
            with k.loop("step", end, first=f"part*{piece}"):
                self._step(rows)
            for i in range(t.mr):
                k.emit(" ".join(f"c{i}_{v} += ECP_FROM_H4(h{i}_{v});" for v in range(t.nr)))

    def _step(self, rows: list[Expr]) -> None:
        """``width`` steps along k."""
        k, w = self.kernel, self.width
        f, to = ("ECP_H4", "ecp_to_h4") if w > 1 else ("ECP_H", "ecp_to_h")
        for i, row in enumerate(rows):
            k.emit(f"const {f} a{i} = {to}({self.read_a(row, 'step', f'mean{i}', f'rstd{i}')});")
        for j in range(w):
            with k.scope():
                self._multiply(j)

    def _multiply(self, j: int) -> None:
        """One k: ``nr`` vectors of b times a lane of every row."""
        c, t, k, w = self.c, self.t, self.kernel, self.width
        k.emit(f"const int kk = step*{w} + {j};")
        for v in range(t.nr):
            vector = f"column*{t.vectors} + tx + {v * t.wx}"
            if c.weights is not None:
                k.emit(f"const ECP_H4 b{v} = {self._load(vector)};")
            else:
                k.emit(f"const ECP_H4 b{v} = ecp_to_h4({self.read_b(var('kk', c.k), vector)});")
        for i in range(t.mr):
            a = f"a{i}.s{j}" if w > 1 else f"a{i}"
            sums = (f"h{i}_{v} = ECP_MAD_H4((ECP_H4)({a}), b{v}, h{i}_{v});" for v in range(t.nr))
            k.emit(" ".join(sums))

    def _load(self, vector: str) -> str:
        at = self._row()
        if self.image:
            return f"ECP_READ_H4({self.image}, (int2)({vector}, {at}))"
        assert self.weights_half
        return f"ECP_LOAD_H4(({at})*{self.pitch} + {vector}, {self.pointer})"


class HalfLocalProduct(LocalProduct):
    """As :class:`LocalProduct`, both operands as halves in local memory.

    Tiles are those chosen for floats, whose local memory is then half used: nobody has measured better ones.
    """

    def __init__(self, env: Env, schedule: Schedule, family: str, c: Contraction):
        super().__init__(env, schedule, family, c)
        assert self.t.kb <= PARTIAL, "a chunk is one partial sum"
        self.kernel.helper("ecp_half_arithmetic", TYPES)

    def emit(self) -> Launch:
        """The launch."""
        return _in_half(super().emit())

    def _put(self, side: str) -> None:
        """Registers to local memory, rounded."""
        t, k = self.t, self.kernel
        k.emit(f"__local ECP_H4* ta = (__local ECP_H4*)mem + ({side})*{t.stage_floats // 4};")
        with self._share(self.each_a, self.count_a):
            self._place_a()
            if self.width > 1:
                k.emit(f"ta[i*{self.pitch // 4} + q] = ecp_to_h4(ra[j]);")
            else:
                k.emit(f"((__local ECP_H*)ta)[i*{self.pitch} + q] = ecp_to_h(ra[j]);")
        k.emit(f"__local ECP_H4* tb = ta + {t.rows * self.pitch // 4};")
        with self._share(self.each_b, self.count_b):
            k.emit(f"tb[lid + j*{t.items}] = ecp_to_h4(rb[j]);")

    def _multiply(self) -> None:
        """The chunk in local memory: its sums in half, then added in float."""
        t, k = self.t, self.kernel
        k.emit(f"const __local ECP_H4* ta = (const __local ECP_H4*)mem + (kt & 1)*{t.stage_floats // 4};")
        k.emit(f"const __local ECP_H4* tb = ta + {t.rows * self.pitch // 4};")
        k.emit(f"ECP_H4 part[{t.mr}][{t.nr}];")
        self._each_sum("part[i][v] = (ECP_H4)(0);")
        with k.loop("kk", t.kb // 4, unroll=max(1, min(t.kb, 16) // 4)):
            k.emit(f"ECP_H4 x[{t.mr}];")
            element = f"ta[(ty + i*{t.wy})*{self.pitch // 4} + set*{t.kb // 4} + kk]"
            k.each("i", t.mr, f"x[i] = {element};", unroll=t.mr)
            for j in range(4):
                with k.scope():
                    self._lane(j)
        self._each_sum("acc[i][v] += ECP_FROM_H4(part[i][v]);")

    def _lane(self, j: int) -> None:
        """One k: ``nr`` vectors of b times a lane of every row."""
        t, k = self.t, self.kernel
        at = f"(set*{t.kb} + kk*4 + {j})*{t.vectors} + tx"
        names = [f"y{v}" for v in range(t.nr)]
        loads = [f"{y} = tb[{at} + {v * t.wx}]" for v, y in enumerate(names)]
        k.emit(f"const ECP_H4 {', '.join(loads)};")
        sums = [
            f"part[i][{v}] = ECP_MAD_H4((ECP_H4)(x[i].s{j}), {y}, part[i][{v}]);" for v, y in enumerate(names)
        ]
        k.each("i", t.mr, " ".join(sums), form=Form.BRACES, unroll=t.mr)
