"""What is found in the files of an image, and what is not."""

import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fakes.layerfacts import file, folder, hard_link, layer, look, opaque, program, symlink, whiteout
from portcullis.errors import TooLarge
from portcullis.inspection.capabilities import shown_capabilities
from portcullis.inspection.catalogue import load_catalogue
from portcullis.inspection.folding import Heap, fold
from portcullis.inspection.layerfacts import Entry, LayerFacts
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.contents import Finding, FindingClass

SHELLS, TOOLS, MANAGERS = FindingClass.SHELLS, FindingClass.BUILD_TOOLS, FindingClass.PACKAGE_MANAGERS
INTERPRETERS, DOWNLOADS, SETUID = FindingClass.INTERPRETERS, FindingClass.DOWNLOAD_TOOLS, FindingClass.SETUID
WRITABLE, SECRETS, VCS = FindingClass.WORLD_WRITABLE, FindingClass.SECRETS, FindingClass.VCS
CACHES, TESTS = FindingClass.CACHES, FindingClass.TESTS


def found(*layers: LayerFacts, **config: object) -> dict[FindingClass, list[tuple[str, str]]]:
    findings = look(*layers, **config).findings  # type: ignore[arg-type]
    return {name: [(one.path, one.what) for one in some] for name, some in findings.items() if some}


def one_of(name: FindingClass, *layers: LayerFacts, **config: object) -> Finding:
    (finding,) = look(*layers, **config).findings[name]  # type: ignore[arg-type]
    return finding


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([program("bin/bash")], {SHELLS: [("/bin/bash", "bash")]}),
        ([program("opt/x/zsh")], {SHELLS: [("/opt/x/zsh", "zsh")]}),
        ([program("opt/pwsh")], {SHELLS: [("/opt/pwsh", "pwsh")]}),
        ([file("bin/bash")], {}),
        ([folder("bin/bash")], {}),
        ([program("usr/share/doc/bash")], {}),
        (
            [program("usr/bin/x86_64-linux-gnu-gcc-12")],
            {TOOLS: [("/usr/bin/x86_64-linux-gnu-gcc-12", "x86_64-linux-gnu-gcc-12")]},
        ),
        ([program("usr/bin/make")], {TOOLS: [("/usr/bin/make", "make")]}),
        ([program("usr/bin/mvn")], {TOOLS: [("/usr/bin/mvn", "mvn")]}),
        ([program("usr/bin/git")], {TOOLS: [("/usr/bin/git", "git")]}),
        ([file("usr/include/a.h"), file("usr/include/b/c.h")], {TOOLS: [("/usr/include", "headers")]}),
        ([folder("usr/include")], {}),
        ([file("usr/lib/libz.a")], {TOOLS: [("/usr/lib/libz.a", "static library")]}),
        (
            [file("lib/x/site-packages/setuptools/__init__.py")],
            {TOOLS: [("/lib/x/site-packages/setuptools", "setuptools")]},
        ),
        (
            [program("usr/bin/pip3.12")],
            {TOOLS: [("/usr/bin/pip3.12", "pip3.12")], MANAGERS: [("/usr/bin/pip3.12", "pip3.12")]},
        ),
        ([program("usr/bin/apt-get"), program("etc/cron.daily/dpkg")], {MANAGERS: [("/usr/bin/apt-get", "apt-get")]}),
        ([program("sbin/apk")], {MANAGERS: [("/sbin/apk", "apk")]}),
        ([program("usr/bin/python3.12")], {INTERPRETERS: [("/usr/bin/python3.12", "python3.12")]}),
        ([program("usr/bin/python3.12-config")], {TOOLS: [("/usr/bin/python3.12-config", "python3.12-config")]}),
        ([program("usr/bin/wget")], {DOWNLOADS: [("/usr/bin/wget", "wget")]}),
        ([file("app/.git/HEAD"), file("app/.git/objects/x")], {VCS: [("/app/.git", ".git")]}),
        ([folder("app/.git")], {}),
        ([file("app/.git/x/.git/HEAD")], {VCS: [("/app/.git", ".git")]}),
        ([file("root/.cache/pip/x")], {CACHES: [("/root/.cache/pip", "pip")]}),
        ([file("var/lib/apt/lists/lock", size=0), folder("var/lib/apt/lists/partial")], {}),
        ([file("var/lib/apt/lists/deb_Packages")], {CACHES: [("/var/lib/apt/lists", "apt cache")]}),
        ([file("var/cache/apk/APKINDEX.tar.gz")], {CACHES: [("/var/cache/apk", "apk")]}),
        ([file("x/__pycache__/a.pyc")], {CACHES: [("/x/__pycache__", "__pycache__")]}),
        ([file("usr/lib/python3/dist-packages/a/__pycache__/a.pyc")], {}),
        ([file("l/site-packages/a/tests/t.py")], {TESTS: [("/l/site-packages/a/tests", "tests of a package")]}),
        ([file("l/site-packages/django/test/client.py")], {}),
        ([file("app/.env")], {SECRETS: [("/app/.env", "environment file")]}),
        ([file("app/.env", size=0), file("app/.env.example")], {}),
        ([file("a/key.pem", marks=["private-key"])], {SECRETS: [("/a/key.pem", "private key")]}),
        ([file("a/ca.pem")], {}),
        ([file("l/site-packages/t/key.pem", marks=["private-key"])], {}),
        ([file("root/.ssh/id_rsa", marks=["ssh-key"])], {SECRETS: [("/root/.ssh/id_rsa", "SSH private key")]}),
        ([file("root/.ssh/id_rsa")], {}),
    ],
)
def test_files(entries: Sequence[Entry], expected: dict[FindingClass, list[tuple[str, str]]]) -> None:
    assert found(layer(*entries)) == expected


