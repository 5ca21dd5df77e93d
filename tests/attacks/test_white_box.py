from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
from attacks import internal_pools as pools
from vestige.attacks.relative import judged, relative
from vestige.attacks.standing import narrowed, standing, without_block
from vestige.attacks.threshold import Loss
from vestige.attacks.white_box import JUDGES, KEY, MODELS, WhiteBox
from vestige.errors import UsageError
from vestige.signals import SignalTable
from vestige.target import Access

EVERY = [WhiteBox(), WhiteBox(family="logistic"), WhiteBox(family="mlp"), WhiteBox(calibrated=False, family="logistic")]


@pytest.mark.parametrize("attack", EVERY, ids=repr)
def test_memorised_records_are_found(attack):
    assert pools.memorised_area(attack) > 0.95


@pytest.mark.parametrize("attack", EVERY, ids=repr)
def test_records_nobody_trained_on_score_like_chance(attack):
    assert pools.is_chance(pools.unseen_areas(attack, 3 if attack.family == "boosting" else 6))


def test_it_takes_nothing_from_what_the_loss_tells():
    assert pools.memorised_area(WhiteBox(family="logistic")) > pools.memorised_area(Loss()) - 0.01


def test_reordering_the_targets_hidden_units_changes_no_score():
    import torch

    from vestige.attacks.assemble import Field
    from vestige.backends.torch import TorchRecipe
    from vestige.records import Records
    from vestige.signals.measure import measure
    from vestige.split import draw

    g = np.random.default_rng(0)
    y = np.arange(120) % 3
    records = Records.build((g.normal(size=(120, 6)) + y[:, None]).astype(np.float32), y)
    split = draw(120, shadows=4, seed=0)
    recipe = TorchRecipe(model="mlp", hidden=(8, 5), epochs=10, lr=0.1, batch_size=16)
    models = recipe.fit_many(records, [split.rows(m) for m in range(5)], list(range(5)))
    scores = []
    for turn in range(2):
        if turn:
            first, second, last = (m for m in models[0].module if isinstance(m, torch.nn.Linear))
            one, two = torch.randperm(8), torch.randperm(5)
            with torch.no_grad():
                first.weight.copy_(first.weight[one].clone())
                first.bias.copy_(first.bias[one].clone())
                second.weight.copy_(second.weight[two][:, one].clone())
                second.bias.copy_(second.bias[two].clone())
                last.weight.copy_(last.weight[:, two].clone())
        attack = WhiteBox(family="logistic")
        values = [measure(m, records, split.audited, attack.needs.signals) for m in models]
        table = SignalTable({key: [one[key] for one in values] for key in attack.needs.signals}, 120, 5)
        field = Field(records=records, split=split, table=table, access=Access.WHITE_BOX, seed=0)
        scores.append(attack.score(field.evidence(0, attack)))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-3, atol=1e-4)


def test_relative_features_are_compared_with_equally_many_models_each():
    field = pools.memorised()
    evidence = field.evidence(0, WhiteBox())
    found = relative(evidence, KEY, models=4)
    values = np.stack([evidence.shadows.model(KEY, m)[:, 0] for m in range(len(evidence.masks))]).astype(np.float64)
    own = evidence.target(KEY)[:, 0].astype(np.float64)
    width = own.shape[1]
    assert found.shadows.models == len(found.masks) == 4
    for row in (0, 5, 299):
        out = np.flatnonzero(~evidence.masks[:, row])
        said = found.target(KEY)[row, 0]
        np.testing.assert_allclose(said[:width], own[row], rtol=1e-6)
        np.testing.assert_allclose(said[width:], own[row] - values[out, row].mean(0), rtol=1e-4, atol=1e-4)
        for model in range(4):
            others = out[out != model] if model in out else out[1:]
            assert len(others) == len(out) - 1
            expected = values[model, row] - values[others, row].mean(0)
            np.testing.assert_allclose(found.shadows.model(KEY, model)[row, 0, width:], expected, rtol=1e-4, atol=1e-4)


def test_every_model_in_the_targets_place_is_compared_with_models_of_other_blocks():
    evidence = pools.memorised().evidence(0, WhiteBox())
    found = judged(evidence, KEY, JUDGES, models=MODELS)
    values = np.stack([evidence.shadows.model(KEY, m)[:, 0] for m in range(len(evidence.masks))]).astype(np.float64)
    own, width = evidence.target(KEY)[:, 0].astype(np.float64), values.shape[2]
    assert evidence.block.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    np.testing.assert_array_equal(found.masks, evidence.masks[[0, 2, 4, 6]])
    for place, others in [(2, [0, 1, 4, 5, 6, 7]), (None, [0, 1, 2, 3, 4, 5])]:
        said = found.shadows.model(KEY, 1)[:, 0] if place else found.target(KEY)[:, 0]
        shown = own if place is None else values[place]
        inside = evidence.masks[others]
        for row in (0, 5, 299):
            expected = [shown[row]]
            expected += [shown[row] - values[others, row][inside[:, row] == side].mean(0) for side in (False, True)]
            np.testing.assert_allclose(said[row, : 3 * width], np.concatenate(expected), rtol=1e-4, atol=1e-4)
        cut = without_block(evidence, 6) if place is None else standing(evidence, place)
        for column, judge in enumerate(JUDGES, 3 * width):
            np.testing.assert_allclose(said[:, column], judge.score(narrowed(cut, judge.needs)), rtol=1e-5)


def test_a_record_that_would_lack_models_of_either_kind_is_not_judged():
    evidence = pools.memorised().evidence(0, WhiteBox())
    four = replace(
        evidence, shadows=evidence.shadows.select(np.arange(4)), masks=evidence.masks[:4], block=evidence.block[:4]
    )
    assert judged(four, KEY, JUDGES, models=MODELS) is not None
    lacking = four.masks.copy()
    lacking[:2, 0] = False  # with the second pair in the target's place nobody is left who trained on this record
    assert judged(replace(four, masks=lacking), KEY, JUDGES, models=MODELS) is None
    alone = replace(four, shadows=four.shadows.select(np.arange(2)), masks=four.masks[:2], block=four.block[:2])
    assert judged(alone, KEY, JUDGES, models=MODELS) is None


def test_without_enough_models_to_compare_with_it_learns_from_features_alone():
    field = pools.memorised()
    attack = WhiteBox(family="logistic")
    evidence = field.evidence(0, attack)
    pair = replace(evidence, shadows=evidence.shadows.select(np.array([0, 1])), masks=evidence.masks[:2])
    assert relative(pair, KEY, models=MODELS) is None
    plain = WhiteBox(family="logistic", calibrated=False)
    np.testing.assert_array_equal(attack.score(pair), plain.score(pair))


def test_what_it_declares():
    assert WhiteBox().access == Access.WHITE_BOX
    assert WhiteBox().needs.wants is None
    assert WhiteBox(calibrated=False).needs.wants == MODELS
    with pytest.raises(UsageError, match="mlp"):
        WhiteBox(family="svm")
    with pytest.raises(UsageError, match="row"):
        WhiteBox(rows=0)
