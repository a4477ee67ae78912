"""Ways to reach a device: run a program there, send and fetch files. ``local``, ``adb`` and ``ssh``.

Nothing here knows what is measured. A transport never retries a command by itself (it may have had an effect);
pushes are content-addressed (:mod:`bench.transports.store`), so those are repeated safely.
"""
