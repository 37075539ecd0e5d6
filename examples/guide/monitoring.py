"""Monitoring: what a computation did, how long it took, what memory and processor it used."""

import dask
import made

import daskimg as di


def monitored(images):
    with di.stats() as stats:  # di.progress() shows bars while it runs
        table = images.compute()
    print(f"Processing time: {stats.seconds} s")
    print(f"Memory usage: {stats.peak_memory} bytes")
    print(f"CPU usage: {stats.cpu} s")
    print(stats)
    return table, stats


def main():
    images = di.read_images(made.pictures(broken=True), on_error="null")
    images = images.assign(brightness=images.image.img.brightness())
    with dask.config.set(scheduler="threads"):
        table, stats = monitored(images)
    assert table.brightness.notna().sum() == stats.kept == 6
    assert stats.failed == sum(stats.causes.values()) == 1
    stages = stats.to_frame()
    assert stages.images["decode"] == 7  # one of them in vain
    assert stats.seconds > 0
    assert stats.peak_memory > 0


if __name__ == "__main__":
    main()