class TestLinks:
    def test_a_link_is_named_with_what_it_leads_to(self) -> None:
        entries = (program("usr/bin/dash"), symlink("usr/bin/sh", "dash"), symlink("bin", "usr/bin"))
        assert found(layer(*entries)) == {SHELLS: [("/usr/bin/dash", "dash"), ("/usr/bin/sh", "sh (dash)")]}

    def test_applets_of_busybox(self) -> None:
        entries = (program("bin/busybox"), symlink("bin/sh", "/bin/busybox"), symlink("bin/wget", "/bin/busybox"))
        assert found(layer(*entries, symlink("bin/ls", "/bin/busybox"))) == {
            SHELLS: [("/bin/busybox", "busybox"), ("/bin/sh", "sh (busybox)")],
            DOWNLOADS: [("/bin/wget", "wget (busybox)")],
        }

    def test_applets_that_are_hard_links(self) -> None:
        entries = (
            program("bin/["),
            hard_link("bin/busybox", "bin/[", mode=0o755),
            hard_link("bin/ash", "bin/[", mode=0o755),
        )
        assert found(layer(*entries)) == {SHELLS: [("/bin/ash", "ash (busybox)"), ("/bin/busybox", "busybox")]}

    def test_links_that_lead_nowhere_or_to_no_program(self) -> None:
        entries = (symlink("bin/sh", "bash"), symlink("bin/zsh", "data"), file("bin/data"), symlink("bin/ksh", "/bin"))
        assert found(layer(*entries)) == {}

    def test_a_program_whose_link_is_removed(self) -> None:
        below = layer(program("bin/tool"), symlink("bin/bash", "tool"))
        assert found(below, layer(whiteout("bin/bash"))) == {}


