"""What is around the routes (`Routing` of `push.http.framework.middleware`): all connections, a
first look at what they send, answers that go on, and the audit trail."""
