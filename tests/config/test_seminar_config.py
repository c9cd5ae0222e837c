import pytest

from pipeline.config.methods.seminar import Config

SCENES = {"source": "scenes", "scenes": {}}
TRAINING = {"steps": 100, "optimiser": {"lr": 0.1}, "schedule": {"power": 0.9, "warmup_steps": 5}}


def config(**changes):
    raw = {"run": "r", "method": "seminar", "data": SCENES, "model": {"training": TRAINING}}
    return Config.model_validate(raw | changes)


def test_models_differ_in_pseudo_labels_and_seed_alone():
    found = config(seed=3)
    assert found.settings_of(0) == found.model
    assert found.settings_of(1) == found.model.model_copy(update={"pseudo": found.pseudo})
    assert found.seed_of(0) == 3
    assert found.seed_of(1) != 3
    assert config(seed=3, equal_seeds=True).seed_of(2) == 3


def test_self_generation_sets_the_learning_rate():
    again = config(source="self_reset").settings_of(1)
    assert again.start == "previous"
    assert again.training == config().model.training
    unchanged = config(source="self_unchanged").settings_of(1).training
    assert unchanged.schedule.power == 0
    assert unchanged.schedule.warmup_steps == 0
    assert unchanged.optimiser.lr == pytest.approx(0.1 * (1 / 100) ** 0.9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"pseudo": {}}}, "belong under"),
        ({"given_masks": "m.h5"}, "offline"),
        ({"data": SCENES | {"masks": None}}, "files"),
    ],
)
def test_contradictions_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        config(**changes)
