"""Trove's guests. Where Trove would send messages to an agent in a virtual machine, it gets a Guest
of this module: a MariaDB server on a loopback address of its own, port 3306, which has the
databases, users and rights. All state is on disk, so that restore continues after a restart.

The environment names the folder (TROVE_GUESTS) and the first three numbers of the addresses
(TROVE_NETWORK).
"""
import ctypes
import json
import os
import secrets
import shutil
import signal
import subprocess

import eventlet
import pymysql
from pymysql.converters import escape_string

from trove.common import exception
from trove.common.context import TroveContext
from trove.instance import service_status
from trove.instance.models import DBInstance, InstanceServiceStatus
from trove.instance.tasks import InstanceTasks
from trove.tests.fakes import neutron, nova

STATUS = service_status.ServiceStatuses
FOLDER = os.environ.get('TROVE_GUESTS', '')
NETWORK = os.environ.get('TROVE_NETWORK', '')
TEMPLATE = os.environ.get('TROVE_TEMPLATE', '')
SYSTEM = ('information_schema', 'mysql', 'performance_schema', 'sys')
# Small: a test makes many.
OPTIONS = ['--no-defaults', '--innodb-log-file-size=4M', '--innodb-buffer-pool-size=8M', '--performance-schema=OFF',
           '--skip-name-resolve', '--innodb-flush-log-at-trx-commit=2', '--innodb-flush-method=nosync',
           '--key-buffer-size=64K', '--aria-pagecache-buffer-size=1M', '--table-open-cache=64', '--max-connections=30']
GUESTS = {}


def install(folder):
    """Makes the data of a new server, which every guest copies."""
    subprocess.check_call(['mariadb-install-db', *OPTIONS, '--datadir=' + folder, '--auth-root-authentication-method=normal',
                           '--skip-test-db'], stdout=subprocess.DEVNULL)


def text(value):
    return "'%s'" % escape_string(value)


def name(value):
    return '`%s`' % value.replace('`', '``')


def account(user, host):
    return '%s@%s' % (text(user), text(host or '%'))


