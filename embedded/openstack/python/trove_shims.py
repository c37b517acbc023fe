"""What Trove 18 needs to run with the fakes of Nova, Cinder, Neutron and Swift in its own package
(trove.tests.fakes), which nobody has run for some releases. Nothing of Trove itself is changed.
"""
import copy
import inspect
import sys
import types
import urllib.parse
import uuid

import eventlet

# Python 3.11 no longer has getargspec, which a library of Trove's API calls.
if not hasattr(inspect, 'getargspec'):
    inspect.getargspec = lambda function: inspect.getfullargspec(function)[:4]


def unquote_user_host(text):
    name, at, host = urllib.parse.unquote(text).rpartition('@')
    return (name, host) if at else (text, '%')


# trove.tests.util imports proboscis, which Debian does not have. The fakes need one function of it.
sys.modules['trove.tests.util'] = types.ModuleType('trove.tests.util')
sys.modules['trove.tests.util'].unquote_user_host = unquote_user_host

from trove.common import utils  # noqa: E402
from trove.common.context import TroveContext  # noqa: E402
from trove.instance import service_status  # noqa: E402
from trove.instance.models import DBInstance, InstanceServiceStatus  # noqa: E402
from trove.tests.fakes import nova  # noqa: E402

# The fakes ask a context for its tenant, which is its project now.
TroveContext.tenant = property(lambda self: self.project_id)

# Deserialization empties the dictionary that it gets, and fake:// hands over the sender's own.
_from_dict = TroveContext.from_dict.__func__
TroveContext.from_dict = classmethod(lambda cls, values: _from_dict(cls, copy.deepcopy(values)))

# Trove waits ten seconds before it looks at a server with another flavor, and five for a larger
# volume, as for virtual machines. The fakes are faster.
_polling_task = utils.build_polling_task
utils.build_polling_task = lambda retriever, condition=lambda value: value, sleep_time=1, time_out=0, initial_delay=0: (
    _polling_task(retriever, condition, min(sleep_time, .5), time_out, min(initial_delay, .5)))

# The fakes' ids, a prefix and 36 characters, are longer than the database's columns.
nova.uuid = types.SimpleNamespace(uuid4=lambda: uuid.uuid4().hex[:24])


def tolerant(cls, name):
    """Lets a method of a fake ignore the keyword arguments that it does not know."""
    method = getattr(cls, name)
    known = set(inspect.signature(method).parameters)

    def call(self, *arguments, **keywords):
        return method(self, *arguments, **{k: v for k, v in keywords.items() if k in known})
    setattr(cls, name, call)


# Trove passes meta, limit and others, which the clients have and the fakes lack.
tolerant(nova.FakeServers, 'create')
tolerant(nova.FakeServers, 'list')
tolerant(nova.FakeVolumes, 'create')

# The fake server has the guest's word HEALTHY for what Nova calls ACTIVE.
nova.FakeServer.status = property(lambda self: 'ACTIVE' if self._current_status == 'HEALTHY' else self._current_status)

# Trove reads addresses and the image in the form that novaclient has them.
nova.FakeServer.addresses = property(lambda self: {'private': [{'addr': '127.0.0.1', 'version': 4, 'OS-EXT-IPS:type': 'fixed'}]})
nova.FakeServer.image = property(lambda self: {'id': self.image_id})

# Trove stops and starts servers, and forces their deletion.
nova.FakeServer.force_delete = lambda self: self.delete()
nova.FakeServer.stop = lambda self: self.schedule_status('SHUTOFF', .5)
nova.FakeServer.start = lambda self: self.schedule_status('HEALTHY', .5)


def volumes(self, detailed=True, search_opts=None):
    name = (search_opts or {}).get('name')
    return [v for v in self.db.values() if name in (None, v.name)]


# Trove looks for volumes by name, and deletes them.
nova.FakeVolumes.list = volumes
nova.FakeVolume.delete = lambda self: nova.FAKE_VOLUMES_DB.pop(self.id, None)
nova.FakeVolumes.delete = lambda self, volume: nova.FAKE_VOLUMES_DB.pop(getattr(volume, 'id', volume), None)


def extend(self, volume, size):
    eventlet.spawn_after(1, setattr, self.get(volume), 'size', size)


# Trove extends a volume that is in use, and the fake refuses it.
nova.FakeVolumes.extend = extend


def report(server, status, *only):
    """Sets what Trove knows of the database on a server, if it is one of some states now."""
    instance = DBInstance.find_by(compute_instance_id=server, deleted=False)
    known = InstanceServiceStatus.find_by(instance_id=instance.id)
    if not only or known.status in only:
        known.status = status
        known.save()


def started(self, server, delay):
    eventlet.spawn_after(delay, report, server, service_status.ServiceStatuses.HEALTHY)


# A fake guest says RUNNING after a restart, for which Trove waits no more: it wants HEALTHY.
nova.FakeServers.schedule_simulate_running_server = started


def heartbeat():
    """Reports databases as healthy that Trove has paused for a resize: the guest agent's part."""
    while True:
        eventlet.sleep(1)
        for server in list(nova.FAKE_SERVERS_DB.values()):
            if server._current_status in ('VERIFY_RESIZE', 'HEALTHY'):
                try:
                    report(server.id, service_status.ServiceStatuses.HEALTHY, service_status.ServiceStatuses.PAUSED)
                except Exception:  # it has just been deleted
                    continue


class Image(dict):
    """An image, with its fields as attributes."""
    __getattr__ = dict.get


class Glance:
    """Trove's package has no fake of Glance, which knows the image of every datastore version."""

    def __init__(self):
        self.images = self

    def get(self, id):
        return Image(id=id, status='active', name='image', min_disk=0, min_ram=0)

    def list(self, **_):
        return [self.get('image')]


def glance(context, region_name=None):
    return Glance()
