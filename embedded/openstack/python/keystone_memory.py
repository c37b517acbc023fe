"""Answers that Keystone's drivers remember. For the roles in each token, Keystone reads the parents
of the project, the groups of the user and the implied roles several times, and its cache forgets
them with each role that it grants: tests of backends do that all the time. They were two thirds of
its queries. Only one process writes the tables, so that a driver knows when an answer changes.
"""
import copy
import functools
import itertools

from keystone.assignment.role_backends.sql import Role
from keystone.identity.backends.sql import Identity
from keystone.resource.backends.sql import Resource


def remember(driver, read, *writes):
    """Lets a driver's method repeat its answers until one of the others was called."""
    answers, changes = {}, itertools.count()
    latest = [next(changes)]
    original = getattr(driver, read)

    @functools.wraps(original)
    def reader(self, key, hints=None):
        if hints is not None and hints.filters:
            return original(self, key, hints)
        answer = answers.get(key)
        if answer is None:
            before = latest[0]
            answer = original(self, key) if hints is None else original(self, key, hints)
            if latest[0] == before:  # otherwise it may be older than the change
                answers[key] = answer
        return copy.deepcopy(answer)

    def forgetting(method):
        @functools.wraps(method)
        def write(self, *arguments, **keywords):
            try:
                return method(self, *arguments, **keywords)
            finally:
                latest[0] = next(changes)
                answers.clear()
        return write

    setattr(driver, read, reader)
    for name in writes:
        setattr(driver, name, forgetting(getattr(driver, name)))


remember(Resource, 'list_project_parents', 'update_project', 'delete_project', 'delete_projects_from_ids')
remember(Identity, 'list_groups_for_user', 'add_user_to_group', 'remove_user_from_group', 'delete_group', 'delete_user')
remember(Role, 'list_implied_roles', 'create_implied_role', 'delete_implied_role', 'delete_role')
