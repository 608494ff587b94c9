"""Who owns the files of the application, and who may change them."""

from dataclasses import replace

import pytest

from fakes.layerfacts import file, folder, layer, look, program, symlink
from portcullis.errors import TooLarge
from portcullis.inspection.layerfacts import LayerFacts
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.contents import Application

BASE = layer(file("etc/passwd", size=0), program("usr/bin/python3"), file("opt/vendor/x"))


def application(*layers: LayerFacts, user: str = "1000:1000", **config: object) -> Application:
    return look(BASE, *layers, user=user, **config).application  # type: ignore[arg-type]


class TestWhatIsOfIt:
    def test_workdir(self) -> None:
        found = application(layer(file("work/a"), file("work/b/c")), working_dir="/work")
        assert (found.roots, found.files) == (("/work",), 2)

    def test_workdir_by_a_link(self) -> None:
        found = application(layer(file("work/a"), symlink("w", "work")), working_dir="/w")
        assert (found.roots, found.files) == (("/work",), 1)

    @pytest.mark.parametrize("folder_", ["/", "/usr/bin", "/var/lib", "", "/nowhere", "/etc"])
    def test_workdir_that_is_no_folder_of_its_own(self, folder_: str) -> None:
        assert application(layer(file("var/lib/x"), file("etc/y")), working_dir=folder_).files == 0

    def test_usual_places_count_where_an_upper_layer_fills_them(self) -> None:
        found = application(layer(file("app/a"), file("opt/own/b")))
        assert (found.roots, found.files) == (("/app", "/opt"), 2)

    def test_an_image_of_one_layer_has_no_system_below(self) -> None:
        assert look(layer(file("app/a"), file("opt/b"))).application.files == 2

    def test_the_entrypoint(self) -> None:
        found = application(
            layer(program("usr/local/bin/server"), file("x")), entrypoint=("/usr/local/bin/server", "-v")
        )
        assert (found.roots, found.files) == (("/usr/local/bin/server",), 1)

    def test_a_script_beside_an_interpreter_of_the_system(self) -> None:
        found = application(
            layer(file("data/run.py")), entrypoint=("/usr/bin/python3",), cmd=("./run.py",), working_dir="/data"
        )
        assert (found.roots, found.files) == (("/data",), 1)

    def test_a_file_counts_once(self) -> None:
        found = application(layer(program("app/x")), working_dir="/app", entrypoint=("/app/x",))
        assert found.files == 1


class TestOwners:
    APP = layer(
        folder("app", uid=0),
        file("app/a"),
        file("app/b", uid=1000, gid=1000),
        file("app/c", uid=7),
        file("app/d", gid=1000, mode=0o664),
        file("app/e", mode=0o666),
        file("app/f", gid=1000),
        folder("app/tmp", mode=0o1777),
        symlink("app/l", "a"),
    )

    def test_they_are_counted(self) -> None:
        found = application(self.APP)
        assert (found.files, found.owned_by_root, found.owned_by_user, found.owned_by_others) == (6, 4, 1, 1)

    def test_what_the_user_may_change(self) -> None:
        assert [(one.path, one.what) for one in application(self.APP).writable] == [
            ("/app/b", "owned by the runtime user"),
            ("/app/d", "writable by the group of the runtime user"),
            ("/app/e", "writable by everybody"),
        ]

    def test_what_is_of_somebody_else(self) -> None:
        (found,) = application(self.APP).foreign
        assert (found.path, found.what, found.uid, found.layer_index) == ("/app/c", "owned by 7", 7, 1)

    def test_root_may_change_everything_so_nothing_is_told(self) -> None:
        assert application(self.APP, user="0").writable == ()

    def test_an_unknown_user_owns_nothing(self) -> None:
        found = application(self.APP, user="nobody-knows")
        assert (found.owned_by_user, found.owned_by_others, found.writable) == (0, 2, ())
        assert [one.path for one in found.foreign] == ["/app/b", "/app/c"]

    def test_masses_are_told_as_folders(self) -> None:
        files = (file(f"app/x/{number}", uid=1000, size=2) for number in range(50))
        (found,) = application(layer(*files)).writable
        assert (found.path, found.count, found.size) == ("/app/x", 50, 100)

    def test_what_cannot_be_folded_is_bounded(self) -> None:
        files = [file(f"app/{number}", uid=7) for number in range(3)]
        limits = replace(DEFAULT_LIMITS, contents_findings=2)
        assert application(layer(*files[:2]), limits=limits)
        with pytest.raises(TooLarge, match="foreign files of its application than the limit contentsFindings"):
            application(layer(*files), limits=limits)


class TestRewrittenBytes:
    def test_a_change_of_owner_in_a_later_layer(self) -> None:
        found = application(layer(file("app/a", size=100)), layer(file("app/a", size=100, uid=1000)))
        assert found.rewritten_bytes == 100

    def test_each_time_counts(self) -> None:
        owners = [layer(file("app/a", size=100, uid=uid)) for uid in (0, 1, 2)]
        assert application(*owners).rewritten_bytes == 200

    @pytest.mark.parametrize(
        "after", [file("app/a", size=99, uid=1), file("app/a", size=100), folder("app/a"), symlink("app/a", "b")]
    )
    def test_other_changes(self, after: object) -> None:
        assert application(layer(file("app/a", size=100)), layer(after)).rewritten_bytes == 0  # type: ignore[arg-type]
