"""Amazon ECR: AWS' own client against a local API that speaks JSON 1.1, and a local STS."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.clouds import ACCOUNT, ECR_HOST, amz_json, ecr_answer, ecr_error, sts_answer
from fakes.faulty import Answer, FaultyServer, Route, serve_faulty
from portcullis.errors import CredentialUnavailable, Denied, RegistryError
from portcullis.limits import Limits
from portcullis.model.image import Access, Anonymous, Credential, Repository
from portcullis.registry.providers.ecr import EcrHost, EcrKeychain

pytestmark = pytest.mark.anyio

NOBODY = Access()
WEB = Repository(ECR_HOST, "acme/web")


@pytest.mark.parametrize(
    ("registry", "host"),
    [
        (ECR_HOST, EcrHost(ACCOUNT, "eu-west-1", False)),
        (f"{ECR_HOST}:443", EcrHost(ACCOUNT, "eu-west-1", False)),
        (f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn", EcrHost(ACCOUNT, "cn-north-1", False)),
        (f"{ACCOUNT}.dkr.ecr-fips.us-gov-west-1.amazonaws.com", EcrHost(ACCOUNT, "us-gov-west-1", True)),
        (f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws", EcrHost(ACCOUNT, "eu-west-1", False)),
        (f"{ECR_HOST}.attacker", None),
        (f"x.{ECR_HOST}", None),
        (f"{ECR_HOST}:5000", None),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com.attacker.cn", None),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.attacker.com", None),
        (f"{ACCOUNT}.dkr.ecr.attacker/.amazonaws.com", None),
        (f"{ACCOUNT}.dkr.ecr.evil.example-1.amazonaws.com", None),
        (f"{ACCOUNT}9.dkr.ecr.eu-west-1.amazonaws.com", None),
        ("dkr.ecr.eu-west-1.amazonaws.com", None),
        ("public.ecr.aws", None),
        ("amazonaws.com", None),
    ],
)
def test_which_hosts_are_ecr(registry: str, host: EcrHost | None) -> None:
    assert EcrHost.of(registry) == host
    assert EcrKeychain.covers(registry) is (host is not None)


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """What AWS' client finds around it: nothing but what a test sets."""
    for name in ("AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    return monkeypatch


@pytest.fixture
def keys(surroundings: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    surroundings.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    surroundings.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
    return surroundings


async def ask(server: FaultyServer, repository: Repository = WEB, **limits: float) -> Credential | object:
    keychain = EcrKeychain(limits=Limits(**limits))  # type: ignore[arg-type]
    try:
        return await keychain.credential(repository, NOBODY)
    finally:
        await keychain.aclose()


async def test_a_password_for_the_account_and_region_of_the_host(keys: pytest.MonkeyPatch) -> None:
    async with serve_faulty({"/": ecr_answer()}) as server:
        keys.setenv("AWS_ENDPOINT_URL_ECR", f"http://{server.host}")
        keychain = EcrKeychain(limits=Limits())
        for path in ("acme/web", "other"):
            found = await keychain.credential(Repository(ECR_HOST, path), NOBODY)
            assert found == Credential("AWS", "ecr-password")
        for elsewhere in (f"{ECR_HOST}.attacker", "registry.example"):
            assert await keychain.credential(Repository(elsewhere, "x"), NOBODY) == Anonymous()
        await keychain.aclose()
    (asked,) = server.asked
    assert asked.headers["x-amz-target"] == "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    assert asked.body == f'{{"registryIds": ["{ACCOUNT}"]}}'.encode()
    assert "Credential=AKIATEST/" in asked.headers["authorization"]
    assert "/eu-west-1/ecr/aws4_request" in asked.headers["authorization"]


async def test_the_role_of_a_service_account(surroundings: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """IRSA: the token of the pod becomes a role at STS, the role a password at ECR."""
    (tmp_path / "token").write_text("pod-token")
    async with serve_faulty({"/": ecr_answer()}) as ecr, serve_faulty({"/": sts_answer}) as sts:
        surroundings.setenv("AWS_ENDPOINT_URL_ECR", f"http://{ecr.host}")
        surroundings.setenv("AWS_ENDPOINT_URL_STS", f"http://{sts.host}")
        surroundings.setenv("AWS_ROLE_ARN", f"arn:aws:iam::{ACCOUNT}:role/gate")
        surroundings.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
        assert await ask(ecr) == Credential("AWS", "ecr-password")
        assert "Credential=ASIAROLE/" in ecr.asked[0].headers["authorization"]
        (tmp_path / "token").write_text("another")
        with pytest.raises(Denied, match="InvalidIdentityToken"):
            await ask(ecr)


async def test_a_short_password_is_asked_for_again(keys: pytest.MonkeyPatch) -> None:
    async with serve_faulty({"/": ecr_answer(seconds=0)}) as server:
        keys.setenv("AWS_ENDPOINT_URL_ECR", f"http://{server.host}")
        keychain = EcrKeychain(limits=Limits())
        await keychain.credential(WEB, NOBODY)
        server.routes["/"] = ecr_answer(password="second")
        assert await keychain.credential(WEB, NOBODY) == Credential("AWS", "second")
        await keychain.aclose()


NO_COLON = base64.b64encode(b"AWS").decode()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (ecr_error("AccessDeniedException"), Denied, f"refuses a credential for {ECR_HOST}: AccessDenied"),
        (ecr_error("UnrecognizedClientException"), Denied, "UnrecognizedClient"),
        (ecr_error("ThrottlingException"), CredentialUnavailable, "just now: Throttling"),
        (ecr_error("ServerException", 500), CredentialUnavailable, "just now: ServerException"),
        (Answer(body=b"<html>"), CredentialUnavailable, ECR_HOST),
        (amz_json([]), CredentialUnavailable, ECR_HOST),
        (amz_json({}), CredentialUnavailable, "without a credential"),
        (amz_json({"authorizationData": [{"authorizationToken": "?"}]}), CredentialUnavailable, "without a credential"),
        (
            amz_json(
                {
                    "authorizationData": [
                        {"authorizationToken": NO_COLON, "expiresAt": 9e9, "proxyEndpoint": f"https://{ECR_HOST}"}
                    ]
                }
            ),
            CredentialUnavailable,
            "without a credential",
        ),
        (ecr_answer(host=f"{ECR_HOST}.attacker"), CredentialUnavailable, "without a credential"),
        (ecr_answer(host=ECR_HOST.replace("eu-west-1", "us-east-1")), CredentialUnavailable, "without a credential"),
        (Answer(silent=True), CredentialUnavailable, "limit credentialSeconds of 2"),
    ],
)
async def test_an_api_that_fails(
    keys: pytest.MonkeyPatch, answer: Route, error: type[RegistryError], words: str
) -> None:
    async with serve_faulty({"/": answer}) as server:
        keys.setenv("AWS_ENDPOINT_URL_ECR", f"http://{server.host}")
        with pytest.raises(error, match=words) as caught:
            await ask(server, credential_seconds=2.0 if isinstance(answer, Answer) and answer.silent else 30.0)
        assert type(caught.value) is error
        assert "aws-secret" not in caught.value.message


async def test_without_an_identity_it_says_so(surroundings: pytest.MonkeyPatch) -> None:
    async with serve_faulty({"/": ecr_answer()}) as server:
        surroundings.setenv("AWS_ENDPOINT_URL_ECR", f"http://{server.host}")
        with pytest.raises(CredentialUnavailable, match="Unable to locate credentials"):
            await ask(server)
        assert server.asked == []


@pytest.mark.parametrize(
    ("module", "statement", "extra"),
    [
        ("aiobotocore", "from portcullis.registry.providers.ecr import EcrKeychain as K; K(limits=L())", "ecr"),
        ("google.auth", "from portcullis.registry.providers.gcp import GcpKeychain as K; K(limits=L())", "gcp"),
        (
            "azure.identity",
            "from portcullis.registry.providers.acr import AcrKeychain as K; K(hosts=H(), limits=L())",
            "azure",
        ),
    ],
)
def test_without_its_extra_a_provider_says_what_to_install(module: str, statement: str, extra: str) -> None:
    """In a process where that package is as if it were not installed."""
    program = f"""
import sys
sys.modules[{module!r}] = None
from portcullis.errors import ConfigError
from portcullis.limits import Limits as L
from portcullis.registry.hosts import HostRules as H
try:
    {statement}
except ConfigError as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"pip install 'portcullis[{extra}]'" in done.stdout