class TestPermissions:
    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            (file("a", mode=0o4755), {SETUID: [("/a", "setuid")]}),
            (file("a", mode=0o2755), {SETUID: [("/a", "setgid")]}),
            (file("a", mode=0o6755), {SETUID: [("/a", "setgid"), ("/a", "setuid")]}),
            (folder("a", mode=0o2755), {}),
            (file("a", mode=0o666), {WRITABLE: [("/a", "world-writable file")]}),
            (folder("a", mode=0o777), {WRITABLE: [("/a", "world-writable folder")]}),
            (folder("a", mode=0o1777), {}),
            (symlink("a", "b"), {}),
            (file("a", mode=0o775), {}),
            (Entry(b"dev/null", 3, 0o666, 0, 0, device=(1, 3)), {}),
        ],
    )
    def test_modes(self, entry: Entry, expected: dict[FindingClass, list[tuple[str, str]]]) -> None:
        assert found(layer(entry)) == expected

    def test_a_capability(self) -> None:
        attribute = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
        assert found(layer(file("bin/ping", capability=attribute))) == {SETUID: [("/bin/ping", "cap_net_raw=ep")]}

    @pytest.mark.parametrize(
        ("attribute", "text"),
        [
            (struct.pack("<III", 0x01000001, 1 << 13, 0), "cap_net_raw=ep"),
            (struct.pack("<IIIII", 0x02000000, 1 << 10 | 1, 0, 0, 0), "cap_chown,cap_net_bind_service=p"),
            (struct.pack("<IIIIII", 0x03000001, 1, 1, 1 << 8, 0, 1000), "cap_chown=epi cap_checkpoint_restore=ep"),
            (struct.pack("<IIIII", 0x02000000, 0, 1 << 21, 1 << 31, 0), "cap_sys_admin=i 63=p"),
            (struct.pack("<IIIII", 0x02000001, 0, 0, 0, 0), ""),
            (struct.pack("<III", 0x02000001, 1, 0), "unknown capabilities"),
            (struct.pack("<IIIII", 0x04000001, 1, 0, 0, 0), "unknown capabilities"),
            (b"\1", "unknown capabilities"),
        ],
    )
    def test_forms_of_capabilities(self, attribute: bytes, text: str) -> None:
        assert shown_capabilities(attribute) == text


class TestLayers:
    HISTORY = (("base", False), ("ENV A=b", True), ("RUN apt-get install gcc", False))

    def test_a_finding_names_its_layer_and_line(self) -> None:
        layers = layer(program("bin/sh")), layer(program("usr/bin/gcc"))
        finding = one_of(TOOLS, *layers, history=self.HISTORY)
        assert (finding.layer, finding.layer_index) == (layers[1].digest, 1)
        assert finding.created_by == "RUN apt-get install gcc"
        assert (finding.mode, finding.size, finding.count, finding.deleted) == (0o755, 1000, 1, False)

    def test_history_that_does_not_fit_tells_nothing(self) -> None:
        assert one_of(SHELLS, layer(program("bin/sh")), history=self.HISTORY).created_by == ""

    def test_a_folder_is_told_for_each_layer_that_fills_it(self) -> None:
        """So that what an image adds to a folder of its base is not taken for the base's."""
        layers = layer(file("usr/include/a.h"), file("usr/include/b.h")), layer(file("usr/include/c.h", size=3))
        findings = look(*layers).findings[TOOLS]
        assert [(one.path, one.layer_index, one.count, one.size) for one in findings] == [
            ("/usr/include", 0, 2, 20),
            ("/usr/include", 1, 1, 3),
        ]

    def test_what_a_later_layer_removes_is_no_finding(self) -> None:
        assert found(layer(program("bin/sh"), file("a/.git/x")), layer(whiteout("bin"), opaque("a"))) == {}


