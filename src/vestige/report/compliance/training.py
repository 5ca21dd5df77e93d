"""What is recorded of the training (R4)."""

from __future__ import annotations

import json
from typing import Any

from vestige.log import Check
from vestige.report.compliance.reading import Reader, missing, person, recorded, section
from vestige.report.compliance.schema import Section, Statement
from vestige.report.wording import percent, sentence

SETTINGS = ("epochs", "batch_size", "optimizer", "lr", "weight_decay", "dropout")
RAISED = "The log holds a check only where it raised a doubt, and none of this kind is there."
UNMADE = "This check was not made."
PASSED = "The check was made and raised no doubt."


def raised(reader: Reader, *ids: str) -> list[tuple[str, Check]]:
    """Return the checks of these ids that the log holds, with their places; dashes and underscores are one."""
    found = [(f"/checks/{k}", check) for k, check in enumerate(reader.log.checks)]
    return [(place, check) for place, check in found if check.id.replace("_", "-") in ids]


def doubts(reader: Reader, id: str, topic: str, *ids: str) -> Statement:
    """Return what these checks said, or that they were made and had nothing to say."""
    if found := raised(reader, *ids):
        said = " ".join(sentence(check.message) for _, check in found)
        return recorded(id, topic, said, *(place for place, _ in found))
    made = [f"/checked/{k}" for k, one in enumerate(reader.log.checked) if one.id in ids]
    if made:
        return recorded(id, topic, PASSED, *made)
    return missing(id, topic, UNMADE if reader.log.checked else RAISED)


def training(reader: Reader) -> Section:
    """R4: facts of the training."""
    recipe, places = _recipe(reader)
    settings = [key for key in SETTINGS if recipe.get(key) is not None]
    told = ", ".join(f"{key} {recipe[key]}" for key in settings)
    whose = "of the target"
    if reader.log.target.given:
        whose = "of the shadow models; the target's own are not recorded"
    elif reader.log.defences:
        whose = "of the target, where a defence does not set its own"
    members = reader.log.population.members
    return section(
        "R4",
        "The training",
        [
            recorded("R4.size", "Records trained on", f"{members:,} of the records audited.", "/population/members")
            if members
            else missing("R4.size", "Records trained on"),
            recorded("R4.settings", "Settings", f"{told} ({whose}).", *(places[key] for key in settings))
            if told
            else missing("R4.settings", "Settings"),
            _gap(reader),
            doubts(reader, "R4.duplicates", "Duplicates and near-duplicates", "duplicates", "near-duplicates"),
            recorded("R4.augmentation", "Augmentation", str(recipe["augment"]), places["augment"])
            if recipe.get("augment")
            else missing("R4.augmentation", "Augmentation"),
            person("R4.pretraining", "Pre-training", "Was the model trained before on other data, and on which?"),
            person("R4.tuning", "Tuning runs", "How many models were trained on these data to choose the settings?"),
            person("R4.outliers", "Outliers", "Which share of the records is unusual enough to stand out?"),
        ],
        "gdpr",
        "edpb-28-2024",
    )


def _recipe(reader: Reader) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the recipe's settings and where each stands: in what was trained by, else in what was asked for."""
    try:
        made = json.loads(reader.text("/target/recipe"))
    except ValueError:
        made = None
    if isinstance(made, dict):
        return made, dict.fromkeys(made, "/target/recipe")
    asked = reader.table("/config/recipe")
    return asked, {key: f"/config/recipe/{key}" for key in asked}


def _gap(reader: Reader) -> Statement:
    target = reader.log.target
    id, topic = "R4.gap", "Accuracy where trained and elsewhere"
    if target.train_accuracy is None or target.test_accuracy is None:
        return missing(id, topic)
    inside, outside = percent(target.train_accuracy, table=True), percent(target.test_accuracy, table=True)
    return recorded(
        id,
        topic,
        f"{inside} on the records trained on, {outside} on others.",
        "/target/train_accuracy",
        "/target/test_accuracy",
    )
