"""Designate's five services as one process, joined by oslo.messaging's transport fake://, which is
in memory: no message broker is needed.

    designate_server.py prepare CONFIG
    designate_server.py serve CONFIG POOLS

prepare makes the tables, and ends.
"""
import sys

import eventlet
eventlet.monkey_patch(os=False)

MODE, CONFIG, POOLS = (sys.argv + [None])[1:4]

import pings  # noqa: E402,F401
import designate.conf  # noqa: E402
from designate import context, heartbeat_emitter, rpc, utils  # noqa: E402
from designate.cmd import api as _  # noqa: E402,F401 registers the options of the API
from oslo_log import log  # noqa: E402
from oslo_service import service  # noqa: E402

CONF = designate.conf.CONF


def main():
    utils.read_config('designate', [sys.argv[0], '--config-file', CONFIG])
    log.setup(CONF, 'designate')
    if MODE == 'prepare':
        from designate.manage.database import DatabaseCommands
        DatabaseCommands().sync()
        return
    rpc.init(CONF)
    from designate.api import service as api
    from designate.central import service as central
    from designate.mdns import service as mdns
    from designate.producer import service as producer
    from designate.worker import service as worker
    launcher = service.ServiceLauncher(CONF, restart_method='mutate')

    def launch(server, **emitter):
        launcher.launch_service(server)
        heartbeat_emitter.get_heartbeat_emitter(server.service_name, **emitter).start()

    first = central.Service()
    launch(first, rpc_api=first)
    update_pools()
    for module in (worker, mdns, producer, api):  # who reaches the API finds everything ready
        launch(module.Service())
    launcher.wait()


def update_pools():
    """Does what `designate-manage pool update` does."""
    from designate.manage.pool import PoolCommands
    commands = PoolCommands()
    commands.context = context.DesignateContext.get_admin_context(request_id='designate-manage')
    commands._setup()
    for pool in commands._load_config(POOLS):
        # While central starts, one of its threads may end the transaction of another.
        for patience in range(20, -1, -1):
            try:
                commands._create_or_update_pool(pool)
                break
            except Exception:
                if not patience:
                    raise
                eventlet.sleep(.5)


main()
