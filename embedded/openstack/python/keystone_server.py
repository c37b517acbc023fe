"""Keystone as one process, with the accounts and addresses of a private cloud.

    keystone_server.py prepare CONFIG
    keystone_server.py serve CONFIG ACCOUNTS

prepare makes the tables, and ends. serve makes the accounts that the JSON file ACCOUNTS describes,
as far as they do not exist, corrects the addresses of services, and writes the ids that clients
need to the file that it names.
"""
import json
import os
import sys
import uuid

MODE, CONFIG, ACCOUNTS = (sys.argv + [None])[1:4]
sys.argv = sys.argv[:1]  # Keystone parses the rest of the command line

import keystone_memory  # noqa: E402,F401
import pings  # noqa: E402,F401
import keystone.server  # noqa: E402
from keystone import exception  # noqa: E402
from keystone.cmd import bootstrap  # noqa: E402
from keystone.common import driver_hints, provider_api  # noqa: E402
from keystone.common.rbac_enforcer.enforcer import RBACEnforcer  # noqa: E402
from keystone.common.sql import upgrades  # noqa: E402
from keystone.server.flask import core  # noqa: E402

API = provider_api.ProviderAPIs


def first(listing, **wanted):
    """Returns the first object of a listing with these attributes, or None."""
    hints = driver_hints.Hints()
    for name, value in wanted.items():
        hints.add_filter(name, value)
    return next((o for o in listing(hints) if all(o.get(k) == v for k, v in wanted.items())), None)


class Accounts(bootstrap.Bootstrapper):
    """What `keystone-manage bootstrap` makes, and the accounts of the other services."""

    def __init__(self, wanted):  # the inherited one would load the backends again
        self.wanted = wanted
        self.admin_username, self.admin_password = 'admin', wanted['admin']
        self.project_name, self.admin_role_name = 'admin', 'admin'
        self.reader_role_name, self.member_role_name = 'reader', 'member'
        self.region_id, self.service_name = wanted['region'], 'keystone'
        self.public_url = self.internal_url = self.admin_url = wanted['url']
        self.immutable_roles, self.endpoints = False, {}

    def converge(self):
        self.bootstrap()
        self.service_role = self._ensure_role_exists('service')['id']
        self.services()
        return self.broker()

    def services(self):
        project = self.project('service')
        for s in self.wanted['services']:
            user = self.user(s['name'], s['password'], self.default_domain_id)
            for role in (self.admin_role_id, self.service_role):
                self.grant(role, user, project_id=project)
            self.endpoint(s)

    def project(self, name):
        found = first(API.resource_api.list_projects, name=name, domain_id=self.default_domain_id)
        if not found:
            found = {'id': uuid.uuid4().hex, 'name': name, 'domain_id': self.default_domain_id, 'enabled': True, 'description': ''}
            API.resource_api.create_project(found['id'], found)
        return found['id']

    def user(self, name, password, domain):
        try:
            return API.identity_api.get_user_by_name(name, domain)['id']
        except exception.UserNotFound:
            return API.identity_api.create_user({'name': name, 'password': password, 'domain_id': domain, 'enabled': True})['id']

    def grant(self, role, user, **target):
        API.assignment_api.create_grant(role, user_id=user, **target)

    def endpoint(self, s):
        service = first(API.catalog_api.list_services, type=s['type'])
        if not service:
            service = {'id': uuid.uuid4().hex, 'name': s['name'], 'type': s['type'], 'enabled': True}
            API.catalog_api.create_service(service['id'], service)
        endpoint = first(API.catalog_api.list_endpoints, service_id=service['id'], interface='public')
        if not endpoint:
            endpoint = {'id': uuid.uuid4().hex, 'interface': 'public', 'url': s['url'], 'service_id': service['id'],
                        'region_id': self.region_id, 'enabled': True}
            API.catalog_api.create_endpoint(endpoint['id'], endpoint)
        elif endpoint['url'] != s['url']:
            API.catalog_api.update_endpoint(endpoint['id'], dict(endpoint, url=s['url']))

    def broker(self):
        """Makes the broker's domain, its account, and one with too many rights."""
        domain = first(API.resource_api.list_domains, name=self.wanted['domain'])
        if not domain:
            domain = {'id': uuid.uuid4().hex, 'name': self.wanted['domain'], 'enabled': True, 'description': ''}
            API.resource_api.create_domain(domain['id'], domain)
        role = self._ensure_role_exists('chandler_broker')['id']
        for name, role in (('chandler', role), ('broker', self.admin_role_id)):
            self.grant(role, self.user(name, self.wanted[name], domain['id']), domain_id=domain['id'])
        return {'domain_id': domain['id'], 'member_role_id': self.member_role_id, 'admin_project_id': self.project_id}


def main():
    if MODE == 'prepare':
        keystone.server.configure(config_files=[CONFIG])
        return upgrades.offline_sync_database_to_version(None)
    with open(ACCOUNTS) as f:
        wanted = json.load(f)
    app = core.initialize_application('public', config_files=[CONFIG])
    ids = Accounts(wanted).converge()
    with open(wanted['ids'] + '.new', 'w') as f:
        json.dump(ids, f)
    os.rename(wanted['ids'] + '.new', wanted['ids'])
    # The first request would make the policy, and others at the same time be refused by its first half.
    RBACEnforcer()._enforcer.load_rules()
    import waitress
    # More processes would see revocations late: each has a cache of its own. Clients keep connections
    # open, and one above the limit would wait until others close theirs.
    waitress.serve(app, host='127.0.0.1', port=wanted['port'], threads=4, connection_limit=2000, ident=None)


main()
