"""Trove's API, task manager and conductor as one process, joined by oslo.messaging's transport
fake://, which is in memory, with the fakes of its own package for Nova, Cinder, Neutron and Swift
(trove_shims.py), and real databases (trove_guest.py).

    trove_server.py prepare CONFIG
    trove_server.py serve CONFIG

prepare makes the tables, the datastores and the data of a new guest, and ends.
"""
import eventlet
eventlet.monkey_patch()

import os  # noqa: E402
import sys  # noqa: E402

import pings  # noqa: E402,F401
import trove_shims  # noqa: E402
from oslo_log import log  # noqa: E402
from oslo_service import service  # noqa: E402

import trove  # noqa: E402
from trove import rpc  # noqa: E402
from trove.common import base_wsgi, cfg, debug_utils, notification, pastedeploy  # noqa: E402
from trove.db import get_db_api  # noqa: E402

MODE, CONFIG = sys.argv[1:3]
CONF = cfg.CONF
# The versions are Trove's names: MariaDB serves both.
DATASTORES = (('mysql', '5.7.29'), ('mariadb', '10.4'))


def main():
    cfg.parse_args([sys.argv[0], '--config-file', CONFIG])
    log.setup(CONF, None)
    debug_utils.setup()
    rpc.init(CONF)
    db = get_db_api()
    if MODE == 'prepare':
        db.db_sync(CONF)
        db.configure_db(CONF)
        make_datastores()
        import trove_guest
        return trove_guest.install(os.environ['TROVE_TEMPLATE'])
    db.configure_db(CONF)
    import trove_guest
    trove_guest.restore()
    eventlet.spawn(trove_shims.heartbeat)
    serve()


def make_datastores():
    """Does what `trove-manage datastore_update` and its relatives do."""
    from trove.configuration import models as configurations
    from trove.datastore import models
    for name, version in DATASTORES:
        models.update_datastore(name, None)
        models.update_datastore_version(name, version, name, 'image', '', '', 1, version=version)
        models.update_datastore(name, version)
        rules = os.path.join(os.path.dirname(trove.__file__), 'templates', name, 'validation-rules.json')
        configurations.load_datastore_configuration_parameters(name, version, rules, version_number=version)


def serve():
    from trove.common.rpc import service as rpc_service
    from trove.conductor import api as conductor
    from trove.instance import models
    from trove.taskmanager import api as taskmanager
    notification.DBaaSAPINotification.register_notify_callback(models.persist_instance_fault)
    launcher = service.ServiceLauncher(CONF, restart_method='mutate')
    for topic, version, manager in (
            (CONF.taskmanager_queue, taskmanager.API.API_LATEST_VERSION, 'trove.taskmanager.manager.Manager'),
            (CONF.conductor_queue, conductor.API.API_LATEST_VERSION, 'trove.conductor.manager.Manager')):
        launcher.launch_service(rpc_service.RpcService(key=None, topic=topic, rpc_api_version=version, manager=manager))
    app = pastedeploy.paste_deploy_app(CONF.find_file(CONF.api_paste_config), 'trove', {})
    launcher.launch_service(base_wsgi.Service(app, CONF.bind_port, host='127.0.0.1', backlog=128, threads=100))
    launcher.wait()


main()