class TestSecretsThatAreHidden:
    KEY = file("root/key.pem", marks=["private-key"])

    def test_one_that_a_later_layer_deletes(self) -> None:
        finding = one_of(SECRETS, layer(self.KEY), layer(whiteout("root")))
        assert (finding.path, finding.deleted, finding.layer_index) == ("/root/key.pem", True, 0)

    def test_one_that_the_same_layer_replaces(self) -> None:
        finding = one_of(SECRETS, layer(self.KEY, file("root/key.pem", size=1)))
        assert finding.deleted

    def test_one_that_is_replaced_by_another(self) -> None:
        findings = look(layer(self.KEY), layer(file("root/key.pem", size=11, marks=["private-key"]))).findings[SECRETS]
        assert sorted((one.layer_index, one.deleted) for one in findings) == [(0, True), (1, False)]

    def test_a_copy_with_another_owner_is_told_once(self) -> None:
        finding = one_of(SECRETS, layer(self.KEY), layer(file("root/key.pem", uid=5, marks=["private-key"])))
        assert (finding.layer_index, finding.deleted) == (1, False)

    def test_other_classes_are_about_what_is_there(self) -> None:
        assert found(layer(program("bin/sh", size=1)), layer(whiteout("bin/sh"))) == {}


class TestHistory:
    @pytest.mark.parametrize(
        ("line", "what"),
        [
            ("|1 NPM_TOKEN=abcdef /bin/sh -c npm ci", "NPM_TOKEN"),
            ("RUN |2 A=b API_KEY=x1y2z3 /bin/sh -c make # buildkit", "API_KEY"),
            ("ENV DB_PASSWORD=hunter2", "DB_PASSWORD"),
            ('ENV DB_PASSWORD="two words"', "DB_PASSWORD"),
            ("RUN curl -H 'Authorization: ghp_0123456789abcdefghijABCDEFGHIJ012345'", "token in the history"),
            ("RUN pip install --index-url https://me:s3cretpw@pypi.example.test/simple", "token in the history"),
            ("RUN export AWS_SECRET_ACCESS_KEY=abc123def456", "AWS_SECRET_ACCESS_KEY"),
        ],
    )
    def test_secrets(self, line: str, what: str) -> None:
        finding = one_of(SECRETS, layer(file("a")), history=[(line, False)])
        assert (finding.path, finding.what, finding.layer_index) == ("", what, 0)

    @pytest.mark.parametrize(
        "line",
        [
            "ENV GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D",
            "ENV DB_PASSWORD=",
            "ENV DB_PASSWORD=$SECRET",
            "ENV DB_PASSWORD_FILE=/run/secrets/db",
            "ENV TOKENIZERS_PARALLELISM=false",
            "ENV SIGNING_PUBLIC_TOKEN=abc",
            "ENV USE_TOKEN=true",
            "RUN --mount=type=secret,id=npm npm ci",
            "RUN git clone https://github.com/a/b@v1",
            "RUN git clone https://$USER:$TOKEN@example.test/x",
        ],
    )
    def test_what_is_none(self, line: str) -> None:
        assert found(layer(file("a")), history=[(line, False)]) == {}

    def test_its_value_is_blotted_out_wherever_the_line_is_shown(self) -> None:
        lines = [("RUN |1 NPM_TOKEN=abcdef /bin/sh -c gcc && echo abcdef", False)]
        contents = look(layer(program("usr/bin/gcc")), history=lines)
        shown = {
            contents.layers[0].created_by,
            *(one.created_by for some in contents.findings.values() for one in some),
        }
        assert shown == {"RUN |1 NPM_TOKEN=*** /bin/sh -c gcc && echo ***"}

    def test_a_line_of_many_is_bounded(self) -> None:
        line = " ".join(f"ENV{number}_TOKEN=v{number}x" for number in range(3))
        assert look(layer(file("a")), history=[(line, False)], limits=replace(DEFAULT_LIMITS, contents_findings=3))
        with pytest.raises(TooLarge, match=r"history .* limit contentsFindings"):
            look(layer(file("a")), history=[(line, False)], limits=replace(DEFAULT_LIMITS, contents_findings=2))

    def test_a_line_without_a_layer_is_told_with_the_next_one(self) -> None:
        """It is never taken for one of the base whose last layer lies before it."""
        lines = [("base", False), ("ENV DB_PASSWORD=hunter2", True), ("COPY . /app", False)]
        assert one_of(SECRETS, layer(file("a")), layer(file("b")), history=lines).layer_index == 1
        assert one_of(SECRETS, layer(file("a")), history=lines[:2]).layer_index == 0


