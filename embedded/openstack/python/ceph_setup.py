"""Prepares a Ceph cluster through its monitor. Each step may be repeated.

    ceph_setup.py osd CONFIG UUID     makes the OSD known
    ceph_setup.py filesystem CONFIG   makes the file system cephfs, and waits until it can be used
"""
import json
import sys
import time

import rados

STEP, CONFIG = sys.argv[1:3]
PATIENCE = 240  # seconds


def command(prefix, **arguments):
    status, out, error = cluster.mon_command(json.dumps(dict(arguments, prefix=prefix, format='json')), b'')
    if status:
        sys.exit('%s: %d %s' % (prefix, status, error))
    return json.loads(out) if out.strip() else None


def filesystem():
    pools = [p['poolname'] for p in command('osd lspools')]
    for pool in ('cephfs_metadata', 'cephfs_data'):
        if pool not in pools:
            command('osd pool create', pool=pool, pg_num=8)
    if not command('fs ls'):
        command('fs new', fs_name='cephfs', metadata='cephfs_metadata', data='cephfs_data')
    end = time.time() + PATIENCE
    while not usable(command('status')):
        if time.time() > end:
            sys.exit('the file system is not active after %d s: %s' % (PATIENCE, command('status')))
        time.sleep(.1)


def usable(status):
    return (status['osdmap']['num_up_osds'] == 1 and status['mgrmap']['available'] and
            any(r['status'] == 'up:active' for r in status['fsmap']['by_rank']))


cluster = rados.Rados(conffile=CONFIG)
cluster.connect(timeout=PATIENCE)
if STEP == 'osd':
    command('osd new', uuid=sys.argv[3])
else:
    filesystem()
cluster.shutdown()
