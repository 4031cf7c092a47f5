"""The report of an audit: one HTML page that needs no network. `nspike.report.page` writes it, with nspike[report]."""