def die_with_parent():
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class Guest:
    def __init__(self, id):
        self.id = id
        self.folder = os.path.join(FOLDER, id[:13])
        self.process = None
        self.address = self.take_address()

    # The server

    def take_address(self):
        file = os.path.join(self.folder, 'address')
        if os.path.exists(file):
            with open(file) as f:
                return f.read()
        taken = {g.address for g in GUESTS.values()}
        address = next(a for a in ('%s.%d' % (NETWORK, n) for n in range(2, 255)) if a not in taken)
        os.makedirs(self.folder, mode=0o700)
        with open(file, 'w') as f:
            f.write(address)
        return address

    def path(self, name):
        return os.path.join(self.folder, name)

    def up(self):
        """Starts the server, unless it runs. It ends with this process, and like it has the folder of the cloud
        as file descriptor 3, by which the next start finds what a crash has left."""
        if self.process and self.process.poll() is None:
            return
        with open(self.path('init.sql'), 'w') as f:  # the installed accounts have no passwords
            f.write("DELETE FROM mysql.global_priv WHERE User = '' OR User = 'root' AND Host NOT IN ('localhost', '%');\n"
                    "FLUSH PRIVILEGES;\n")
        with open(self.path('log'), 'ab') as log:
            self.process = subprocess.Popen(
                ['mariadbd', *OPTIONS, '--datadir=' + self.path('data'), '--socket=' + self.path('sock'), '--bind-address=' + self.address,
                 '--port=3306', '--init-file=' + self.path('init.sql'), *self.overrides()],
                stdout=log, stderr=subprocess.STDOUT, preexec_fn=die_with_parent, pass_fds=(3,))
        for _ in range(1200):
            try:
                return self.sql('SELECT 1')
            except pymysql.err.OperationalError:
                if self.process.poll() is not None:
                    break
                eventlet.sleep(.1)
        raise RuntimeError('MariaDB of instance %s does not answer' % self.id)

    def down(self):
        if self.process:
            self.process.terminate()
            while self.process.poll() is None:
                eventlet.sleep(.05)
            self.process = None

    def remove(self):
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)
        GUESTS.pop(self.id, None)

    def sql(self, *statements):
        """Returns the rows of the last statement."""
        connection = pymysql.connect(unix_socket=self.path('sock'), user='root', autocommit=True)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall()
        finally:
            connection.close()

    def tool(self, *command, **files):
        subprocess.check_call([command[0], '--no-defaults', '--user=root', '--socket=' + self.path('sock'), *command[1:]], **files)

    # Its life

    def prepare(self, memory_mb, packages, databases, users, backup_info=None, root_password=None, overrides=None, **_):
        self.write_overrides(overrides)

        def work():
            status = STATUS.HEALTHY
            try:
                # As the packaged fake: so a test can have a guest that fails.
                if DBInstance.find_by(id=self.id).name.endswith('GUEST_ERROR'):
                    raise RuntimeError('the name of the instance asks for an error')
                self.fill(databases, users, backup_info, root_password)
            except Exception as e:
                print('guest', self.id, repr(e), flush=True)
                status = STATUS.FAILED
            self.report(status)
            from trove.guestagent.models import AgentHeartBeat
            AgentHeartBeat.create(instance_id=self.id)
        eventlet.spawn(work)

    def fill(self, databases, users, backup_info, root_password):
        if not os.path.exists(self.path('data')):
            shutil.rmtree(self.path('data.new'), ignore_errors=True)
            subprocess.check_call(['cp', '-a', TEMPLATE, self.path('data.new')])
            os.rename(self.path('data.new'), self.path('data'))
        self.up()
        # The agent's own account, which Trove hides after it has counted it.
        self.sql('CREATE OR REPLACE USER %s IDENTIFIED BY %s' % (account('os_admin', '%'), text(secrets.token_urlsafe())))
        if backup_info:
            with open(backup(backup_info['id'])) as f:
                self.tool('mariadb', stdin=f)
        self.create_database(databases or [])
        self.create_user(users or [])
        if root_password:
            self.enable_root(root_password)

    def report(self, status):
        known = InstanceServiceStatus.find_by(instance_id=self.id)
        known.status = status
        known.save()

    def restart(self):
        self.down()
        self.up()
        self.report(STATUS.HEALTHY)

    def stop_db(self, do_not_start_on_reboot=False):
        self.down()
        self.report(STATUS.SHUTDOWN)

    def start_db_with_conf_changes(self, config_contents, ds_version):
        self.up()
        self.report(STATUS.HEALTHY)

    def rebuild(self, ds_version, config_contents=None, config_overrides=None):
        self.start_db_with_conf_changes(config_contents, ds_version)

    # Databases

    def create_database(self, databases):
        for d in databases:
            statement = 'CREATE DATABASE IF NOT EXISTS ' + name(d['_name'])
            if d.get('_character_set'):
                statement += ' CHARACTER SET ' + name(d['_character_set'])
            if d.get('_collate'):
                statement += ' COLLATE ' + name(d['_collate'])
            self.sql(statement)

    def delete_database(self, database):
        self.sql('DROP DATABASE IF EXISTS ' + name(database['_name']))

    def databases(self):
        rows = self.sql('SELECT schema_name, default_character_set_name, default_collation_name FROM information_schema.schemata '
                        'WHERE schema_name NOT IN %r' % (SYSTEM,))
        return {r[0]: {'_name': r[0], '_character_set': r[1], '_collate': r[2]} for r in rows}

    def list_databases(self, limit=None, marker=None, include_marker=False):
        return page(self.databases(), limit, marker, include_marker)

    # Users

    def users(self):
        rows = self.sql("SELECT user, host FROM mysql.user WHERE host <> 'localhost' AND is_role = 'N'")
        return {'%s@%s' % (u, h): (u, h) for u, h in rows}

    def known(self, user, host):
        if '%s@%s' % (user, host) not in self.users():
            raise exception.UserNotFound('User %s@%s cannot be found on the instance.' % (user, host))

    def create_user(self, users):
        for u in users:
            who = account(u['_name'], u['_host'])
            self.sql('CREATE OR REPLACE USER %s IDENTIFIED BY %s' % (who, text(u['_password'])))
            self.grant_access(u['_name'], u['_host'] or '%', [d['_name'] for d in u['_databases']])

    def delete_user(self, user):
        self.sql('DROP USER IF EXISTS ' + account(user['_name'], user['_host']))

    def list_users(self, limit=None, marker=None, include_marker=False):
        found, following = page(self.users(), limit, marker, include_marker)
        return [self.user(u, h) for u, h in found], following

    def get_user(self, username, hostname):
        self.known(username, hostname)
        return self.user(username, hostname)

    def user(self, user, host):
        return {'_name': user, '_host': host, '_password': None, '_databases': self.rights(user, host), '_is_root': False}

    def rights(self, user, host):
        rows = self.sql('SELECT DISTINCT table_schema FROM information_schema.schema_privileges WHERE grantee = %s'
                        % text(account(user, host)))
        return [{'_name': r[0], '_character_set': '', '_collate': ''} for r in rows]

    def list_access(self, username, hostname):
        self.known(username, hostname)
        return self.rights(username, hostname)

    def grant_access(self, username, hostname, databases):
        self.known(username, hostname)
        for d in databases:
            self.sql('GRANT ALL ON %s.* TO %s' % (name(d), account(username, hostname)))

    def revoke_access(self, username, hostname, database):
        self.known(username, hostname)
        if database not in [d['_name'] for d in self.rights(username, hostname)]:
            raise exception.DatabaseNotFound('Database %s cannot be found on the instance.' % database)
        self.sql('REVOKE ALL ON %s.* FROM %s' % (name(database), account(username, hostname)))

    def change_passwords(self, users):
        for u in users:
            self.update_attributes(u['name'], u['host'], {'password': u['password']})

    def update_attributes(self, username, hostname, user_attrs):
        hostname = hostname or '%'
        self.known(username, hostname)
        old, new = account(username, hostname), account(user_attrs.get('name') or username, user_attrs.get('host') or hostname)
        if old != new:
            self.sql('RENAME USER %s TO %s' % (old, new))
        if user_attrs.get('password'):
            self.sql('ALTER USER %s IDENTIFIED BY %s' % (new, text(user_attrs['password'])))

    def enable_root(self, root_password=None):
        password = root_password or secrets.token_urlsafe(18)
        self.create_user([{'_name': 'root', '_host': '%', '_password': password, '_databases': []}])
        self.sql("GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION")
        return {'_name': 'root', '_host': '%', '_password': password, '_databases': []}

    enable_root_with_password = enable_root

    def disable_root(self):
        self.delete_user({'_name': 'root', '_host': '%'})

    def is_root_enabled(self):
        return 'root@%' in self.users()

    # Configuration groups

    def overrides(self):
        try:
            with open(self.path('overrides.json')) as f:
                return ['--loose-%s=%s' % (k.replace('_', '-'), v) for k, v in json.load(f).items()]
        except FileNotFoundError:
            return []

    def write_overrides(self, overrides):
        with open(self.path('overrides.json'), 'w') as f:
            json.dump({k: int(v) if isinstance(v, bool) else v for k, v in (overrides or {}).items()}, f)

    def update_overrides(self, overrides, remove=False):
        self.write_overrides({} if remove else overrides)

    def apply_overrides(self, overrides):
        for variable, value in overrides.items():
            try:
                self.sql('SET GLOBAL %s = %s' % (name(variable), value if isinstance(value, (int, float)) else text(str(value))))
            except pymysql.err.MySQLError as e:
                print('guest', self.id, 'needs a restart for', variable, repr(e), flush=True)

    def reset_configuration(self, configuration=None):
        pass

    # Backups

    def create_backup(self, backup_info):
        from trove.backup.models import Backup
        from trove.backup.state import BackupState
        record = Backup.get_by_id(context=None, backup_id=backup_info['id'])

        def work():
            try:
                self.dump(backup(record.id))
                record.state, record.location = BackupState.COMPLETED, 'http://localhost/backups/' + record.id
                record.checksum, record.size = 'none', max(os.path.getsize(backup(record.id)) / 2**30, .01)
            except Exception as e:
                print('guest', self.id, 'backup', repr(e), flush=True)
                record.state = BackupState.FAILED
            record.save()
        eventlet.spawn_after(1, work)

    def dump(self, file):
        """Writes the databases and users, as Trove's backups contain them, to a file."""
        names = list(self.databases())
        with open(file + '.new', 'w') as f:
            if names:
                self.tool('mariadb-dump', '--single-transaction', '--routines', '--events', '--databases', *names, stdout=f)
                f.flush()
                f.seek(0, os.SEEK_END)
            for user, host in self.users().values():
                if user in ('os_admin', 'root'):
                    continue
                who = account(user, host)
                for row in self.sql('SHOW CREATE USER ' + who) + self.sql('SHOW GRANTS FOR ' + who):
                    f.write(row[0].replace('CREATE USER', 'CREATE OR REPLACE USER', 1) + ';\n')
        os.rename(file + '.new', file)

    # What has no meaning without a virtual machine and replication

    def get_volume_info(self):
        return {'used': .16, 'total': 4.0}

    def get_hwinfo(self):
        return {'mem_total': 524288, 'num_cpus': 1}

    def rpc_ping(self):
        return True

    def backup_required_for_replication(self):
        return True

    def __getattr__(self, method):
        if method in ('mount_volume', 'unmount_volume', 'resize_fs', 'pre_upgrade', 'post_upgrade', 'update_guest', 'make_read_only',
                      'module_list', 'module_apply', 'module_remove', 'guest_log_list'):
            return lambda *_, **__: [] if method.endswith('list') else {}
        raise AttributeError(method)


