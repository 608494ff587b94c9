"""The self-managed CA and certificate."""

import ipaddress
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from portcullis.cluster.certificate import CA_LIFE, LEAF_LIFE, Pair, SelfManagedCertificate
from portcullis.errors import ConfigError

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NAMES = ("localhost", "127.0.0.1", "::1", "gate.example")


def made(directory: Path, now: datetime = NOW, names: tuple[str, ...] = NAMES) -> Pair:
    return SelfManagedCertificate(directory=directory, names=names).ensure(now)


def chain(pair: Pair) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pair.certificate_pem)


def bundle(directory: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates((directory / "ca.crt").read_bytes())


def verify(directory: Path, pair: Pair, name: str, now: datetime) -> None:
    """By the Web PKI rules of cryptography, which are stricter than any client of ours. Raises if it fails."""
    try:
        subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    builder = PolicyBuilder().store(Store(bundle(directory))).time(now)
    leaf, *rest = chain(pair)
    builder.build_server_verifier(subject).verify(leaf, rest)


@pytest.mark.parametrize("name", NAMES)
def test_clients_that_trust_the_bundle_accept_the_pair(tmp_path: Path, name: str) -> None:
    verify(tmp_path, made(tmp_path), name, NOW)


def test_the_pair_is_a_server_certificate_and_no_more(tmp_path: Path) -> None:
    pair = made(tmp_path)
    leaf, authority = chain(pair)
    assert load_pem_private_key(pair.key_pem, None).public_key() == leaf.public_key()
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert issuer == authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert leaf.not_valid_after_utc == NOW + LEAF_LIFE
    assert authority.not_valid_after_utc == NOW + CA_LIFE


def test_only_the_owner_can_read_any_of_it(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    made(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == dict.fromkeys(["ca.crt", "ca.key", "tls.crt", "tls.key", ".lock"], 0o600)


def test_what_is_there_is_used_again(tmp_path: Path) -> None:
    assert made(tmp_path) == made(tmp_path, NOW + timedelta(days=30))


def test_a_leaf_is_renewed_when_a_third_is_left(tmp_path: Path) -> None:
    first = made(tmp_path)
    later = NOW + timedelta(days=59)
    assert made(tmp_path, later) == first
    later = NOW + timedelta(days=61)
    second = made(tmp_path, later)
    assert second != first
    assert chain(second)[1] == chain(first)[1], "the CA stays"
    verify(tmp_path, second, "localhost", later + LEAF_LIFE - timedelta(days=1))


def test_a_ca_is_changed_in_two_steps_and_the_old_one_stays_trusted(tmp_path: Path) -> None:
    """Nobody tells what clients trust: the next CA stands in the bundle for two months before it signs."""
    first = made(tmp_path)
    second = made(tmp_path, NOW + timedelta(days=250))
    assert chain(second)[1] == chain(first)[1]
    old, following = bundle(tmp_path)
    assert old == chain(first)[1]
    later = NOW + timedelta(days=310)
    third = made(tmp_path, later)
    assert (chain(third)[1], bundle(tmp_path)) == (following, [old, following])
    verify(tmp_path, third, "localhost", later)
    made(tmp_path, NOW + timedelta(days=366))
    assert bundle(tmp_path) == [following], "the expired one is dropped"


def test_no_leaf_outlives_its_ca(tmp_path: Path) -> None:
    for days in range(0, 800, 40):
        leaf, authority = chain(made(tmp_path, NOW + timedelta(days=days)))
        assert leaf.not_valid_after_utc <= authority.not_valid_after_utc


def test_other_names_make_another_leaf(tmp_path: Path) -> None:
    first = made(tmp_path)
    second = made(tmp_path, names=("localhost", "other.example"))
    assert second != first
    verify(tmp_path, second, "other.example", NOW)
    # Of two processes with different names, each is content with it.
    assert made(tmp_path) == second


def test_a_clock_that_was_set_back_makes_a_new_pair(tmp_path: Path) -> None:
    made(tmp_path)
    before = NOW - timedelta(days=2)
    verify(tmp_path, made(tmp_path, before), "localhost", before)


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "tls.crt").write_bytes(b"no certificate"),
        lambda folder: (folder / "tls.crt").write_bytes(b""),
        lambda folder: (folder / "tls.key").unlink(),
        lambda folder: (folder / "tls.key").write_bytes((folder / "ca.key").read_bytes()),
        lambda folder: (folder / "ca.key").unlink(),
        lambda folder: (folder / "ca.key").write_bytes((folder / "tls.key").read_bytes()),
        lambda folder: (folder / "ca.key").write_bytes(b"\x00" * 100),
        lambda folder: (folder / "ca.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\n"),
        lambda folder: (folder / "ca.crt").unlink(),
        lambda folder: (folder / "ca.crt").write_bytes((folder / "tls.crt").read_bytes()),
    ],
)
def test_what_a_crash_left_is_mended(tmp_path: Path, damage: Damage) -> None:
    made(tmp_path)
    damage(tmp_path)
    pair = made(tmp_path)
    verify(tmp_path, pair, "localhost", NOW)
    assert made(tmp_path) == pair


def test_those_who_start_at_once_agree(tmp_path: Path) -> None:
    """The lock belongs to the open file, so that threads stand for processes here."""
    with ThreadPoolExecutor(8) as pool:
        pairs = list(pool.map(made, [tmp_path] * 8))
    assert len({pair.certificate_pem for pair in pairs}) == 1
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "ca.crt", "ca.key", "tls.crt", "tls.key"}


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"the certificate folder .*/file/x cannot be used"):
        made(tmp_path / "file" / "x")


@pytest.mark.parametrize("name", ["", "é.example", "a" * 300])
def test_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="neither an IP address nor a DNS name"):
        made(tmp_path, names=(name,))


def test_the_key_is_not_shown(tmp_path: Path) -> None:
    assert "PRIVATE" not in repr(made(tmp_path))
