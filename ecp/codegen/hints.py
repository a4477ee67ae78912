"""What a kernel may tell the processor ahead of time."""

from __future__ import annotations

# How far ahead weights are asked for, in elements: 8 KB, two pages (hardware prefetchers stop at a page's end).
DISTANCE = 2048
# Ask for a cache line of L2, where the driver's compiler has an instruction for it; nothing elsewhere.
PREFETCH = """#ifdef __has_builtin
#if __has_builtin(__builtin_prefetch)
#define PREFETCH(p) __builtin_prefetch((const void*)(size_t)(p), 0, 2)
#endif
#endif
#ifndef PREFETCH
#define PREFETCH(p)
#endif
"""
