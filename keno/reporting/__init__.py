"""The operators' figures, the audit trail, and the audit of the whole."""
