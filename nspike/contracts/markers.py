"""The two pluggy markers: `hookimpl` for plugins, `hookspec` for `nspike.contracts.hooks`."""

import pluggy

hookspec = pluggy.HookspecMarker("nspike")
hookimpl = pluggy.HookimplMarker("nspike")
