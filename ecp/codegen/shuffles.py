"""Work across the lanes of vectors, in as few instructions as CPUs have for it: sums of lanes, transposition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ecp.codegen.core.kernel import Kernel


def shuffle(vec: int) -> str:
    """``SHUFFLE<vec>(a, b, ...)`` picks elements of two vectors by constant numbers, the second's from ``vec`` on.

    Clang takes a vector literal apart and looks through to where each element came from: rounds of literals become
    one gather from all rows, three times the instructions. Its builtin stays what it is.
    """
    names = ", ".join(f"e{i}" for i in range(vec))
    return f"""#ifdef __clang__
#define SHUFFLE{vec}(a, b, {names}) __builtin_shufflevector(a, b, {names})
#else
#define SHUFFLE{vec}(a, b, {names}) shuffle2(a, b, (uint{vec})({names}))
#endif
"""


def horizontal(kernel: Kernel, vector: str, width: int, op: str) -> str:
    """C expression of all lanes of a float vector combined: ``op`` is ``+`` or ``max``.

    The vector with itself turned by half its length, by a quarter, ...: two instructions a round, where single lanes
    would be taken out one by one. ``ECP_BY_LANES`` asks for that: Oclgrind takes shuffled lanes for never written.
    """
    if width == 1:
        return vector
    kernel.helper(f"shuffle{width}", shuffle(width))
    lines, turn, f = [], width // 2, f"float{width}"
    while turn:
        lanes = ", ".join(str((i + turn) % width) for i in range(width))
        both = "v + w" if op == "+" else "select(v, w, w > v)"
        lines.append(f"  w = SHUFFLE{width}(v, v, {lanes}); v = {both};\n")
        turn //= 2
    parts = [f"v.s{i:x}" for i in range(width)]
    while len(parts) > 1:
        parts = [f"({x} + {y})" if op == "+" else f"fmax({x}, {y})" for x, y in zip(parts[::2], parts[1::2])]
    name = f"ecp_{'sum' if op == '+' else op}{width}"
    kernel.helper(
        name,
        f"float {name}({f} v) {{\n#ifdef ECP_BY_LANES\n  return {parts[0]};\n#else\n"
        f"  {f} w;\n{''.join(lines)}  return v.s0;\n#endif\n}}\n",
    )
    return f"{name}({vector})"


def transpose(kernel: Kernel, vec: int) -> str:
    """Name of a helper that stores ``vec`` vectors as the columns of a matrix with a given pitch.

    Squares of four within lanes of 128 bits by two rounds of unpacking, then the lanes themselves by rounds that split
    even from odd ones: one shuffle a vector and round, each an instruction that needs no table of indices.
    """
    kernel.helper(f"shuffle{vec}", shuffle(vec))
    t, name = f"float{vec}", f"ecp_transpose{vec}"
    lines: list[str] = []

    def pick(a: str, b: str, lanes: Sequence[int]) -> str:
        """A new vector of elements of ``a`` (from 0) and ``b`` (from ``vec``)."""
        fresh = f"u{len(lines)}"
        lines.append(f"  const {t} {fresh} = SHUFFLE{vec}({a}, {b}, {', '.join(map(str, lanes))});\n")
        return fresh

    def unpack(a: str, b: str, size: int, high: bool) -> str:
        """Runs of ``size`` elements of ``a`` and ``b`` in turn, of one half of each 128 bits."""
        runs = [lane + 2 * high + at for lane in range(0, vec, 4) for at in range(0, 2, size)]
        return pick(a, b, [r + e + side for r in runs for side in (0, vec) for e in range(size)])

    columns: list[list[str]] = [[] for _ in range(4)]
    for r in range(0, vec, 4):
        pairs = [[unpack(f"r{r + i}", f"r{r + i + 1}", 1, high) for i in (0, 2)] for high in (False, True)]
        for j in range(4):
            top, bottom = pairs[j // 2]
            columns[j].append(unpack(top, bottom, 2, j % 2 == 1))
    out = {4 * at + j: text for j in range(4) for at, text in _split_lanes(columns[j], vec, pick).items()}
    stores = "".join(f"  vstore{vec}({out[i]}, 0, to + {i}*pitch);\n" for i in range(vec))
    params = ", ".join(f"{t} r{i}" for i in range(vec))
    return kernel.helper(
        name, f"void {name}(float* to, int pitch, {params}) {{\n{''.join(lines)}{stores}}}\n"
    )


def _split_lanes(
    vectors: list[str], vec: int, pick: Callable[[str, str, Sequence[int]], str]
) -> dict[int, str]:
    """Lanes of 128 bits by their number: the vector that holds lane ``n`` of each of ``vectors``, in order."""
    runs, step = {0: vectors}, 1
    parity = [[4 * n + e for n in range(odd, vec // 2, 2) for e in range(4)] for odd in (0, 1)]
    while step < vec // 4:
        runs = {
            at + step * odd: [pick(a, b, parity[odd]) for a, b in zip(group[::2], group[1::2])]
            for at, group in runs.items()
            for odd in (0, 1)
        }
        step *= 2
    return {at: group[0] for at, group in runs.items()}
