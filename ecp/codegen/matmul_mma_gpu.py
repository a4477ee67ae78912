"""Products on tensor cores (PTX ``mma.sync``): half operands in local memory, sums in fp32.

Chunks arrive by asynchronous copies, several ahead, where A is stored as half and read as it is. Where a
LayerNormalization is folded, the whole normalised rows are put into local memory as halves first if they fit;
otherwise A passes through registers, a chunk ahead. Sums meet in local memory as in ``matmul_local_gpu``.
"""

from __future__ import annotations

from math import prod

from ecp.codegen.contraction import Contraction
from ecp.codegen.core.statements import Form
from ecp.codegen.matmul_ptx_gpu import AsyncProduct
from ecp.codegen.ptx_gpu import TENSOR
from ecp.codegen.reader import Env
from ecp.codegen.schedule import Schedule
from ecp.codegen.tiling_gpu import TensorTile, tensor_tile


class TensorProduct(AsyncProduct):
    """Half storage, fp32 sums."""

    size = 2

    def __init__(
        self, env: Env, schedule: Schedule, family: str, c: Contraction, tile: TensorTile | None = None
    ):
        batch = prod(c.batch)
        t = tile or tensor_tile(c.m, c.n, c.k, batch, c.norm is not None, schedule)
        super().__init__(env, schedule, family, c, t)  # type: ignore[arg-type]
        self.tile = t
        self.kernel.helper("ecp_mma", TENSOR)

    @property
    def stage_bytes(self) -> int:
        """Bytes of one chunk of both operands."""
        return self.tile.stage_bytes

    @property
    def pitch_b(self) -> int:
        """Bytes from k to k of B."""
        return 2 * self.columns + 16

    def _coordinates(self) -> None:
        t, k = self.tile, self.kernel
        k.emit("const uint lane = lid & 31, warp = lid >> 5;")
        k.emit(f"const uint set = warp/{t.wm * t.wn}, wm = warp%{t.wm}, wn = warp/{t.wm}%{t.wn};")

    def _clear(self) -> None:
        t, k = self.tile, self.kernel
        k.emit(f"float acc[{t.mf * t.nf}][4];")
        zero = " ".join(f"acc[i][{e}] = 0.0f;" for e in range(4))
        k.each("i", t.mf * t.nf, zero, unroll=t.mf * t.nf, form=Form.BRACES)

    def _down(self, at: str, text: str) -> str:
        if self.width == 1:
            return f"vstore_half({text}, 0, (__local half*)({at}));"
        return f"vstore_half{self.width}({text}, 0, (__local half*)({at}));"

    def _multiply(self) -> None:
        """The chunk in local memory, 16 steps along k at a time: fragments by ldmatrix, then the products."""
        t, k = self.tile, self.kernel
        k.emit(f"const uint ta = base + (uint)side*{self.stage_bytes}u;")
        k.emit(f"const uint tb = ta + {t.rows * self.pitch_a}u;")
        k.emit(
            f"const uint a0 = ta + (wm*{16 * t.mf} + (lane & 15))*{self.pitch_a} + (lane >> 4)*16 + set*{2 * t.kb};"
        )
        row = "(lane & 7) + ((lane >> 3) & 1)*8"
        k.emit(
            f"const uint b0 = tb + ({row} + set*{t.kb})*{self.pitch_b} + (wn*{8 * t.nf} + (lane >> 4)*8)*2;"
        )
        with k.loop("kk", t.kb // 16, unroll=min(4, t.kb // 16)):
            k.emit(f"uint af[{t.mf}][4], bf[{t.nf}][2];")
            k.each("i", t.mf, f"ECP_LDM4(af[i], a0 + i*{16 * self.pitch_a} + kk*32);", unroll=t.mf)
            b = f"ECP_LDM4T(bf[2*j], bf[2*j + 1], b0 + kk*{16 * self.pitch_b} + j*32);"
            k.each("j", t.nf // 2, b, unroll=t.nf // 2)
            with k.loop("i", t.mf, unroll=t.mf):
                k.each("j", t.nf, f"ECP_MMA(acc[i*{t.nf} + j], af[i], bf[j]);", unroll=t.nf)

    def _meet(self) -> None:
        """Every warp puts its sums down: a lane has columns 2t, 2t+1 of rows g and g+8."""
        t, k = self.tile, self.kernel
        k.emit(f"__local float* sums = (__local float*)mem + set*{t.rows * t.columns};")
        with k.loop("i", t.mf, unroll=t.mf), k.loop("j", t.nf, unroll=t.nf):
            k.emit(
                f"__local float* s = sums + (wm*{16 * t.mf} + i*16 + (lane >> 2))*{t.columns}"
                f" + wn*{8 * t.nf} + j*8 + (lane & 3)*2;"
            )
            for half, first in ((0, 0), (1, 2)):
                k.emit(
                    f"vstore2((float2)(acc[i*{t.nf} + j][{first}], acc[i*{t.nf} + j][{first + 1}]),"
                    f" 0, s + {half * 8 * t.columns});"
                )
        k.barrier()
