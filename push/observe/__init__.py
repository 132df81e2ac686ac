"""What operators see of a deployment: events as they happen, series, timelines, the audit trail."""
