"""Lists the items of other crates that the public API names, from the JSON of rustdoc: `public_types.py FILE`.

Leaves out items of std, and what every type has anyway: derived by the compiler, or implemented for all types.
"""

import json
import sys

STD = {"std", "core", "alloc"}


def is_own(item):
    """Whether the item is in the source, and isn't `impl<T> Trait for T`."""
    implementation = item["inner"].get("impl")
    return implementation is None or not (implementation["is_synthetic"] or implementation["blanket_impl"])


def named(value):
    """The ids of all items that a part of a signature names."""
    if isinstance(value, list):
        for part in value:
            yield from named(part)
    elif isinstance(value, dict):
        # A type, a trait, or `pub use`.
        if isinstance(value.get("id"), int) and ("args" in value or "is_glob" in value):
            yield value["id"]
        for part in value.values():
            yield from named(part)


def parts(value):
    """The ids of what belongs to a module, a type, a trait or an implementation; and of what `pub use` names."""
    if isinstance(value, list):
        for part in value:
            yield from parts(part)
    elif isinstance(value, dict):
        if "is_glob" in value:
            yield value["id"]
        for key, part in value.items():
            if key in ("items", "impls", "variants", "fields", "tuple"):
                yield from (it for it in part or [] if isinstance(it, int))
            yield from parts(part)


def public(docs):
    """All items that are reached from the root: what is public in a private module isn't in the API."""
    seen, waiting = set(), [docs["root"]]
    while waiting:
        number = waiting.pop()
        item = docs["index"].get(str(number))
        if number in seen or item is None or not is_own(item):
            continue
        seen.add(number)
        yield item
        waiting.extend(parts(item["inner"]))


def main():
    with open(sys.argv[1]) as file:
        docs = json.load(file)
    paths, crates = docs["paths"], docs["external_crates"]
    found = set()
    for item in public(docs):
        for number in named(item["inner"]):
            path = paths.get(str(number))
            if path and path["crate_id"] != 0:
                crate = crates[str(path["crate_id"])]["name"]
                if crate not in STD:
                    # Without its modules: private ones may be among them.
                    found.add(f"{crate}: {path['kind']} {path['path'][-1]}")
    print("\n".join(sorted(found)))


main()
