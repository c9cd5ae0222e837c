"""What networks of our own say of their features, in timm's terms."""

from typing import NamedTuple


class FeatureInfo(NamedTuple):
    """The two questions our code asks timm's features-only networks."""

    widths: tuple[int, ...]
    steps: tuple[int, ...]

    def channels(self) -> tuple[int, ...]:
        """Channels of each feature map."""
        return self.widths

    def reduction(self) -> tuple[int, ...]:
        """Image pixels per step of each."""
        return self.steps
