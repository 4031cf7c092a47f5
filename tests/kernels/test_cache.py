"""Compiled kernels on the disk, written by several processes at a time."""

from nspike.kernels._cache import _Files


def test_two_processes_that_compile_for_different_types_at_once(tmp_path, monkeypatch):
    """One writes while the other does: what is read later is one's own code, or nothing."""
    one, two = (_Files(str(tmp_path), "kernel", "stamp") for _ in range(2))
    for files in (one, two):
        monkeypatch.setattr(files, "_load_index", dict)  # read before either was there
    write = one._save_data

    def slow(name, data):
        two.save(("float32",), "code for float32")
        write(name, data)

    monkeypatch.setattr(one, "_save_data", slow)
    one.save(("int32",), "code for int32")
    for key in ("int32", "float32"):
        assert _Files(str(tmp_path), "kernel", "stamp").load((key,)) in (None, f"code for {key}")
    later = _Files(str(tmp_path), "kernel", "stamp")
    for key in ("int32", "float32"):
        later.save((key,), f"code for {key}")
    for key in ("int32", "float32"):
        assert _Files(str(tmp_path), "kernel", "stamp").load((key,)) == f"code for {key}"


def test_code_is_there_before_the_index_names_it(tmp_path, monkeypatch):
    files = _Files(str(tmp_path), "kernel", "stamp")
    monkeypatch.setattr(files, "_save_index", lambda index: [files._load_data(name) for name in index.values()])
    files.save(("int32",), "code")
