"""Room shards without a renderer."""

import json

import numpy as np


def write_rooms(folder, rooms, views=3, size=32, seed=0, captions=True):
    """Writes shards as `render` does, of a picture whose brightness follows its depth, with words for its distance."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(rooms):
        depth = rng.uniform(0.5, 6, (views, 1, 1)) + np.linspace(0, 2, size)[None, :, None] + np.zeros((1, 1, size))
        rgb = np.clip(depth[..., None] * 30 + rng.normal(0, 3, (views, size, size, 3)), 0, 255).astype(np.uint8)
        intrinsics = np.tile(np.array([size, size * 1.2, size / 2, size / 2], np.float32), (views, 1))
        pose = np.tile(np.eye(4, dtype=np.float32), (views, 1, 1))
        millimetres = np.rint(depth * 1000).astype(np.uint16)
        far = ["far away" if metres > 3.5 else "close" for metres in depth[:, 0, 0]]
        words = {"captions": np.array([[f"a wall {word}", f"a room, {word}"] for word in far])} if captions else {}
        distortion = np.zeros((views, 5), np.float32)
        np.savez_compressed(
            folder / f"room_{index:06d}.npz",
            rgb=rgb,
            depth=millimetres,
            intrinsics=intrinsics,
            distortion=distortion,
            pose=pose,
            **words,
        )
    described = {
        "rooms": rooms,
        "views": views,
        "seed": seed,
        "field_of_view": [50, 90],
        "sensor": "none",
        "generator": 2,
    }
    (folder / "set.json").write_text(json.dumps(described))
    return folder
