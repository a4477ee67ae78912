"""From the name in devices.yaml to the one phone that really is it. A look-alike is refused, never used."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass

from bench.devices import AdbDevice, how_to_connect
from bench.escape import brief
from bench.phones import parsers
from bench.transports.adb import AdbTransport, Listed, list_devices
from bench.transports.base import Transport
from ecp.errors import DeviceError


@dataclass(frozen=True)
class Identity:
    """What a phone says about itself. ``serial_hash`` names it without publishing its serial number."""

    product_model: str
    manufacturer: str
    soc_model: str
    board: str
    abi: str
    android: str
    fingerprint: str
    kernel: str
    serial_hash: str

    @property
    def is_android(self) -> bool:
        """Whether this is Android itself; a plain Linux behind adbd has neither a version nor its folders."""
        return bool(self.android)


def read_identity(transport: Transport, serial: str = "") -> Identity:
    """Ask a connected device. Properties that it does not have are empty."""
    done = transport.run(["getprop"])
    found = parsers.getprop(done.text) if done.code == 0 else {}
    props = {name: brief(value) for name, value in found.items()}
    kernel = brief(transport.run(["uname", "-rm"]).text)
    abi = props.get("ro.product.cpu.abi", "")
    if not abi:
        abi = {"aarch64": "arm64-v8a", "x86_64": "x86_64"}.get(kernel.rpartition(" ")[2], "")
    return Identity(
        product_model=props.get("ro.product.model", ""),
        manufacturer=props.get("ro.product.manufacturer", ""),
        soc_model=props.get("ro.soc.model", ""),
        board=props.get("ro.board.platform", ""),
        abi=abi,
        android=props.get("ro.build.version.release", ""),
        fingerprint=props.get("ro.build.fingerprint", ""),
        kernel=kernel,
        serial_hash=hashlib.sha256(serial.encode()).hexdigest()[:12] if serial else "",
    )


def mismatch(device: AdbDevice, found: Identity) -> str:
    """Why ``found`` is not the phone that the entry describes; empty where it is.

    The product model decides. The chip is checked as well where the phone names it (Android 12 and later):
    other phones carry the same chip, and some models were sold with two.
    """
    wanted = device.match
    if found.product_model not in wanted.product_models:
        model = found.product_model or "device without a model name"
        return f"it is a {model}, not {' or '.join(wanted.product_models)}"
    if wanted.soc_models and found.soc_model and found.soc_model not in wanted.soc_models:
        return f"its chip is {found.soc_model}, not {' or '.join(wanted.soc_models)}"
    if found.abi and found.abi != device.abi:
        return f"its programs are {found.abi}, not {device.abi}"
    return ""


def find_phone(name: str, device: AdbDevice) -> tuple[AdbTransport, Identity]:
    """A connection to the phone; close it after use. Raises :class:`DeviceError` with what to do.

    ``serial`` of the entry or ``$ANDROID_SERIAL`` picks one of several equal phones.
    """
    listed = list_devices()
    wanted = device.serial or os.environ.get("ANDROID_SERIAL")
    if wanted:
        listed = [d for d in listed if d.serial == wanted]
        if not listed:
            raise DeviceError(
                f"device '{name}' is not reachable: adb does not list {wanted}; {how_to_connect(device)}"
            )
    if not listed:
        raise DeviceError(f"device '{name}' is not reachable: adb lists no device; {how_to_connect(device)}")
    reasons, right = [], []
    for one in listed:
        reason, identity = _look(device, one)
        if identity is not None and not reason:
            right.append((one.serial, identity))
        else:
            reasons.append(f"{one.serial}: {reason}")
    if len(right) > 1:
        serials = ", ".join(serial for serial, _ in right)
        raise DeviceError(f"device '{name}' fits several phones ({serials}); choose with ANDROID_SERIAL=...")
    if not right:
        raise DeviceError(
            f"device '{name}' is not reachable: {'; '.join(reasons)}; nothing else is used in its place"
        )
    return AdbTransport(right[0][0]), right[0][1]


def _look(device: AdbDevice, listed: Listed) -> tuple[str, Identity | None]:
    if not listed.usable:
        return f"it is {listed.state}: {listed.advice}", None
    try:
        with contextlib.closing(AdbTransport(listed.serial)) as transport:
            identity = read_identity(transport, listed.serial)
    except DeviceError as error:
        return str(error), None
    return mismatch(device, identity), identity


def probe(name: str, device: AdbDevice) -> tuple[bool, str]:
    """(reachable, what was found or what to do), for the list of devices."""
    try:
        transport, identity = find_phone(name, device)
    except DeviceError as error:
        return False, str(error).removeprefix(f"device '{name}' is not reachable: ")
    transport.close()
    system = f"Android {identity.android}" if identity.is_android else identity.kernel
    found = f"{identity.manufacturer} {identity.product_model}, {system} ({transport.serial})".strip()
    return True, found + ("; emulated: its times mean nothing" if device.emulated else "")
