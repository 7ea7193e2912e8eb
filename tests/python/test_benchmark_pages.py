"""What is said of speed: each CPU's figures apart, every page and claim as the figures have it."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

AMD = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC

processor\t: 1
model\t\t: 99
"""


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """Make the modules of benchmarks/ importable."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def measured(version="0.2.0", better=2.0, parts=("matmul", "training"), key="cpu-a"):
    """Make up what a run on two numbers of threads found."""
    import store
    from report import Row, Table

    ratios = {"NumPy": 2 * better, "JAX": better, "two layers": 0.01}
    made = store.Measured(key, "CPU A", "avx2")
    kinds = {"matmul": ("float32 x", "float64 x"), "training": ("SGD",), "near_zero": ("",)}
    for part in parts:
        tables = []
        for kind in kinds[part]:
            for threads in (1, 2):
                table = Table(part, kind, f"Title {kind}", threads, "µs")
                gain = 1.5 if threads == 2 else None
                for i, factor in enumerate((1.0, 1.5)):
                    peers = {name: factor * r for name, r in ratios.items()}
                    if part == "near_zero":
                        peers = {"ordinary numbers": 0.9}
                    seconds = {"nnext": 1e-6, **{name: 1e-6 * r for name, r in peers.items()}}
                    table.rows.append(Row(f"case {i}", seconds, peers, threads_gain=gain))
                tables.append(table)
        made.parts[part] = store.Part("2026-01-02", version, {"CPU": "a"}, ["a note"], tables)
    return made


# --- the CPU --------------------------------------------------------------------------------------


def cpuinfo(vendor, family, number):
    return f"vendor_id : {vendor}\ncpu family : {family}\nmodel : {number}\nmodel name : Name\n"


@pytest.mark.parametrize(
    ("vendor", "family", "number", "name"),
    [
        ("AuthenticAMD", 23, 49, "AMD Zen 2"),
        ("AuthenticAMD", 25, 1, "AMD Zen 3"),
        ("AuthenticAMD", 25, 17, "AMD Zen 4"),
        ("AuthenticAMD", 26, 2, "AMD Zen 5"),
        ("GenuineIntel", 6, 143, "Intel Sapphire Rapids"),
        ("GenuineIntel", 6, 173, "Intel Granite Rapids"),
        ("GenuineIntel", 6, 9999, "GenuineIntel family 6 model 9999"),
        ("Somebody", 1, 2, "Somebody family 1 model 2"),
    ],
)
def test_a_cpu_has_a_name_for_people_or_its_numbers(vendor, family, number, name):
    import machine

    cpu = machine.read(cpuinfo(vendor, family, number))
    assert cpu.name == name
    assert f"family {family} model {number}" in cpu.describe()["CPU"]


def test_the_first_cpu_counts_and_no_two_kinds_share_a_file():
    import machine

    cpu = machine.read(AMD, "L1d 48 KiB")
    assert cpu.describe() == {
        "CPU": "AMD Zen 5: AMD EPYC (AuthenticAMD family 26 model 2)",
        "machine": cpu.describe()["machine"],
        "caches": "L1d 48 KiB",
    }
    assert cpu.key("avx512") == "amd-zen-5-26-2-avx512"
    others = [("AuthenticAMD", 26, 68), ("GenuineIntel", 6, 2), ("GenuineIntel", 62, 2)]
    keys = {machine.read(cpuinfo(*other)).key("avx512") for other in others}
    assert len(keys | {cpu.key("avx512"), cpu.key("avx2")}) == 5
    arm = machine.read("CPU implementer : 0x41\nCPU architecture: 8\nCPU part : 0xd0c\n")
    assert arm.name == "ARM Neoverse N1"


def test_without_cpuinfo_a_cpu_is_what_it_calls_itself(monkeypatch):
    import machine

    monkeypatch.setattr(machine.platform, "system", lambda: "Other")
    monkeypatch.setattr(machine.platform, "processor", lambda: "M 1")
    cpu = machine.read("")
    assert (cpu.name, cpu.key("neon")) == ("M 1", "m-1-neon")
    assert cpu.describe()["CPU"] == "M 1: M 1"


def test_caches_of_data_are_told_in_their_order():
    import machine

    caches = [
        {"level": "1", "type": "Data", "size": "48K"},
        {"level": "1", "type": "Instruction", "size": "32K"},
        {"level": "2", "type": "Unified", "size": "2048K"},
        {"level": "3", "type": "Unified", "size": "1536K"},
        {"level": "4"},
    ]
    assert machine.describe_caches(caches) == "L1d 48 KiB, L2 2 MiB, L3 1536 KiB"
    assert machine.describe_caches([]) == ""


def test_threads_are_given_cores_of_their_own_while_there_are_some():
    import machine

    neighbours = {0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}
    apart = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}
    for cores in (neighbours, apart):
        for count in (1, 2, 3, 4):
            chosen = machine.pick(cores, count)
            assert len(set(chosen)) == count
            assert len({cores[cpu] for cpu in chosen}) == min(count, 2)
    assert machine.pick(neighbours, 2) == [3, 1]


@pytest.mark.skipif(os.name != "posix", reason="reads the clock of Linux")
def test_what_others_had_of_the_cpus_is_what_this_process_had_not():
    import machine

    stat = "cpu  100 10 20 9000 50 3 2 15 7 0\ncpu0 1 2\n"
    clock = machine.Clock.now(stat)
    assert clock.everybody == 150 / machine.os.sysconf("SC_CLK_TCK")
    before, after = machine.Clock(10, 50, 5), machine.Clock(20, 65, 14)
    assert before.others(after, 2) == pytest.approx(6 / 20)
    assert before.others(machine.Clock(20, 50, 15), 2) == 0  # ticks lag behind


# --- the figures ----------------------------------------------------------------------------------


def test_figures_come_back_from_their_file(tmp_path):
    import store

    made = measured()
    store.save(made, tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert store.load(tmp_path / "a.json") == made
    assert sum('"case"' in line for line in text.splitlines()) == 12  # a row a line
    assert "null" not in text.replace('"memory": null', "")


def test_a_run_of_some_parts_takes_the_place_of_these_alone(tmp_path):
    import store

    store.keep(measured("0.1.0"), tmp_path)
    kept = store.keep(measured("0.2.0", better=0.5, parts=("training",)), tmp_path)
    assert store.load_all(tmp_path) == [kept]
    assert {name: part.version for name, part in kept.parts.items()} == {
        "matmul": "0.1.0",
        "training": "0.2.0",
    }
    assert kept.version() == "0.1.0 and 0.2.0"
    with pytest.raises(ValueError, match="expected figures of cpu-a, got those of cpu-b"):
        kept.merged(measured(key="cpu-b"))


def test_another_cpu_takes_nobodys_place(tmp_path):
    import store

    first = store.keep(measured(), tmp_path)
    second = store.keep(measured(key="cpu-b"), tmp_path)
    assert store.load_all(tmp_path) == [first, second]


def test_a_run_becomes_parts_with_date_version_and_notes():
    import store

    tables = measured().tables()
    results = [
        {"key": "k", "name": "N", "isa": "avx2", "version": "0.3.0", "about": {"CPU": "c"}}
        | {"notes": ["one", f"of {threads}"]}
        | {"tables": [t.to_json() for t in tables if t.threads == threads]}
        for threads in (1, 2)
    ]
    run = store.Measured.of_run(results, ["calls", "matmul", "training"], "2026-03-04")
    assert (run.key, run.title, list(run.parts)) == ("k", "N, avx2", ["matmul", "training"])
    part = run.parts["matmul"]
    assert (part.date, part.version, part.about) == ("2026-03-04", "0.3.0", {"CPU": "c"})
    assert part.notes == ["one", "of 1", "of 2"]
    assert [(t.kind, t.threads) for t in part.tables[:2]] == [("float32 x", 1), ("float32 x", 2)]


def test_a_case_is_lost_to_the_best_peer_and_to_no_other_way_of_nnexts_own():
    from groups import grouped, joined

    groups = grouped(measured(better=0.8, parts=("matmul", "training", "near_zero")).tables())
    assert [(g.name, g.threads) for g in groups][:3] == [
        ("Products, float32", 1),
        ("Products, float64", 1),
        ("Training steps, SGD", 1),
    ]
    assert len(groups) == 6  # numbers near zero have no peer
    group = groups[0]
    assert [row.better for row in group.rows] == [0.8, pytest.approx(1.2)]
    assert (group.lost, group.worst.better) == (1, 0.8)
    assert group.mean == pytest.approx((0.8 * 1.2) ** 0.5)
    both = joined(groups, ["Products, float32", "Products, float64"], 2)
    assert len(both.rows) == 4
    assert joined(groups, ["Cost of a call"], 1) is None


# --- the pages ------------------------------------------------------------------------------------


def test_every_page_and_claim_is_as_the_figures_have_it():
    import pages
    import store

    everything = store.load_all()
    assert everything
    for path, text in pages.texts(everything, ROOT).items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, path
    there = {path.stem for path in (ROOT / pages.FOLDER).glob("*.md")}
    assert there == {measured.key for measured in everything}


def test_pages_link_to_pictures_and_files_that_are_there():
    import pages

    for path in [ROOT / pages.INDEX, *(ROOT / pages.FOLDER).glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_a_page_has_each_run_with_its_date_and_the_means_of_all_products():
    import pages

    made = measured(better=0.8)
    made.parts["training"].date = "2026-05-06"
    text = pages.page(made, ROOT)
    assert text.startswith(pages.GENERATED)
    assert re.search(r"Matrix products:\n\n- measured: 2026-01-02\n- CPU: a", text)
    assert re.search(r"Training steps:\n\n- measured: 2026-05-06\n", text)
    assert "- note: a note" in text
    assert (
        "All 2 cases of **Products, float32, 1 thread**: geometric mean 0.98 × the better peer,"
        " 1 lost, worst 0.80 at case 0." in text
    )
    assert re.search(r"^\| case 0 +\| 1.50 \|$", pages.scaling(made), re.M)
    assert re.search(r"^\| Products, float32 .*\| +0.98 \| 1 of 2 \| 0.80: case 0 \|", text, re.M)


def test_claims_name_cpu_version_peers_wins_and_losses_in_both_languages():
    import pages

    made = measured(better=0.8)
    beside_none = measured(key="cpu-b", parts=("near_zero",))
    for language in pages.READMES.values():
        head, _, line = pages.speed([made, beside_none], language).splitlines()
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells == [
            *("[CPU A, avx2](docs/performance/cpu-a.md)", "0.2.0", "NumPy, JAX"),
            *("0.98 / 0.98", "0.98 / 0.98", "0.98 / 0.98", "6", "6"),
        ]
        assert head.count("|") == line.count("|")
    text = pages.index([made, beside_none], ROOT)
    assert "12 cases, 6 won, 6 lost" in text
    assert "Beside no peer so far, only: Numbers near zero." in text


@pytest.fixture
def documents(tmp_path):
    """A tree with documents of which nothing was measured yet."""
    for name, block in (("README.md", "speed"), ("README.ko.md", "speed")):
        text = f"# T\n<!-- bench:{block} -->\n<!-- /bench:{block} -->\n"
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "docs").mkdir()
    text = "By hand.\n<!-- bench:cpus -->\n<!-- /bench:cpus -->\nBy hand.\n"
    (tmp_path / "docs" / "performance.md").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_first_run_is_written_with_its_pictures_and_stays_as_it_is(documents):
    pytest.importorskip("matplotlib")
    import pages

    everything = [measured()]
    for table in everything[0].tables():
        for row in table.rows:
            object.__setattr__(row, "traffic", 1.0)  # which products have
    written = pages.write_all(documents, everything, "cpu-a")
    assert sorted(written) == [
        *("README.ko.md", "README.md", "docs/performance.md"),
        *(f"docs/performance/cpu-a{end}" for end in ("-roofline.png", ".md", ".png")),
    ]
    assert all((documents / name).exists() for name in written)
    page = (documents / "docs/performance/cpu-a.md").read_text(encoding="utf-8")
    assert "](cpu-a.png)" in page
    assert "](cpu-a-roofline.png)" in page
    text = (documents / "docs/performance.md").read_text(encoding="utf-8")
    assert "](performance/cpu-a.png)" in text
    assert text.startswith("By hand.")
    assert text.endswith("By hand.\n")
    for name, text in pages.texts(everything, documents).items():
        assert (documents / name).read_text(encoding="utf-8") == text


def test_a_picture_that_cannot_be_drawn_is_not_linked_to(documents, monkeypatch):
    import pages

    everything = [measured()]
    (documents / "docs/performance").mkdir()
    stale = documents / "docs/performance/cpu-a.png"
    stale.write_bytes(b"of other figures")
    monkeypatch.setattr(pages.picture, "draw", lambda measured, path: False)
    monkeypatch.setattr(pages.roofline, "draw", lambda tables, path: False)
    written = pages.write_all(documents, everything, "cpu-a")
    assert not stale.exists()
    assert not any(name.endswith(".png") for name in written)
    assert "![" not in (documents / "docs/performance/cpu-a.md").read_text(encoding="utf-8")
    assert "![" not in (documents / "docs/performance.md").read_text(encoding="utf-8")


def test_writing_needs_its_places_once():
    import report

    text = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb"
    new = "a\n<!-- bench:x -->\n\nnew\n\n<!-- /bench:x -->\nb"
    assert report.replace_blocks(text, {"x": "new"}) == new
    for wrong in ("", text + text):
        with pytest.raises(ValueError, match=r"found them [02] times"):
            report.replace_blocks(wrong, {"x": ""})


# --- the picture ----------------------------------------------------------------------------------


def test_the_picture_tells_wins_from_losses_by_shape_too(saved_figures, tmp_path):
    import picture

    assert picture.draw(measured(better=0.8), tmp_path / "a.png")
    (figure,) = saved_figures
    panels = figure.axes
    assert [ax.get_title() for ax in panels] == ["1 thread", "2 threads"]
    lines = {line.get_label(): line for line in panels[0].lines}
    won, lost = lines["nnext won"], lines["nnext lost"]
    assert (won.get_xdata()[0], lost.get_xdata()[0]) == (pytest.approx(1.2), 0.8)
    assert won.get_marker() != lost.get_marker()
    assert panels[0].get_xscale() == "log"
    assert list(lines["_level"].get_xdata()) == [1, 1]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(labels) == ["geometric mean", "nnext lost", "nnext won"]


def test_no_point_of_any_panel_is_cut_off(saved_figures, tmp_path):
    import picture

    made = measured(better=0.8)
    rows = made.parts["matmul"].tables[1].rows  # on two threads
    rows[0].ratios.update({"NumPy": 70.0, "JAX": 70.0})
    rows[1].ratios.update({"NumPy": 0.02})
    picture.draw(made, tmp_path / "a.png")
    for ax in saved_figures[0].axes:
        low, high = ax.get_xlim()
        points = [x for line in ax.lines for x in line.get_xdata()]
        assert low < min(points) < max(points) < high


def test_nothing_in_the_picture_lies_over_anything_else(saved_figures, tmp_path):
    import picture
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    picture.draw(measured(), tmp_path / "a.png")
    (figure,) = saved_figures
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [figure.legends[0].get_window_extent(renderer)]
    boxes.append(figure._suptitle.get_window_extent(renderer))
    for ax in figure.axes:
        boxes += [ax.get_window_extent(renderer), ax.title.get_window_extent(renderer)]
        boxes.append(ax.xaxis.label.get_window_extent(renderer))
        for axis in (ax.yaxis, *(child.yaxis for child in ax.child_axes)):
            boxes += [text.get_window_extent(renderer) for text in axis.get_ticklabels()]
    boxes = [box for box in boxes if box.width > 0]
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_without_a_peer_there_is_no_picture(tmp_path):
    import picture

    assert not picture.draw(measured(parts=("near_zero",)), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