class TestApplication:
    def test_tests_of_the_application(self) -> None:
        entries = [file("srv/web/tests/test_a.py"), file("srv/web/test_b.py"), file("srv/other/app/x")]
        assert found(layer(*entries), working_dir="/srv/web") == {
            TESTS: [("/srv/web/test_b.py", "test"), ("/srv/web/tests", "tests")]
        }

    def test_elsewhere_they_are_no_finding(self) -> None:
        assert found(layer(file("data/tests/x"), file("data/test_a.py"))) == {}


class TestFolding:
    def test_few_stay_as_they_are(self) -> None:
        heaps = [Heap(f"app/{number}".encode(), 1, 2) for number in range(20)]
        assert fold(heaps) == sorted(heaps, key=lambda heap: heap.path)

    def test_many_are_told_as_their_folder(self) -> None:
        heaps = [Heap(f"app/x/{number}".encode(), 1, 2) for number in range(21)]
        assert fold([*heaps, Heap(b"app/y", 1, 1)]) == [Heap(b"app/x", 21, 42), Heap(b"app/y", 1, 1)]

    def test_in_the_lowest_folder_that_holds_them(self) -> None:
        heaps = [Heap(f"app/x/{number}/y".encode(), 1, 2) for number in range(21)]
        assert fold(heaps) == [Heap(b"app/x", 21, 42)]

    def test_folders_that_say_nothing_are_no_place(self) -> None:
        heaps = [Heap(f"usr/{number}/y".encode(), 1, 2) for number in range(30)]
        assert fold(heaps) == sorted(heaps, key=lambda heap: heap.path)

    def test_in_findings_they_are_counted_by_layer(self) -> None:
        base = layer(*(file(f"l/site-packages/p{number}/__pycache__/a.pyc", size=3) for number in range(30)))
        findings = look(base, layer(file("l/site-packages/q/__pycache__/a.pyc"))).findings[CACHES]
        assert [(one.path, one.layer_index, one.count, one.size) for one in findings] == [
            ("/l/site-packages", 0, 30, 90),
            ("/l/site-packages/q/__pycache__", 1, 1, 10),
        ]


class TestBounds:
    def test_findings_of_a_class(self) -> None:
        limits = replace(DEFAULT_LIMITS, contents_findings=2)
        shells = [program(f"bin{number}/sh") for number in range(3)]
        assert look(layer(*shells[:2]), limits=limits)
        with pytest.raises(TooLarge, match="class shells than the limit contentsFindings allows, which is 2"):
            look(layer(*shells), limits=limits)


def test_names_that_are_no_utf8() -> None:
    entry = Entry(b"\xff/bash", 0, 0o755, 0, 0, size=1)
    assert one_of(SHELLS, layer(entry)).path == "/\\xff/bash"


def test_rules_of_an_operator() -> None:
    text = """
        disable = ["shell"]
        [[rules]]
        id = "our-agent"
        classes = ["downloadTools"]
        what = "agent"
        folders = ["opt/agent"]
        only = ["/usr/**"]
        [[rules]]
        id = "our-token"
        classes = ["secrets"]
        files = ["token.txt"]
        content = "^tok_"
        """
    catalogue = load_catalogue([("ours.toml", text)])
    entries = [
        program("bin/sh"),
        file("usr/opt/agent/x"),
        file("opt/agent/x"),
        file("token.txt", marks=["our-token"]),
        file("a/token.txt"),
    ]
    assert found(layer(*entries), catalogue=catalogue) == {
        DOWNLOADS: [("/usr/opt/agent", "agent")],
        SECRETS: [("/token.txt", "token.txt")],
    }
