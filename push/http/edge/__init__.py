"""What the edge does beside routing: answers that go on, and the audit trail."""
