"""Manila's API, scheduler and share managers as one process, joined by oslo.messaging's transport
fake://, which is in memory.

    manila_server.py prepare CONFIG
    manila_server.py serve CONFIG

prepare makes the tables, and ends. serve makes the share types cephfs and nfs if they do not exist.
"""
import eventlet
eventlet.monkey_patch()
# As Manila's own programs do: https://bugs.launchpad.net/bugs/1863021
import __original_module_threading as original_threading  # noqa: E402
import threading  # noqa: E402
original_threading.current_thread.__globals__['_active'] = threading._active

import sys  # noqa: E402

import ceph_argparse  # noqa: E402
import pings  # noqa: E402,F401
from eventlet import tpool  # noqa: E402
from oslo_config import cfg  # noqa: E402
from oslo_log import log  # noqa: E402
from oslo_service import service as oslo_service  # noqa: E402

from manila import context, db, exception, rpc, service, utils, version  # noqa: E402
from manila.common import config  # noqa: E402

MODE, CONFIG = sys.argv[1:3]
CONF = cfg.CONF
TYPES = {'cephfs': 'CEPHFS', 'nfs': 'DUMMY'}
# What a crash leaves, and what an administrator makes of it.
SHARES = {'creating': 'error', 'deleting': 'error', 'extending': 'available', 'shrinking': 'available'}
RULES = {'applying': 'queued_to_apply', 'denying': 'queued_to_deny'}


def run_in_thread(function, *arguments, timeout=None, **keywords):
    with eventlet.Timeout(timeout or 3600, Exception('timed out')):
        return tpool.execute(function, *arguments, **keywords)


# A command to Ceph takes its thread of the process, which here the API needs as well: evicting a
# client takes a second.
ceph_argparse.run_in_thread = run_in_thread


def main():
    log.register_options(CONF)
    CONF(['--config-file', CONFIG], project='manila', version=version.version_string())
    log.setup(CONF, 'manila')
    if MODE == 'prepare':
        from manila.db import migration
        return migration.upgrade('head')
    config.verify_share_protocols()
    utils.monkey_patch()
    rpc.init(CONF)
    make_types()
    reset_shares()
    launcher = oslo_service.ServiceLauncher(CONF, restart_method='mutate')
    launcher.launch_service(service.Service.create(binary='manila-scheduler', coordination=True))
    for backend in CONF.enabled_share_backends:
        launcher.launch_service(service.Service.create(
            host='%s@%s' % (CONF.host, backend), service_name=backend, binary='manila-share', coordination=True))
    await_pools()
    apply_rules()
    launcher.launch_service(service.WSGIService('osapi_share'))
    launcher.wait()


def make_types():
    from manila.share import share_types
    for name, backend in TYPES.items():
        try:
            share_types.get_share_type_by_name(context.get_admin_context(), name)
        except exception.ShareTypeNotFoundByName:
            share_types.create(context.get_admin_context(), name, extra_specs={
                'driver_handles_share_servers': 'False', 'share_backend_name': backend,
                'snapshot_support': 'True', 'create_share_from_snapshot_support': 'True'})


def reset_shares():
    """Ends what an earlier process was at work on. A real queue would have kept most of the requests."""
    admin = context.get_admin_context()
    for instance in db.share_instances_get_all(admin):
        if instance['status'] in SHARES:
            db.share_instance_update(admin, instance['id'], {'status': SHARES[instance['status']]})
        for rule in db.share_access_get_all_for_instance(admin, instance['id'], {'state': list(RULES)}):
            db.share_instance_access_update(admin, rule['access_id'], instance['id'], {'state': RULES[rule['state']]})


def apply_rules():
    """Requests again what is queued: Manila does so only for drivers that ensure_shares."""
    from manila.share import rpcapi
    admin = context.get_admin_context()
    for instance in db.share_instances_get_all(admin):
        if instance['host'] and db.share_access_get_all_for_instance(admin, instance['id'], {'state': list(RULES.values())}):
            rpcapi.ShareAPI().update_access(admin, instance)


def await_pools():
    """Waits until the scheduler knows every pool: before, it refuses shares."""
    from manila.scheduler import rpcapi
    while True:
        pools = rpcapi.SchedulerAPI().get_pools(context.get_admin_context())
        if len(pools) >= len(CONF.enabled_share_backends):
            return
        eventlet.sleep(.2)


main()
