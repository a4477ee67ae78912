"""How a picture is shown to a network that is scored: one function for training and for the harness, without torch."""

from __future__ import annotations

from PIL import Image

# timm's crop fraction of the ViT family; the short side is resized to size / CROP before cropping.
CROP = 0.9


def evaluation_view(picture: Image.Image, size: int) -> Image.Image:
    """The ``size`` x ``size`` picture that is scored, bicubic, the way timm evaluates.

    A picture smaller than the input (CIFAR, Tiny-ImageNet, digits) is enlarged whole, without cropping.
    """
    width, height = picture.size
    if min(width, height) < size:
        return picture.resize((size, size), Image.Resampling.BICUBIC)
    scale = round(size / CROP) / min(width, height)
    wide, high = max(size, round(width * scale)), max(size, round(height * scale))
    grown = picture.resize((wide, high), Image.Resampling.BICUBIC)
    left, top = (wide - size) // 2, (high - size) // 2
    return grown.crop((left, top, left + size, top + size))
