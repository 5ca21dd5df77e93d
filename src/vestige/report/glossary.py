"""The words of a report, and how each of its figures is defined."""

from __future__ import annotations

TERMS: list[tuple[str, str]] = [
    ("record", "One row that may or may not have been trained on."),
    ("member, non-member", "A record that was, or was not, in the training set of the model under audit."),
    ("target", "The model under audit."),
    (
        "shadow model",
        "A model that the adversary trains on records of their own choice, so that for it they know who is a member.",
    ),
    (
        "membership inference",
        (
            "Telling from a model's behaviour whether a given record was in its training set. Where being in the set "
            "says something about a person (a patient list, a default register), this alone is a disclosure."
        ),
    ),
    ("score", "An attack's opinion of one record; larger always means “more likely a member”."),
    ("signal", "A number measured on a model and a record, such as the loss, from which attacks compute their scores."),
    ("access", "What the adversary may see of the target: only labels, scores for every class, or the weights."),
    ("false-positive rate (FPR)", "The share of non-members wrongly called members."),
    ("true-positive rate (TPR)", "The share of members rightly called members."),
    (
        "chance",
        (
            "What guessing without looking at the model achieves: a TPR equal to the FPR, an AUC of 0.5, a "
            "balanced accuracy of 50 %."
        ),
    ),
    (
        "interval",
        (
            "The range of true values with which the measured figure is compatible. Repeating the audit on fresh "
            "records would put the true value inside 95 % of such ranges."
        ),
    ),
    ("withheld", "Not given, because too few non-members were audited to say anything at that false-positive rate."),
    (
        "posterior",
        (
            "The probability that a record was a member, given its score, calibrated on shadow models and taking "
            "members and non-members to be as common as in the audit."
        ),
    ),
    (
        "exposure",
        (
            "How well the adversary does on one record over many models, some trained on it and some not. It is a "
            "property of the record, whether or not this target was trained on it."
        ),
    ),
]

DEFINITIONS: list[tuple[str, str]] = [
    ("AUC", "The probability that a random member scores higher than a random non-member, ties counting half."),
    (
        "TPR at an FPR",
        (
            "The share of members scoring above the threshold that lets through the stated share of non-members. It "
            "is withheld where the number of non-members times the FPR is below 1, and its interval is wide below 10."
        ),
    ),
    (
        "Balanced accuracy",
        "The mean of the share of members called members and the share of non-members called non-members.",
    ),
    (
        "Operating point",
        (
            "An adversary does not know who is a member, so they set their threshold on shadow models. This is what "
            "that threshold does on the target: the FPR it was set for, the FPR it lands on, and the TPR it reaches."
        ),
    ),
    (
        "Verdict",
        (
            "How often an accusation is right at even odds, TPR / (TPR + FPR): below 60 % low, from 90 % high, "
            "between them moderate. A balanced accuracy is judged on the same scale. A leak counts only if chance "
            "lies below the interval, widened for the number of attacks tried."
        ),
    ),
    (
        "Share at risk",
        (
            "The share of members whose posterior reaches the stated threshold: whom the adversary could name and "
            "mostly be right."
        ),
    ),
    (
        "Overfitting gap",
        "Accuracy on the training records minus accuracy on others. A gap invites attacks; no gap is no safety.",
    ),
    ("Queries", "How many times one record is shown to the target by one attack."),
]