def page(resources, limit, marker, include_marker):
    """Returns a page of resources in the order of their names, and the marker of the next."""
    names = sorted(n for n in resources if not marker or n > marker or include_marker and n == marker)
    following = names[limit - 1] if limit and len(names) > limit else None
    return [resources[n] for n in names[:limit or None]], following


def backup(id):
    folder = os.path.join(FOLDER, 'backups')
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return os.path.join(folder, id + '.sql')


def guest(context, id, manager=None):
    """Makes the client of a guest, for Trove's option remote_guest_client."""
    if id not in GUESTS:
        GUESTS[id] = Guest(id)
    return GUESTS[id]


# Servers and addresses: the guest is what the fakes' server would run.

def of_server(server):
    return GUESTS.get(DBInstance.find_by(compute_instance_id=server).id)


_delete = nova.FakeServer.delete


def delete(self):
    try:
        found = of_server(self.id)
        if found:
            found.remove()
    except Exception as e:
        print('guest of server', self.id, repr(e), flush=True)
    return _delete(self)


def list_ports(self, *_, **filters):
    try:
        found = of_server(filters['device_id'])
    except Exception:
        found = None
    if not found:
        return {'ports': []}
    return {'ports': [{'id': 'port-' + found.id, 'network_id': 'network', 'fixed_ips': [{'ip_address': found.address, 'subnet_id': 'subnet'}]}]}


