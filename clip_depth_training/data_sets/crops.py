"""The crops that published protocols make of a data set's pictures before anything else."""

from __future__ import annotations

CROPS = {
    "kb": "the KITTI benchmark crop of 352x1216",
    "nyu": "rows 56 to 472 and columns 60 to 604 of 480x640",
}
"""What ``crop`` of an index may say, and what that is. ``kb``: the bottom rows, the middle columns. ``nyu``: what the
networks of DepthCLIP and DepthBLIP-2 see of NYU, 416x544. Ends are outside."""

_KB_SIZE = (352, 1216)
_NYU_SIZE, _NYU_BOX = (480, 640), (56, 472, 60, 604)

Box = tuple[int, int, int, int]
"""Top, bottom, left and right in pixels; bottom and right are outside."""


def crop_box(crop: str | None, size: tuple[int, int]) -> Box:
    """Returns what a crop leaves of a picture.

    Args:
        crop: one of :data:`CROPS`, or None for the whole picture.
        size: (H, W) of the picture.

    Raises:
        ValueError: the crop is not for pictures of this size; its text says so, after the picture's name.
    """
    height, width = size
    if crop is None:
        return 0, height, 0, width
    if crop == "nyu":
        if size != _NYU_SIZE:
            raise ValueError(f"is {width}x{height}, but NYU's cut of 544x416 is of pictures of 640x480")
        return _NYU_BOX
    rows, columns = _KB_SIZE
    if height < rows or width < columns:
        raise ValueError(f"is {width}x{height}, smaller than the KITTI benchmark crop of {columns}x{rows}")
    left = int((width - columns) / 2)
    return height - rows, height, left, left + columns


def seen_through(box: Box, crop: str, size: tuple[int, int]) -> tuple[Box, tuple[int, int]]:
    """Returns a box of the whole picture in pixels of its crop, as much as lies in it, and (H, W) of the crop.

    Args:
        box: in pixels of the whole picture.
        crop: one of :data:`CROPS`.
        size: (H, W) of the whole picture.

    Raises:
        ValueError: as :func:`crop_box`.
    """
    top, bottom, left, right = crop_box(crop, size)
    first, last = (min(max(row, top), bottom) - top for row in box[:2])
    before, behind = (min(max(column, left), right) - left for column in box[2:])
    return (first, last, before, behind), (bottom - top, right - left)
