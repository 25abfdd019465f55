"""Weights from the network: whole, and each address's own."""

import socket
import threading

import pytest
import torch

from bpt_det.utils.errors import InputError
from bpt_det.vit.weights.download import cached_path, download
from bpt_det.vit.weights.files import read_weights
from tests.support.vits import FolderServer

STATE = {"weight": torch.arange(600.0).reshape(20, 30), "bias": torch.arange(20.0)}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def server(tmp_path, cache):
    (tmp_path / "served" / "other").mkdir(parents=True)
    with FolderServer(tmp_path / "served") as server:
        yield server


def refusal(location):
    with pytest.raises(InputError) as caught:
        read_weights(location)
    text = str(caught.value)
    assert "\n" not in text
    return text


def is_empty(folder):
    return not folder.exists() or not list(folder.iterdir())


def test_an_address_is_downloaded_once_and_cached(server, cache, tmp_path):
    torch.save(STATE, tmp_path / "served" / "weights.pth")
    address = server.address("weights.pth")
    assert read_weights(address).keys() == STATE.keys()
    server.stop()
    assert torch.equal(read_weights(address)["weight"], STATE["weight"])
    assert server.requested_paths == ["/weights.pth"]
    (cached,) = cache.iterdir()
    assert cached == cached_path(address)
    assert cached.name.startswith("weights-") and cached.suffix == ".pth"


@pytest.mark.parametrize("other", ["other/weights.pth", "weights.pth?revision=2"])
def test_a_file_of_the_same_name_at_another_address_is_another_file(server, tmp_path, other):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "served" / "weights.pth")
    torch.save({"weight": torch.ones(1)}, tmp_path / "served" / "other" / "weights.pth")
    first, second = (read_weights(server.address(name)) for name in ("weights.pth", other))
    assert len(server.requested_paths) == 2
    assert second["weight"].item() == float(other.startswith("other")) and not first["weight"]


def test_an_address_of_any_length_has_a_file_name(cache):
    path = cached_path("https://example.org/" + "a%20" * 400 + ".pth?" + "b" * 4000)
    assert path.parent == cache and len(path.name) < 120
    assert cached_path("https://example.org").name != cached_path("https://example.org/b").name


def test_an_address_without_a_file_is_named_in_one_line(server, cache):
    address = server.address("absent.pth")
    assert refusal(address).startswith(f"cannot download '{address}' (HTTP Error 404: ")
    assert is_empty(cache)


def test_an_address_that_does_not_answer_is_named_in_one_line(server, cache):
    address = server.address("weights.pth")
    server.stop()
    text = refusal(address)
    assert text.startswith(f"cannot download '{address}' (<urlopen error ")
    assert "give its path" in text and is_empty(cache)


@pytest.mark.parametrize("address", ["http://[::1", "http://", "https://no host/a b.pth"])
def test_what_is_no_address_is_named_in_one_line(cache, address):
    assert f"'{address}'" in refusal(address) and is_empty(cache)


def answering(answer):
    """Return the address of a server that sends these bytes once and closes the connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listener, listener.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/weights.pth"


@pytest.mark.parametrize(
    ("answer", "fact"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 400, "400 of 1,000 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nxxx", "cannot download"),
        (b"no HTTP at all", "cannot download"),
        (b"", "cannot download"),
    ],
)
def test_a_download_that_ends_early_is_never_kept(cache, answer, fact):
    assert fact in refusal(answering(answer)) and is_empty(cache)


def test_two_downloads_of_one_address_at_once_do_not_mix(cache):
    """The second begins after the first, and ends before it."""
    content = bytes(range(256)) * 4
    header = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n"
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/weights.pth"
    paths = []

    def serve():
        with listener, listener.accept()[0] as first:
            first.recv(4096)
            first.sendall(header + content[:500])
            while is_empty(cache):
                pass
            second = threading.Thread(target=lambda: paths.append(download(address)), daemon=True)
            second.start()
            with listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(header + content)
            second.join()
            first.sendall(content[500:])

    threading.Thread(target=serve, daemon=True).start()
    paths.append(download(address))
    assert paths == [cached_path(address)] * 2
    assert paths[0].read_bytes() == content and list(cache.iterdir()) == [paths[0]]


def test_a_damaged_download_is_named_by_the_path_to_delete(server, tmp_path):
    (tmp_path / "served" / "weights.pth").write_text("<html>Sign in</html>")
    address = server.address("weights.pth")
    assert refusal(address).startswith(
        f"'{cached_path(address)}' is a web page saved as weights; delete it "
    )
