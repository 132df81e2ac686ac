"""A real server for the test suites of applications: the pytest plugin and what its fixtures give.

`pytest` loads `push.testing.plugin` at each start, in every project of an environment that has this
package. So nothing is imported here.
"""
