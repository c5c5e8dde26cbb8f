"""A bundle with any byte changed, added or missing is refused, and so is one that is forged."""

from __future__ import annotations

import hashlib
import io
import os
import random
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from made_bundles import contents_of, forged, small_model, with_sums

from differseg.bundle.command import main
from differseg.bundle.layout import LARGEST_BUNDLE
from differseg.bundle.reading import opened, verify
from differseg.bundle.unpacking import unpack_bundle
from differseg.bundle.writing import write_bundle
from differseg.errors import InputError, ModelFileError
from differseg.options import run_main


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("good")
    return write_bundle(small_model(folder), folder / "good.dsb").path.read_bytes()


def refused(path: Path) -> str:
    """Return the one line by which a bundle is refused; nothing must be unpacked of it."""
    with pytest.raises(ModelFileError) as caught, opened(path) as bundle:
        verify(bundle)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    with pytest.raises(ModelFileError):
        unpack_bundle(path, path.parent / "out")
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    return str(caught.value)


def test_the_good_one_is_taken(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "good.dsb"
    path.write_bytes(good)
    with opened(path) as bundle:
        verify(bundle)


def taken(path: Path) -> bool:
    try:
        with opened(path) as bundle:
            verify(bundle)
    except ModelFileError:
        return False
    return True


def taken_with(path: Path, good: bytes, changes: Iterable[tuple[int, int]]) -> list[int]:
    """Return the places of those changes (place, bits to turn) that nobody notices."""
    path.write_bytes(good)
    unnoticed = []
    with path.open("r+b", buffering=0) as file:
        for place, bits in changes:
            os.pwrite(file.fileno(), bytes([good[place] ^ bits]), place)
            if taken(path):
                unnoticed.append(place)
            os.pwrite(file.fileno(), good[place : place + 1], place)
    assert path.read_bytes() == good
    return unnoticed


def test_a_change_of_any_single_byte_is_refused(tmp_path: Path, good: bytes) -> None:
    draw = random.Random(0)
    changes = [(place, draw.randrange(1, 256)) for place in range(len(good))]
    assert taken_with(tmp_path / "changed.dsb", good, changes) == []


def test_every_bit_of_the_headers_counts(tmp_path: Path, good: bytes) -> None:
    """Headers are where readers of archives disagree: each bit of them, not one of each byte."""
    starts = [info.header_offset for info in zipfile.ZipFile(io.BytesIO(good)).infolist()]
    places = {start + offset for start in starts for offset in range(42)}
    places.update(range(good.index(b"PK\1\2"), len(good)))
    changes = [(place, 1 << bit) for place in sorted(places) for bit in range(8)]
    assert taken_with(tmp_path / "changed.dsb", good, changes) == []


@pytest.mark.parametrize("kept", [0, 1, 29, 30, 41, 42, 500, -23, -22, -1])
def test_a_cut_bundle_is_refused(tmp_path: Path, good: bytes, kept: int) -> None:
    path = tmp_path / "cut.dsb"
    path.write_bytes(good[:kept])
    refused(path)


@pytest.mark.parametrize("extra", [b"\0", b"\n", b"PK\5\6" + bytes(18)])
@pytest.mark.parametrize("where", ["before", "behind"])
def test_added_bytes_are_refused(tmp_path: Path, good: bytes, extra: bytes, where: str) -> None:
    path = tmp_path / "longer.dsb"
    path.write_bytes(extra + good if where == "before" else good + extra)
    refused(path)


def test_a_byte_put_between_two_members_is_refused(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "gap.dsb"
    place = good.index(b"PK\3\4", 1)
    path.write_bytes(good[:place] + b"\0" + good[place:])
    refused(path)
    path.write_bytes(good[:place] + good[place + 1 :] + b"\0")  # of the same size
    refused(path)


def test_members_in_the_place_of_each_other_are_refused(tmp_path: Path) -> None:
    files = with_sums(contents_of(small_model(tmp_path)))
    (tmp_path / "tiny.onnx").unlink()
    path = forged(tmp_path / "order.dsb", files[::-1])
    assert "in order" in refused(path)


def repacked(good: bytes, method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    """Return the same members in an archive that Python's writer makes."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(out, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.comment = comment
    return out.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_an_archive_of_another_writer_is_refused(tmp_path: Path, good: bytes, method: int) -> None:
    path = tmp_path / "other.dsb"
    path.write_bytes(repacked(good, method))
    refused(path)


def test_a_comment_is_refused(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "comment.dsb"
    path.write_bytes(good[:-2] + b"\4\0note")
    refused(path)


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "/etc/evil", "plugins/../../evil", "plugins/a/b.cu", "plugins/..", "plugins/",
        "lib/x.exe", "lib/.so", "evil.txt", "a\\b", "C:evil", "bundle.json", "model.onnx/x",
        "plugins/.hidden", "plugins/x\0y",
    ],
)  # fmt: skip
def test_a_member_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    """The checksums of this bundle all agree: only the name is wrong."""
    files = contents_of(small_model(tmp_path)) | {name: b"evil"}
    (tmp_path / "tiny.onnx").unlink()
    path = forged(tmp_path / "name.dsb", with_sums(files))
    assert "no bundle has a member" in refused(path)


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    files = with_sums(contents_of(small_model(tmp_path)))
    (tmp_path / "tiny.onnx").unlink()
    for again in (files[-1], ("plugins/a.cu", b"1"), ("plugins/A.cu", b"2")):
        more = sorted([*files, again, ("plugins/a.cu", b"1")])
        assert "every name once" in refused(forged(tmp_path / "twice.dsb", more))


def test_a_link_is_refused(tmp_path: Path, good: bytes) -> None:
    """A reader that believes the directory would make a link of the member's bytes."""
    path = tmp_path / "link.dsb"
    place = good.index(b"PK\1\2") + 38
    assert good[place : place + 4] == ((stat.S_IFREG | 0o644) << 16).to_bytes(4, "little")
    link = ((stat.S_IFLNK | 0o777) << 16).to_bytes(4, "little")
    path.write_bytes(good[:place] + link + good[place + 4 :])
    assert "directory" in refused(path)


def test_a_missing_member_is_refused(tmp_path: Path) -> None:
    files = contents_of(small_model(tmp_path))
    (tmp_path / "tiny.onnx").unlink()
    path = forged(tmp_path / "few.dsb", with_sums({"model.onnx": files["model.onnx"]}))
    assert "manifest.json is missing" in refused(path)


def test_hashes_of_other_members_are_refused(tmp_path: Path) -> None:
    files = dict(with_sums(contents_of(small_model(tmp_path))))
    (tmp_path / "tiny.onnx").unlink()
    files["SHA256SUMS"] = files["SHA256SUMS"].replace(b"model.onnx", b"other.onnx")
    path = forged(tmp_path / "sums.dsb", sorted(files.items()))
    assert "SHA256SUMS is not of these" in refused(path)


def test_the_manifest_of_another_model_is_refused(tmp_path: Path) -> None:
    files = contents_of(small_model(tmp_path))
    (tmp_path / "tiny.onnx").unlink()
    files["manifest.json"] = files["manifest.json"].replace(
        b'"threshold": 0.5', b'"threshold": 0.4'
    )
    path = forged(tmp_path / "manifest.dsb", with_sums(files))
    assert "is not the manifest inside" in refused(path)


def test_a_size_that_the_file_has_not_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """No member is larger than the file, so nothing grows while it is unpacked."""
    files = with_sums(contents_of(small_model(tmp_path)))
    (tmp_path / "tiny.onnx").unlink()
    path = tmp_path / "bomb.dsb"
    members = [
        {
            "name": name,
            "bytes": LARGEST_BUNDLE if name == "model.onnx" else len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for name, data in files
    ]
    assert "its index says" in refused(forged(path, files, members=members))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 2}, "schema"),
        ({"members": 3}, "expected a list"),
        ({"unknown": 1}, "unknown key"),
        ({"members": [{"name": "model.onnx", "bytes": -1, "sha256": "0" * 64}]}, "at least 0"),
        ({"members": [{"name": "model.onnx", "bytes": 1, "sha256": "x"}]}, "hexadecimal"),
    ],
)
def test_an_index_of_another_kind_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    files = with_sums(contents_of(small_model(tmp_path)))
    (tmp_path / "tiny.onnx").unlink()
    assert said in refused(forged(tmp_path / "index.dsb", files, **changes))


