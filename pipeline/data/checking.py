"""What a look at a data set tells: counts, published ones beside them, and images that are in two splits."""

from collections.abc import Iterator, Mapping

from pipeline.artifacts.manifest import Manifest


def check_lines(manifest: Manifest, published: Mapping[str, int | str]) -> Iterator[str]:
    """Lines for a reader.

    Args:
        manifest: the data set.
        published: images per split that papers have, a text such as ``~94000`` where they say about.
    """
    for split in manifest.splits:
        part = manifest.split(split)
        counts = {name: sum(index in (r.tags or ()) for r in part) for index, name in enumerate(manifest.classes.names)}
        yield f"split {split}: {len(part)} images{_beside(len(part), published.get(split))}"
        yield "  " + ", ".join(f"{name} {count}" for name, count in list(counts.items())[1:])
    for split in manifest.splits:
        if split.startswith("val"):
            for other in (name for name in manifest.splits if not name.startswith("val")):
                common = [record.id for record in manifest.split(split) if other in record.splits]
                if common:
                    yield f"warning: {len(common)} images of {split} are in {other} too, such as '{common[0]}'"


def _beside(found: int, published: int | str | None) -> str:
    if published is None:
        return ""
    differs = isinstance(published, int) and found != published
    return f" (published: {published}{', which differs: are the lists the usual ones?' if differs else ''})"
