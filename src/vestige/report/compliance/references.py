"""The texts that ask for a record like this one, in a tool's words: each is to be compared with its original."""

from __future__ import annotations

from vestige.report.compliance.schema import Band, Reference

REFERENCES = [
    Reference(
        id="gdpr",
        title="GDPR, Regulation (EU) 2016/679, Articles 5, 15–21, 25, 30, 32–36 and Recital 26",
        asks=(
            "An impact assessment describes the processing and its purposes, its necessity and proportionality, the "
            "risks to people, and the measures against them; advice and views of those concerned are sought."
        ),
    ),
    Reference(
        id="edpb-28-2024",
        title="EDPB Opinion 28/2024 on AI models, 17 December 2024",
        asks=(
            "Whether a model's data are anonymous is judged case by case: by all means reasonably likely to be used, "
            "both extracting personal data from the model and obtaining them by queries must be insignificant."
        ),
    ),
    Reference(
        id="wp29-05-2014",
        title="Article 29 Working Party, Opinion 05/2014 on anonymisation techniques",
        asks="Three questions: can a person be singled out, can records be linked, can something be inferred?",
    ),
    Reference(
        id="cnil",
        title="CNIL, recommendations on AI (status of a model under the GDPR, security of development)",
        asks="Analyse and document whether a model holds personal data; test it where memorisation is not ruled out.",
    ),
    Reference(
        id="ico",
        title="ICO, guidance on AI and data protection (security and data minimisation)",
        asks="Know which privacy attacks apply to the system, membership inference among them, and manage their risk.",
    ),
    Reference(
        id="nist",
        title="NIST AI 100-2 (adversarial machine learning) and AI RMF 1.0, MEASURE",
        asks="Name attacks by the adversary's goal, knowledge and capability; measure security and privacy risk.",
    ),
    Reference(
        id="iso-27559",
        title="ISO/IEC 27559:2022, privacy-enhancing data de-identification framework",
        asks="Model threats, give the largest as well as the average risk, test as an adversary would, treat, repeat.",
    ),
    Reference(
        id="ccpa",
        title="California, CCPA regulations on risk assessments, in force from 1 January 2026",
        asks="Assess the risk before significant processing; say who supplied information and who approved; renew it.",
    ),
    Reference(
        id="ai-act",
        title="EU AI Act, Regulation (EU) 2024/1689, Articles 10, 15, 27 and Annex IV",
        asks="Data governance, resilience against confidentiality attacks, technical documentation.",
    ),
]

FPR = 0.001
"""The false-positive rate at which the likelihood is read."""

BANDS = [
    Band(level="not distinguishable from chance at this power", up_to=0.002),
    Band(level="low", up_to=0.01),
    Band(level="medium", up_to=0.1),
    Band(level="high", up_to=None),
]
"""A convention of this tool, taken from no legal text: a person may choose others."""
