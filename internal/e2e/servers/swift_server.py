"""Runs an OpenStack Swift of one device and one replica in one process, for tests: the proxy and the servers of accounts, containers and
objects, each with the code and the configuration that Swift ships, on free ports of 127.0.0.1.

Usage: swift_server.py DIRECTORY USER=KEY:GROUPS...

Everything is kept in DIRECTORY. Once all servers listen, the port of the proxy is in DIRECTORY/port."""

import os
import sys

import eventlet
import eventlet.wsgi

eventlet.patcher.monkey_patch()  # as Swift's own servers do, before anything else is imported

from swift.common import utils  # noqa: E402
from swift.common.middleware import listing_formats  # noqa: E402,F401

here, users = os.path.abspath(sys.argv[1]), sys.argv[2:]
devices = os.path.join(here, "devices")


class Cache(object):
    """What the proxy needs of memcached, which it shares with no other proxy here. Nothing expires before the test ends."""

    def __init__(self):
        self.values = {}

    def get(self, key, raise_on_error=False):
        return self.values.get(key)

    def set(self, key, value, serialize=True, time=0, min_compress_len=0, raise_on_error=False):
        self.values[key] = value

    def delete(self, key, server_key=None):
        self.values.pop(key, None)

    def incr(self, key, delta=1, time=0):
        self.values[key] = self.values.get(key, 0) + delta
        return self.values[key]


cache = Cache()


def cache_filter(global_conf, **local_conf):
    def make(app):
        def call(env, start_response):
            env["swift.cache"] = cache
            return app(env, start_response)
        return call
    return make


def attributes():
    """Reports whether the file system keeps attributes of files, where the object server has its metadata."""
    import xattr
    name = os.path.join(devices, "probe")
    with open(name, "w"):
        pass
    try:
        xattr.setxattr(name, "user.swift.metadata", b"x" * 300)
        return True
    except OSError:
        return False
    finally:
        os.remove(name)


def write(name, text):
    path = os.path.join(here, name)
    with open(path, "w") as f:
        f.write(text)
    return path


def ring(name, port):
    from swift.common.ring import RingBuilder
    builder = RingBuilder(2, 1, 1)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1",
                     "replication_port": port, "device": "d1", "weight": 1.0, "meta": ""})
    builder.rebalance()
    builder.get_ring().save(os.path.join(here, name + ".ring.gz"))


COMMON = """
[DEFAULT]
swift_dir = %(here)s
devices = %(devices)s
mount_check = false
disable_fallocate = true
log_level = WARNING
"""

STORAGE = COMMON + """
# A container must list an object when its upload is answered, however busy the machine is.
container_update_timeout = 300
node_timeout = 300
conn_timeout = 30

[pipeline:main]
pipeline = %(kind)s-server

[app:%(kind)s-server]
use = egg:swift#%(app)s
"""

PROXY = COMMON + """
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats tempauth copy slo dlo versioned_writes proxy-server

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:healthcheck]
use = egg:swift#healthcheck

[filter:cache]
paste.filter_factory = launched_swift:cache_filter

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:copy]
use = egg:swift#copy

[filter:slo]
use = egg:swift#slo

[filter:dlo]
use = egg:swift#dlo

[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true

[filter:tempauth]
use = egg:swift#tempauth
%(users)s

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
node_timeout = 300
recoverable_node_timeout = 300
conn_timeout = 30
"""


def main():
    os.makedirs(os.path.join(devices, "d1"))
    write("swift.conf", "[swift-hash]\nswift_hash_path_suffix = suffix\nswift_hash_path_prefix = prefix\n"
          "[storage-policy:0]\nname = gold\ndefault = yes\n[storage-policy:1]\nname = silver\n")
    utils.set_swift_dir(here)
    # These read swift.conf when they are imported.
    from swift.common.storage_policy import reload_storage_policies
    from swift.common.http_protocol import SwiftHttpProtocol
    from swift.common.wsgi import loadapp
    reload_storage_policies()

    sys.modules["launched_swift"] = sys.modules["__main__"]
    servers = []

    def listen(kind, template, **values):
        sock = eventlet.listen(("127.0.0.1", 0), backlog=4096)
        conf = write(kind + "-server.conf", template % dict(values, kind=kind, here=here, devices=devices))
        servers.append((kind, conf, sock))
        return sock.getsockname()[1]

    for kind in ("account", "container", "object"):
        app = kind
        if kind == "object" and not attributes():
            app = "mem_object"
        port = listen(kind, STORAGE, app=app)
        for name in [kind] if kind != "object" else ["object", "object-1"]:
            ring(name, port)
    lines = []
    for u in users:
        name, rest = u.split("=", 1)
        key, groups = rest.split(":", 1)
        lines.append("user_%s = %s %s" % (name.replace(":", "_"), key, groups.replace(",", " ")))
    port = listen("proxy", PROXY, users="\n".join(lines))

    threads = []
    for kind, conf, sock in servers:
        app = loadapp(conf, global_conf={"log_name": kind}, allow_modify_pipeline=kind == "proxy")
        threads.append(eventlet.spawn(eventlet.wsgi.server, sock, app, utils.NullLogger(), protocol=SwiftHttpProtocol,
                                      capitalize_response_headers=False, max_size=1024))
    os.rename(write("port.new", "%d" % port), os.path.join(here, "port"))
    for t in threads:
        t.wait()


main()