def test_an_index_that_is_spelt_otherwise_is_refused(tmp_path: Path, good: bytes) -> None:
    """The same document with another order of keys has the same meaning, and other bytes."""
    path = tmp_path / "spelt.dsb"
    assert good.count(b'"schema": 1,') == 1
    path.write_bytes(good.replace(b'"schema": 1,', b'"schema":1 ,'))
    assert "checksum" in refused(path)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.dsb", tmp_path):
        with pytest.raises(ModelFileError, match="bundle"), opened(path):
            pass


@pytest.mark.parametrize("verb", ["verify", "unpack"])
def test_the_command_line_refuses_in_one_line(
    tmp_path: Path, good: bytes, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "changed.dsb"
    path.write_bytes(good[:700] + bytes([good[700] ^ 1]) + good[701:])
    arguments = [verb, str(path)] + (["-o", str(tmp_path / "out")] if verb == "unpack" else [])
    assert run_main(main, arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error[E_MODEL]: bundle ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_board_needs_nothing_but_the_standard_library(tmp_path: Path, good: bytes) -> None:
    (tmp_path / "good.dsb").write_bytes(good)
    code = (
        "import sys\n"
        "for name in ('onnx', 'torch', 'timm', 'numpy', 'cv2', 'rich', 'onnxruntime'):\n"
        "    sys.modules[name] = None\n"
        "from differseg.bundle.command import main\n"
        "sys.exit(main(['verify', 'good.dsb']) or main(['unpack', 'good.dsb', '-o', 'out']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.onnx").is_file()


@pytest.mark.parametrize("place", ["filled", "file", "link"])
def test_a_place_that_is_taken_is_left_alone(tmp_path: Path, good: bytes, place: str) -> None:
    path, out = tmp_path / "good.dsb", tmp_path / "out"
    path.write_bytes(good)
    if place == "filled":
        out.mkdir()
        (out / "mine").write_text("mine")
    elif place == "file":
        out.write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        out.symlink_to(tmp_path / "elsewhere")
    before = sorted(str(entry) for entry in tmp_path.rglob("*"))
    with pytest.raises(InputError):
        unpack_bundle(path, out)
    assert sorted(str(entry) for entry in tmp_path.rglob("*")) == before


def test_a_bundle_that_changes_while_it_is_unpacked_leaves_nothing(
    tmp_path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import differseg.bundle.unpacking as unpacking

    path = tmp_path / "changing.dsb"
    path.write_bytes(good)

    def verify_and_change(bundle: object, key: object) -> None:
        verify(bundle)  # type: ignore[arg-type]
        place = good.index(b"PK\1\2") - 5
        with path.open("r+b") as file:
            file.seek(place)
            file.write(bytes([good[place] ^ 1]))

    monkeypatch.setattr(unpacking, "verify", verify_and_change)
    with pytest.raises(ModelFileError, match="SHA-256"):
        unpack_bundle(path, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["changing.dsb"]
