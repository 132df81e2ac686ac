"""What `push.http.framework.middleware` needs beside routing: all connections together, a first
look at what they send, answers that go on, and the audit trail."""
