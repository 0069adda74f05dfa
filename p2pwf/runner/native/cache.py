"""actions/cache, cache/restore and cache/save: folders that later runs find again, by key.

Source of the meaning: the public documentation of actions/cache and the rules of its keys: at most 512 characters
each, no commas, at most ten of them; a key is first looked for whole, then as the beginning of one. What a cache
holds, and how its version is made, is protocols/artifacts.md; `cachefiles` does that.

A cache saves time and nothing else: where it cannot be found, fetched or kept, the job goes on, with a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from p2pwf.core.bodies import MAX_CACHES
from p2pwf.errors import NotFound, P2pwfError, UsageError
from p2pwf.runner.native.artifacts import hidden_name
from p2pwf.runner.native.cachefiles import Places, put_back, take, version_of
from p2pwf.runner.native.context import NativeAction, NativeContext
from p2pwf.runner.native.globs import Patterns, read_patterns
from p2pwf.runner.native.staging import scratch
from p2pwf.runner.values import Cache

MAX_KEY: Final = 512
MAX_KEYS: Final = 10
KEY: Final = "p2pwf-cache-primary-key"
MATCHED: Final = "p2pwf-cache-matched-key"


async def _restore(context: NativeContext) -> dict[str, str]:
    key = _hidden(context, _needed(context, "key"))
    keys = (key, *(hidden_name(context, other) for other in context.lines("restore-keys")))
    _check_keys(keys)
    must, only_look = context.flag("fail-on-cache-miss"), context.flag("lookup-only")
    context.flag("enablecrossosarchive")
    lines, patterns = _paths(context)
    context.saved[KEY] = key
    found = await _find(context, keys, version_of(context, lines))
    if found is not None and not only_look:
        found = await _put_back(context, found, patterns)
    if found is None:
        if must:
            raise NotFound(
                f"Failed to restore cache entry. Exiting as fail-on-cache-miss is set. Input key: {key}",
                "does an earlier run, or a job that this one needs, save it?",
            )
        context.say(f"Cache not found for input keys: {', '.join(keys)}")
        return {"cache-primary-key": key}
    context.saved[MATCHED] = found.key
    way = "Cache found and can be restored from key" if only_look else "Cache restored from key"
    context.say(f"{way}: {found.key}")
    hit = "true" if found.key.lower() == key.lower() else "false"
    return {"cache-primary-key": key, "cache-matched-key": found.key, "cache-hit": hit}


async def _save(context: NativeContext) -> dict[str, str]:
    key = _hidden(context, _needed(context, "key"))
    _check_keys((key,))
    await _keep(context, key)
    return {}


async def _save_later(context: NativeContext) -> None:
    key, matched = context.saved.get(KEY, ""), context.saved.get(MATCHED, "")
    if not key:
        context.warn("Key is not specified.")  # main has failed before it knew
    elif matched.lower() == key.lower():
        context.say(f"Cache hit occurred on the primary key {key}, not saving cache.")
    else:
        await _keep(context, key)


BOTH: Final = NativeAction(_restore, _save_later, "success()")
RESTORE: Final = NativeAction(_restore)
SAVE: Final = NativeAction(_save)


def _needed(context: NativeContext, name: str) -> str:
    given = context.text(name)
    if not given:
        raise UsageError(f"Input required and not supplied: {name}")
    return given


def _hidden(context: NativeContext, key: str) -> str:
    """A key without the secrets in it: it is told to the whole network."""
    hidden = hidden_name(context, key)
    if hidden != key:
        context.warn(f"The key of the cache holds a secret: it is kept as '{hidden}'")
    return hidden


def _check_keys(keys: Sequence[str]) -> None:
    if len(keys) > MAX_KEYS:
        raise UsageError(f"Key Validation Error: Keys are limited to a maximum of {MAX_KEYS}.", "drop restore-keys")
    for key in keys:
        if len(key) > MAX_KEY:
            raise UsageError(
                f"Key Validation Error: {key[:40]}… cannot be larger than {MAX_KEY} characters.",
                "hash what it is made of: hashFiles does",
            )
        if "," in key:
            raise UsageError(f"Key Validation Error: {key} cannot contain commas.", "use another sign")
        if "\0" in key or key != key.encode("utf-8", "replace").decode():
            raise UsageError(f"Key Validation Error: {key!r} is no text that can travel.", "use letters and digits")


def _paths(context: NativeContext) -> tuple[list[str], Patterns]:
    lines = context.lines("path")
    if not lines:
        raise UsageError("Input required and not supplied: path", "name the folders to keep")
    return lines, read_patterns(context, lines)


async def _find(context: NativeContext, keys: tuple[str, ...], version: str) -> Cache | None:
    """The cache that fits best; of those that fit alike, one that this job has saved."""
    state = context.state
    candidates = [one for one in reversed(state.caches) if one.version == version]
    if state.env.find_cache is not None:
        try:
            found = await state.env.find_cache(keys, version)
        except (P2pwfError, OSError) as error:
            context.warn(f"Failed to restore: {_reason(error)}")
        else:
            candidates += [] if found is None else [found]
    fitting = [(rank, one) for one in candidates if (rank := _rank(one.key, keys)) is not None]
    return min(fitting, key=lambda pair: pair[0])[1] if fitting else None


def _rank(key: str, keys: Sequence[str]) -> tuple[int, bool] | None:
    """How well a key fits, less is better: the first of those asked for that it is, or else begins with."""
    return next(((at, key != asked) for at, asked in enumerate(keys) if key.startswith(asked)), None)


async def _put_back(context: NativeContext, cache: Cache, patterns: Patterns) -> Cache | None:
    state = context.state
    try:
        async with scratch(state) as folder:
            await put_back(cache.link, state.env.fetch_blob, folder, Places.of(context), patterns, state.hand)
    except (P2pwfError, OSError) as error:
        context.warn(f"Failed to restore the cache '{cache.key}': {_reason(error)}")
        return None
    context.say(f"Cache Size: {cache.size} B")
    return cache


async def _keep(context: NativeContext, key: str) -> None:
    """Save what `path` names now, unless the key is taken; says why where it cannot be kept."""
    state = context.state
    store = state.env.store_folder
    lines, patterns = _paths(context)
    version = version_of(context, lines)
    try:
        taken = await _find(context, (key,), version)
        if taken is not None and taken.key == key:
            context.say(f"Failed to save: a cache of the key {key} is there already")
            return
        if store is None:
            context.warn("Failed to save: caches are not kept here")
            return
        if len(state.caches) >= MAX_CACHES:
            context.warn(f"Failed to save: over {MAX_CACHES} caches of one job")
            return
        async with scratch(state) as folder:
            tops = await state.hand.run(patterns.tops)
            if not tops:
                context.warn(
                    "Path Validation Error: Path(s) specified in the action for caching do(es) not exist, "
                    "hence no cache is being saved."
                )
                return
            await state.hand.run(take, tops, folder, Places.of(context), f"the cache '{key}'", into=[folder])
            stored = await store(folder, None)
    except (P2pwfError, OSError) as error:
        context.warn(f"Failed to save: {_reason(error)}")
        return
    state.caches.append(Cache(key=key, version=version, link=stored.link, size=stored.size))
    context.say(f"Cache saved with key: {key} ({stored.size} B)")


def _reason(error: P2pwfError | OSError) -> str:
    if isinstance(error, P2pwfError):
        return error.message if error.hint is None else f"{error.message} ({error.hint})"
    return f"{error.strerror or error}{': ' + str(error.filename) if error.filename else ''}"
