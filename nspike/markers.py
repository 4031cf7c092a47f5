"""The two pluggy markers: `hookimpl` for plugins, `hookspec` for `nspike.hookspecs`."""

import pluggy

hookspec = pluggy.HookspecMarker("nspike")
hookimpl = pluggy.HookimplMarker("nspike")
