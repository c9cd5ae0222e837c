import pytest
from pydantic import ValidationError

from pipeline.config.crf import PRESETS, CrfSettings, CrfTerm


def test_preset_and_terms_resolve():
    assert CrfSettings(preset="irn").resolved == PRESETS["irn"]
    own = (CrfTerm(sxy=3, compat=3),)
    assert CrfSettings(terms=own).resolved == own


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"preset": "psa", "terms": [{"sxy": 3, "compat": 3}]},
        {"preset": "unknown"},
        {"terms": [{"sxy": 0, "compat": 3}]},
        {"terms": [{"sxy": -3, "compat": 3}]},
        {"terms": [{"sxy": 3, "srgb": float("nan"), "compat": 3}]},
    ],
)
def test_nonsense_is_refused(given):
    with pytest.raises(ValidationError):
        CrfSettings.model_validate(given)
