import pytest
from pydantic import ValidationError

from pipeline.config.network import NetworkSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder": "none", "decoder_channels": 8}, "no hidden layer"),
        ({"decoder": "pspnet", "decoder_dilations": (6,)}, "no dilated layer"),
        ({"decoder": "rrm", "decoder_dilations": (6, 12)}, "one dilation"),
        ({"decoder": "largefov", "decoder_dilations": (6, 12, 18)}, "one dilation or two"),
        ({"decoder": "deeplabv2", "decoder_dilations": ()}, "at least one"),
        ({"decoder": "deeplabv2", "decoder_dilations": (6, 0)}, "from 1"),
        ({"decoder": "pspnet", "decoder_pooling": False}, "no ASPP"),
        ({"std": (0.2, 0.0, 0.2)}, "std must be above 0"),
        ({"backbone_options": {"checkpoint_path": "x.pth"}}, "use network.weights"),
        ({"output_stride": 4}, "8, 16 or 32"),
    ],
)
def test_settings_that_would_have_no_effect_or_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        NetworkSettings(**settings)


def test_settings_survive_json():
    settings = NetworkSettings(backbone_options={"channels": (8, 16), "stem_type": "deep"}, decoder="pspnet")
    assert NetworkSettings.model_validate_json(settings.model_dump_json()) == settings
