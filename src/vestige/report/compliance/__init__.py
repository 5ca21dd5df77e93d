"""What an audit can say to whoever assesses the processing, as a typed record whose statements cite the log.

The record holds evidence and open fields, and no legal conclusion. It is made from an `AuditLog` alone.
"""

from __future__ import annotations

from vestige.report.compliance.build import record
from vestige.report.compliance.schema import ComplianceRecord

__all__ = ["ComplianceRecord", "record"]
