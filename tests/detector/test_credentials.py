"""Content credentials and EXIF as evidence: what is said of signed, tampered, unsigned and hostile files."""

import importlib.util
import io
import json
import os
import signal
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fewshot.core.errors import OptionError
from fewshot.detector import credentials as module
from fewshot.detector.credentials import Credentials
from fewshot.detector.credentials_worker import FILE_BYTES
from fewshot.embeddings.inputs.png_chunks import SIGNATURE
from tests.detector.signed_images import CREATED, Signer, plain

SIGNER = Signer()


@pytest.fixture(scope="module")
def reader() -> Iterator[Credentials]:
    with Credentials() as credentials:
        yield credentials


def said(reader: Credentials, folder: Path, content: bytes, *, name: str = "image") -> dict[str, Any]:
    path = folder / name
    path.write_bytes(content)
    evidence = reader.evidence(path)
    json.dumps(evidence, allow_nan=False)
    return evidence


def chunks(*parts: tuple[bytes, bytes]) -> bytes:
    return b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def chunks_of(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(SIGNATURE)
    while position < len(png):
        length = int.from_bytes(png[position : position + 4], "big")
        yield png[position + 4 : position + 8], png[position + 8 : position + 8 + length]
        position += 12 + length


def tampered() -> bytes:
    content = bytearray(SIGNER.signed())
    content[-200] ^= 1
    return bytes(content)


@pytest.mark.parametrize("container", ["JPEG", "PNG"])
def test_a_signer_that_is_in_no_trust_list_is_named_and_not_trusted(
    reader: Credentials, tmp_path: Path, container: str
) -> None:
    evidence = said(reader, tmp_path, SIGNER.signed(container))
    found = evidence["credentials"]
    assert found["sentence"] == (
        'content credentials signed by "Toy Signer" (issuer "Toy Works"), not in the trust list (none was given, and '
        "none is shipped): anyone can make such a certificate"
    )
    assert (found["state"], found["trusted"], found["signer"], found["issuer"]) == (
        "valid",
        False,
        "Toy Signer",
        "Toy Works",
    )
    assert found["claim_generator"] == "toy generator 1.0"
    assert found["source_types"] == [
        {"type": "trainedAlgorithmicMedia", "meaning": "made by generative AI", "of": "this image"}
    ]
    assert found["actions"] == [{"action": "c2pa.created", "when": "2026-11-01T10:00:00Z", "software": "toy diffusion"}]
    assert found["when"] == "2026-11-01T10:00:00Z"
    assert found["problems"] == []
    assert evidence["heading"] == "Provenance (not used in the score)"
    assert evidence["absence"].startswith("Absence proves nothing")


def test_a_signer_is_trusted_by_the_list_that_the_user_gives(tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_bytes(SIGNER.root)
    with Credentials(trust_list=tmp_path / "roots.pem") as reader:
        ours = said(reader, tmp_path, SIGNER.signed())["credentials"]
        other = said(reader, tmp_path, Signer("Toy Signer").signed())["credentials"]
        changed = said(reader, tmp_path, tampered())["credentials"]
    assert (ours["state"], ours["trusted"]) == ("trusted", True)
    assert ours["sentence"].endswith("in the trust list")
    assert (other["state"], other["trusted"]) == ("valid", False)
    assert "not in the trust list: anyone can make such a certificate" in other["sentence"]
    assert (changed["state"], changed["trusted"]) == ("invalid", False)


def test_a_file_that_was_changed_after_it_was_signed_fails_validation(reader: Credentials, tmp_path: Path) -> None:
    found = said(reader, tmp_path, tampered())["credentials"]
    assert (found["state"], found["trusted"]) == ("invalid", False)
    assert found["sentence"].startswith("content credentials that fail validation (assertion.dataHash.mismatch")
    assert "Hashes do not match" in found["problems"][0]


def test_a_manifest_that_was_moved_to_another_image_fails_validation(reader: Credentials, tmp_path: Path) -> None:
    signed = dict(chunks_of(SIGNER.signed("PNG")))
    other = list(chunks_of(plain("PNG", compress_level=1)))
    moved = SIGNATURE + chunks(other[0], (b"caBX", signed[b"caBX"]), *other[1:])
    found = said(reader, tmp_path, moved)["credentials"]
    assert (found["state"], found["trusted"]) == ("invalid", False)


def test_an_image_without_credentials_says_so_and_that_this_proves_nothing(reader: Credentials, tmp_path: Path) -> None:
    evidence = said(reader, tmp_path, plain())
    assert evidence["credentials"]["state"] == "none"
    assert evidence["sentences"] == ["No content credentials."]
    assert "proves nothing" in evidence["absence"]
    assert said(reader, tmp_path, plain("BMP"))["credentials"]["sentence"].endswith("from a file of this kind")


def test_source_types_of_ingredients_are_told_from_those_of_the_image(reader: Credentials, tmp_path: Path) -> None:
    from fewshot.detector.content_credentials import _source_types

    edited = {"assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [{"action": "c2pa.opened"}]}}]}
    made = {"assertions": [{"label": "c2pa.actions", "data": {"actions": [dict(CREATED)]}}]}
    found = _source_types({"edited": edited, "made": made}, edited)
    assert [(one["type"], one["of"]) for one in found] == [("trainedAlgorithmicMedia", "an ingredient")]


# -- no network ----------------------------------------------------------------------------------------------------


def test_a_manifest_that_lies_elsewhere_is_not_fetched(reader: Credentials, tmp_path: Path) -> None:
    from c2pa import C2paError, Reader

    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    requests.append(connection.recv(4096))
                    connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    connection.close()

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/image.c2pa"
        elsewhere = SIGNER.signed(remote_url=url, embedded=False)
        found = said(reader, tmp_path, elsewhere)["credentials"]
        both = said(reader, tmp_path, SIGNER.signed(remote_url=url))["credentials"]
        assert requests == []
        with pytest.raises(C2paError):  # as the library comes, it does ask: the server sees what it should see
            Reader("image/jpeg", io.BytesIO(elsewhere))
        assert requests[0].startswith(b"GET /image.c2pa")
        server.shutdown(socket.SHUT_RDWR)
    assert (found["state"], found["remote_url"]) == ("remote", url)
    assert found["sentence"].endswith("nothing is fetched")
    assert both["state"] == "valid"


# -- what is hostile -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [10, 100, 2000, -10])
def test_a_manifest_that_is_cut_is_unreadable_or_invalid_and_the_next_image_goes_on(
    reader: Credentials, tmp_path: Path, left: int
) -> None:
    parts = [(name, data[:left] if name == b"caBX" else data) for name, data in chunks_of(SIGNER.signed("PNG"))]
    evidence = said(reader, tmp_path, SIGNATURE + chunks(*parts))
    assert evidence["credentials"]["sentence"].startswith("unreadable: ")
    assert evidence["sentences"][0].startswith("Content credentials unreadable: ")
    assert not evidence["metadata"]["unreadable"]
    assert said(reader, tmp_path, SIGNER.signed())["credentials"]["state"] == "valid"


@pytest.mark.parametrize(
    "content", [b"", b"no image" * 100, b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a" + b"x" * 50]
)
def test_garbage_is_unreadable(reader: Credentials, tmp_path: Path, content: bytes) -> None:
    evidence = said(reader, tmp_path, content)
    assert evidence["metadata"]["unreadable"].startswith("unreadable: ")
    assert evidence["credentials"]["state"] in ("none", "unreadable")


def test_what_is_no_file_is_unreadable_and_nothing_waits(reader: Credentials, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "huge.jpg").open("wb") as stream:
        stream.truncate(FILE_BYTES + 1)
    for name, reason in {
        "absent.jpg": "No such file",
        "pipe.jpg": "named pipe",
        ".": "a folder",
        "huge.jpg": "0.3 GB, and at most 0.3 GB are read",
    }.items():
        evidence = reader.evidence(tmp_path / name)
        assert reason in evidence["credentials"]["sentence"]
        assert evidence["credentials"]["sentence"].startswith("unreadable: ")
        assert evidence["metadata"]["unreadable"].startswith("unreadable: ")


def test_a_process_that_dies_costs_one_image(tmp_path: Path) -> None:
    with Credentials() as reader:
        assert reader._child is not None
        reader._child.process.send_signal(signal.SIGSEGV)
        dead = said(reader, tmp_path, SIGNER.signed())
        after = said(reader, tmp_path, SIGNER.signed())
    assert dead["credentials"]["sentence"] == "unreadable: the process that reads it ended (SIGSEGV)"
    assert dead["credentials"]["state"] == "unreadable"
    assert after["credentials"]["state"] == "valid"


def test_a_process_that_hangs_costs_one_image(tmp_path: Path) -> None:
    with Credentials(seconds=1.0) as reader:
        assert reader._child is not None
        reader._child.process.send_signal(signal.SIGSTOP)
        late = said(reader, tmp_path, SIGNER.signed())
        reader.seconds = 20.0
        after = said(reader, tmp_path, SIGNER.signed())
    assert late["credentials"]["sentence"] == "unreadable: the process that reads it took more than 1 s"
    assert after["credentials"]["state"] == "valid"


def test_a_file_that_needs_more_memory_than_allowed_costs_one_image(tmp_path: Path) -> None:
    with (tmp_path / "large.jpg").open("wb") as stream:
        stream.write(plain())
        stream.truncate(250 << 20)
    with Credentials(memory_bytes=200 << 20) as reader:
        evidence = reader.evidence(tmp_path / "large.jpg")
        after = said(reader, tmp_path, SIGNER.signed())
    assert evidence["credentials"]["sentence"] == "unreadable: the process that reads it ended (exit status 1)"
    assert after["credentials"]["state"] == "valid"


def test_several_threads_get_the_answer_to_their_own_image(reader: Credentials, tmp_path: Path) -> None:
    paths = []
    for number in range(12):
        paths.append(tmp_path / f"{number}.jpg")
        exif = Image.Exif()
        exif[0x0110] = f"model {number}"
        paths[-1].write_bytes(plain(exif=exif))
    with ThreadPoolExecutor(6) as pool:
        models = [evidence["metadata"]["model"] for evidence in pool.map(reader.evidence, paths)]
    assert models == [f"model {number}" for number in range(12)]


SIGNED_PNG, SIGNED_JPEG = SIGNER.signed("PNG"), SIGNER.signed()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([SIGNED_PNG, SIGNED_JPEG]), st.data())
def test_damaged_files_end_in_a_sentence(
    reader: Credentials, tmp_path: Path, whole: bytes, data: st.DataObject
) -> None:
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 8))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(len(content) // 2, len(content)))]
    evidence = said(reader, tmp_path, bytes(content))
    assert set(evidence["credentials"]) == set(module._CREDENTIALS)
    assert set(evidence["metadata"]) == set(module._METADATA)
    assert not evidence["credentials"]["trusted"]
    assert all(line.isprintable() for line in evidence["sentences"])


# -- metadata ------------------------------------------------------------------------------------------------------


def test_exif_names_camera_software_and_date(reader: Credentials, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131], exif[0x0132] = "Canon", "EOS 5D", "Toy Editor 2", "2026:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x9003] = "2025:12:31 23:59:59"
    evidence = said(reader, tmp_path, plain(exif=exif))
    found = evidence["metadata"]
    assert (found["make"], found["model"], found["software"], found["date"]) == (
        "Canon",
        "EOS 5D",
        "Toy Editor 2",
        "2025:12:31 23:59:59",
    )
    assert found["traces"] == [{"where": "EXIF Software", "says": "Toy Editor 2"}]
    assert "EXIF says of itself: camera Canon EOS 5D, date 2025:12:31 23:59:59." in evidence["sentences"]


def test_texts_that_generators_leave_in_png_files_are_listed(reader: Credentials, tmp_path: Path) -> None:
    written = PngInfo()
    written.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler")
    written.add_itxt("prompt", '{"3": {"class_type": "KSampler"}}', zip=True)
    written.add_text("workflow", "{}", zip=True)
    written.add_text("Author", "nobody")
    evidence = said(reader, tmp_path, plain("PNG", pnginfo=written))
    assert evidence["metadata"]["traces"] == [
        {"where": "PNG text 'parameters'", "says": "a cat\\nSteps: 20, Sampler: Euler"},
        {"where": "PNG text 'prompt'", "says": '{"3": {"class_type": "KSampler"}}'},
        {"where": "PNG text 'workflow'", "says": "{}"},
    ]
    assert "PNG text 'workflow' says of itself: {}" in evidence["sentences"]


def test_texts_after_the_pixels_are_listed_as_well(reader: Credentials, tmp_path: Path) -> None:
    parts = list(chunks_of(plain("PNG")))
    late = SIGNATURE + chunks(*parts[:-1], (b"tEXt", b"Software\0Toy Diffusion"), parts[-1])
    assert said(reader, tmp_path, late)["metadata"]["traces"] == [
        {"where": "PNG text 'Software'", "says": "Toy Diffusion"}
    ]


@pytest.mark.parametrize("code", [b"UNICODE\0", b"ASCII\0\0\0"])
def test_parameters_in_a_user_comment_are_listed(reader: Credentials, tmp_path: Path, code: bytes) -> None:
    text = "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = code + text.encode("utf-16-be" if code.startswith(b"UNICODE") else "ascii")
    (trace,) = said(reader, tmp_path, plain(exif=exif))["metadata"]["traces"]
    assert trace["where"] == "EXIF UserComment"
    assert "Steps: 20" in trace["says"]


@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP"])
def test_xmp_says_creator_tool_and_source_type(reader: Credentials, tmp_path: Path, container: str) -> None:
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description xmp:CreatorTool="Toy Paint 3">'
        "<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"
        "</Iptc4xmpExt:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    written = PngInfo()
    written.add_itxt("XML:com.adobe.xmp", packet)
    content = plain(container, **({"pnginfo": written} if container == "PNG" else {"xmp": packet.encode()}))
    assert said(reader, tmp_path, content)["metadata"]["traces"] == [
        {"where": "XMP CreatorTool", "says": "Toy Paint 3"},
        {
            "where": "XMP DigitalSourceType",
            "says": "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic (a composite that has synthetic "
            "parts)",
        },
    ]


def test_texts_of_others_are_cut_and_cannot_move_a_cursor(reader: Credentials, tmp_path: Path) -> None:
    parts = list(chunks_of(plain("PNG")))
    bomb = zlib.compress(b"a" * (64 << 20))
    texts = [(b"zTXt", b"prompt\0\0" + bomb), (b"tEXt", b"parameters\0\x1b[2J\x9b1m\r\n" + b"x" * 100_000)] * 60
    evidence = said(reader, tmp_path, SIGNATURE + chunks(parts[0], *texts, *parts[1:]))
    says = [trace["says"] for trace in evidence["metadata"]["traces"]]
    assert len(says) == 20
    assert all(len(text) <= 300 and text.isprintable() for text in says)
    assert not evidence["metadata"]["unreadable"]


def test_the_name_of_a_signer_cannot_forge_the_sentence(reader: Credentials, tmp_path: Path) -> None:
    name = '\x1b[2JMe", in the trust list'
    found = said(reader, tmp_path, Signer(name, "\u202eorg").signed())["credentials"]
    assert found["sentence"].startswith(
        'content credentials signed by "\\x1b[2JMe\', in the trust list" (issuer "\\u202eorg"), not in the trust list'
    )


# -- options -------------------------------------------------------------------------------------------------------


def test_without_the_package_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r'pip install "fewshot\[c2pa\]"'):
        Credentials().__enter__()
    assert importlib.util.find_spec("c2pa") is not None


@pytest.mark.parametrize(
    "content", [None, b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_trust_list_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "roots.pem").write_bytes(content)
    with pytest.raises(
        OptionError, match=r"the trust list .*roots.pem (cannot be read|is no PEM file of certificates)"
    ):
        Credentials(trust_list=tmp_path / "roots.pem").__enter__()
