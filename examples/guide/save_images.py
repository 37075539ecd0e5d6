"""Saving images: as files of a format, and under names made of the other columns.

python examples/guide/save_images.py [FOLDER OR URL TO WRITE TO]
"""

import sys

import made

import daskimg as di


def save(processed_images, target):
    processed_images.img.write_images(
        f"{target}/processed-images/", column="processed_image", file_format="png"
    )
    processed_images.img.write_images(
        f"{target}/named/", column="processed_image", filename="image_{id}_{timestamp}.png"
    )


def main(target="output"):
    folder = made.pictures()
    images = di.read_images(folder, partitioning="{category}/{id}.{ending}")
    small = images.image.img.convert("RGB").img.resize(64, 64)
    save(images.assign(processed_image=small, timestamp=1_700_000_000), target)
    processed = made.opened(f"{target}/processed-images", "RGB")
    named = made.opened(f"{target}/named", "RGB")
    expected = made.opened(folder, "RGB")
    assert {*processed} == {name.rpartition(".")[0] + ".png" for name in expected}
    for name, pixels in expected.items():
        name = name.rpartition(".")[0]
        saved = processed[f"{name}.png"]
        assert made.alike(saved, made.square(pixels, 64))
        assert (named[f"image_{name.rpartition('/')[2]}_1700000000.png"] == saved).all()


if __name__ == "__main__":
    main(*sys.argv[1:])
