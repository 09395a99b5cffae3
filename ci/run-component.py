"""The part of wasmtime's command line that the checks use, by the package `wasmtime` of PyPI, which embeds its C API.

`run [-S inherit-network] [--env NAME=VALUE]... COMPONENT [ARGUMENT]...`, or `--version`. Without
`-S inherit-network`, the component has no network.
"""

import argparse
import importlib.metadata
import signal
import sys

from wasmtime import Engine, Store, WasiConfig
from wasmtime import _ffi as c_api
from wasmtime.component import Component, Linker


def arguments():
    parser = argparse.ArgumentParser(prog="wasmtime")
    parser.add_argument("--version", action="version", version="wasmtime " + importlib.metadata.version("wasmtime"))
    run = parser.add_subparsers(required=True).add_parser("run")
    choices = ["inherit-network", "allow-ip-name-lookup"]
    run.add_argument("-S", dest="wasi", action="append", choices=choices, default=[])
    run.add_argument("--env", action="append", default=[])
    run.add_argument("component")
    run.add_argument("own", nargs=argparse.REMAINDER)
    return parser.parse_args()


def wasi_of(options):
    wasi = WasiConfig()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    wasi.argv = [options.component, *options.own]
    wasi.env = [it.split("=", 1) for it in options.env]
    # WasiConfig has no methods for these yet.
    if "inherit-network" in options.wasi:
        c_api.wasi_config_inherit_network(wasi.ptr())
    if "allow-ip-name-lookup" in options.wasi:
        c_api.wasi_config_allow_ip_name_lookup(wasi.ptr(), True)
    return wasi


def main():
    options = arguments()
    # Python's own handler would run only after the component has returned.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    engine = Engine()
    component = Component.from_file(engine, options.component)
    linker = Linker(engine)
    linker.add_wasip2()
    store = Store(engine)
    store.set_wasi(wasi_of(options))
    instance = linker.instantiate(store, component)
    # The component exports the 0.2.x that it was built with. The host supports all of them.
    names = ["wasi:cli/run@0.2.%d" % patch for patch in range(20)]
    command = next(filter(None, map(component.get_export_index, names)))
    result = instance.get_func(store, component.get_export_index("run", command))(store)
    # The component returns `ok` or an error, which has no text.
    sys.exit(getattr(result, "tag", "ok") != "ok")


main()
