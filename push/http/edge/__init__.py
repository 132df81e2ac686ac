"""What is around the routes (`Routing`, in `push.http.framework.middleware`): all connections together, a
first look at what they send, answers that go on, and the audit trail."""