nova.FakeServer.delete = delete
neutron.FakeNeutronClient.list_ports = list_ports


def restore():
    """Makes the servers and volumes of existing instances, which the fakes had in memory, and starts the guests. An
    instance on which Trove was at work has an error if its server does not run, as after an operator's reset."""
    started = []
    for instance in DBInstance.find_all(deleted=False):
        if not instance.compute_instance_id:
            instance.set_task_status(InstanceTasks.NONE)
            instance.save()
            known = InstanceServiceStatus.find_by(instance_id=instance.id)
            known.status = STATUS.FAILED
            known.save()
            continue
        context = TroveContext(project_id=instance.tenant_id)
        client = nova.FakeClient(context)
        volumes = []
        if instance.volume_id:
            volume = nova.FakeVolume(client.volumes, context, instance.volume_id, instance.volume_size, 'trove-' + instance.id, '', None, None)
            nova.FAKE_VOLUMES_DB[volume.id] = volume
            volumes.append(volume)
        server = nova.FakeServer(client.servers, context, instance.compute_instance_id, instance.name, 'image',
                                 'flavors/%s' % instance.flavor_id, volumes, None)
        server._current_status = 'HEALTHY'
        nova.FAKE_SERVERS_DB[server.id] = server
        started.append(eventlet.spawn(resume, instance))
    for thread in started:
        thread.wait()


def resume(instance):
    status = STATUS.FAILED
    found = guest(None, instance.id)
    if os.path.exists(found.path('data')):
        try:
            found.up()
            status = STATUS.HEALTHY
        except Exception as e:
            print('guest', instance.id, repr(e), flush=True)
    instance.set_task_status(InstanceTasks.NONE)
    instance.save()
    found.report(status)
