"""Every task that can be trained: the contract of `examples`, of the metric and of what a task claims."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from engine import case_of, network, probe_case, same, task

from gradlab.core.errors import UserMistake
from gradlab.core.registry import settings_of
from gradlab.tasks import AbstractGenerator, Examples, registry

TEXT = "the quick brown fox jumps over the lazy dog; " * 20
GENERATORS = [entry.name for entry in registry if issubclass(entry, AbstractGenerator)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A text and a CSV file."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    rows = "\n".join(f"{np.sin(i * 0.7) + i * 0.01}" for i in range(400))
    (folder / "series.csv").write_text(f"reading\n{rows}\n", encoding="utf-8")
    return folder


def make(name, files, **table):
    """Return a small task of any kind."""
    own = {
        "given": {
            "features": 2,
            "inputs_given": [[float(i), -1.0] for i in range(30)],
            "targets_given": [[float(i), 1.0] for i in range(30)],
        },
        "series": {"file": str(files / "series.csv"), "column": "reading", "batch": 6},
        "characters": {"file": str(files / "text.txt")},
    }
    length = {} if name == "digits" else {"length": 30}
    return task(name, **{**length, "batch": 6, **own.get(name, {}), **table})


@pytest.mark.parametrize("name", registry.names())
class TestEveryTask:
    def test_examples_are_a_pure_function_of_their_arguments(self, name, files):
        """A run that was killed goes on with the same numbers."""
        one, other = make(name, files), make(name, files)
        for role, number, seed, replicate, samples in [
            ("training", 5, 1, 2, None),
            ("evaluation", 0, 0, 0, 9),
        ]:
            a = one.examples(role, number, seed, replicate, samples)
            one.examples("training", 99, 0, 0)  # what was asked for in between does not matter
            b = other.examples(role, number, seed, replicate, samples)
            assert same(a.inputs, b.inputs)
            assert same(a.targets, b.targets)
            assert (a.weight is None) == (b.weight is None)
            assert a.weight is None or same(a.weight, b.weight)

    def test_shapes_and_ranges(self, name, files):
        work = make(name, files)
        classes = work.loss_entry.target_kind == "classes"
        for role, samples in (("training", None), ("evaluation", 7), ("evaluation", 1)):
            e, batch = work.examples(role, 0, 0, 0, samples), samples or work.batch
            assert e.inputs.shape == (work.steps, work.features, batch)
            assert e.inputs.dtype == np.float64
            assert np.isfinite(e.inputs).all()
            if classes:
                assert e.targets.shape == (work.steps, batch)
                assert e.targets.dtype.kind == "i"
                assert e.targets.min() >= 0
                assert e.targets.max() < work.n_outputs
            else:
                assert e.targets.shape == (work.steps, work.n_outputs, batch)
                assert np.isfinite(e.targets).all()
            if e.weight is not None:
                assert e.weight.shape == (work.steps, batch)
                away = np.setdiff1d(np.arange(work.steps), work.looks())
                assert not e.weight[away].any()
                np.testing.assert_allclose(e.weight.sum(axis=0), 1.0, rtol=1e-12, atol=0)
            assert list(work.looks()) == sorted(set(work.looks()))
            assert work.looks()[-1] == work.steps - 1

    def test_every_key_changes_the_draw(self, name, files):
        work = make(name, files, batch=20)

        def numbers(*key):
            e = work.examples(*key)
            return np.concatenate([e.inputs.ravel(), e.targets.ravel().astype(float)])

        key = ("training", 1, 0, 0)
        others = {
            "number": ("training", 2, 0, 0),
            "role": ("evaluation", 1, 0, 0),
            "seed": ("training", 1, 1, 0),
            "replicate": ("training", 1, 0, 1),
        }
        kept = {"given": set(others), "level": set(others), "waveform": {"number", "role"}}.get(name, set())
        for what, other in others.items():
            assert same(numbers(*key), numbers(*other)) == (what in kept), what

    def test_nobody_writes_into_examples(self, name, files):
        e = make(name, files).examples("training", 0, 0, 0)
        for array in (e.inputs, e.targets, e.weight):
            assert array is None or not array.flags.writeable

    def test_chunks_of_the_metric_add_up(self, name, files):
        work = make(name, files)
        stream = np.random.RandomState(3)
        outputs = stream.standard_normal((len(work.looks()), 3, work.n_outputs, 8))
        e = work.examples("evaluation", 0, 0, 0, 8)
        total, count = work.metric_of(outputs, e)
        assert total.shape == (3,)
        parts = [part(e, slice(0, 3)), part(e, slice(3, 8))]
        sums = [
            work.metric_of(outputs[..., cut], p)
            for cut, p in zip([slice(0, 3), slice(3, 8)], parts, strict=True)
        ]
        assert sum(c for _, c in sums) == count
        np.testing.assert_allclose(sums[0][0] + sums[1][0], total, rtol=1e-13, atol=0)
        alone = work.metric_of(outputs[:, 1:2], e)[0]
        assert same(alone, total[1:2].copy())

    def test_chance_and_baselines_are_plain_numbers(self, name, files):
        work = make(name, files)
        assert isinstance(work.chance(), float)
        assert work.chance() >= 0
        assert work.chance() > 0 or name in ("given", "level")  # what is asked for is known
        for label, value in work.baselines(0, 0).items():
            assert isinstance(label, str)
            assert math.isfinite(value)
            assert value >= 0

    def test_solved_only_with_a_criterion(self, name, files):
        work = make(name, files)
        found = work.solved(np.array([0.0, 0.009, 0.01, 1.0, np.nan]))
        assert found.tolist() == ([True, True, False, False, False] if work.criterion else [False] * 5)

    def test_the_loss_unit_is_for_probes(self, name, files):
        work = make(name, files, loss="unit")
        with pytest.raises(UserMistake, match=r"loss: expected a loss that can be trained, got 'unit'"):
            work.check_training()


def part(e, cut):
    """Return some of the samples of examples."""
    return Examples(e.inputs[..., cut], e.targets[..., cut], None if e.weight is None else e.weight[..., cut])


@pytest.mark.parametrize("name", GENERATORS)
class TestEveryGenerator:
    def test_settings_build_it_again(self, name, files):
        work = make(name, files)
        assert registry.build(settings_of(work), "task") == work
        assert hash(work) == hash(registry.build(settings_of(work), "task"))
        assert json.dumps(work.identity())

    def test_a_probe_measures_the_first_batch(self, name, files):
        work = make(name, files)
        e = work.examples("training", 0, 3, 1)
        assert same(np.ascontiguousarray(work.inputs(0, work.steps, 3, 1)), e.inputs)
        assert same(np.ascontiguousarray(work.targets(2, 9, 3, 1, 4)), e.targets[2:9].copy())
        weight = work.weight(2, 9, 3, 1)
        assert (weight is None) == (e.weight is None)
        assert weight is None or same(np.ascontiguousarray(weight), e.weight[2:9].copy())

    def test_the_loss_does_not_touch_the_inputs_and_the_length_may(self, name, files):
        work, unit = make(name, files), make(name, files, loss="unit")
        assert work.input_identity() == unit.input_identity()
        assert work.identity() != unit.identity()
        assert same(unit.inputs(0, work.steps, 0, 0), work.inputs(0, work.steps, 0, 0))
        if name != "digits":
            assert make(name, files, length=40).input_identity() != work.input_identity()

    def test_nothing_follows_the_end_of_a_sequence(self, name, files):
        e = make(name, files, batch=50).examples("training", 0, 0, 0)
        if e.weight is None:
            return
        ends = len(e.weight) - 1 - (e.weight[::-1] > 0).argmax(axis=0)
        after = np.arange(len(e.weight))[:, None] > ends
        assert not e.inputs.transpose(0, 2, 1)[after].any()
        assert not e.targets[
            after if e.targets.ndim == 2 else np.broadcast_to(after[:, None], e.targets.shape)
        ].any()

    def test_a_loss_it_is_not_learnt_with_is_refused(self, name, files):
        learnt = registry.get(name).learnt
        other = "mse" if learnt == "cross_entropy" else "cross_entropy"
        with pytest.raises(UserMistake, match=rf'task\.loss: expected "{learnt}" or "unit", got \'{other}\''):
            make(name, files, loss=other)
        with pytest.raises(UserMistake, match=r"Did you mean 'mse'"):
            make(name, files, loss="mes")

    @pytest.mark.parametrize("field", ["features", "outputs", "at"])
    def test_sizes_follow_from_the_protocol(self, name, field, files):
        with pytest.raises(UserMistake, match=rf"task\.{field}: expected a setting of '{name}'"):
            make(name, files, **{field: 3})

    @pytest.mark.parametrize("field", ["batch", "length"])
    @pytest.mark.parametrize("value", [0, -3, 2.5, "many", True])
    def test_bad_sizes(self, name, field, value, files):
        if (name, field) == ("digits", "length"):
            return
        with pytest.raises(UserMistake, match=rf"task\.{field}: expected an integer"):
            make(name, files, **{field: value})

    def test_a_shorter_one_is_a_task_of_its_kind(self, name, files):
        work = make(name, files)
        shorter = work.shortened(24)
        assert type(shorter) is type(work)
        assert shorter.length == (64 if name == "digits" else 24)
        assert 1 <= work.shortened(1).length <= work.length

    def test_it_can_be_probed(self, name, files):
        work = make(name, files)
        records = probe_case(network(hidden=4), work)
        assert np.isfinite(records["loss"])
        assert records["loss"] > 0
        case = case_of(network(hidden=4), work)
        assert case.inputs.shape == (work.steps, work.batch, work.features)


def test_a_perfect_answer_has_metric_0():
    for name in ("adding", "multiplication"):
        work = task(name, length=30, batch=9)
        e = work.examples("training", 0, 0, 0)
        outputs = e.targets[list(work.looks())][:, None]
        assert work.metric_of(outputs, e) == (0.0, 9)
        assert work.metric_of(outputs + 0.041, e) == (9.0, 9)
        assert work.metric_of(outputs + 0.039, e) == (0.0, 9)
        assert work.metric_of(outputs * np.nan, e) == (9.0, 9)


@pytest.mark.parametrize("name", [n for n in GENERATORS if registry.get(n).learnt == "cross_entropy"])
def test_right_classes_have_metric_0_and_no_number_is_no_answer(name, files):
    work = make(name, files)
    e = work.examples("training", 0, 0, 0)
    right = 50.0 * np.eye(work.n_outputs)[e.targets[list(work.looks())]].transpose(0, 2, 1)[:, None]
    total, count = work.metric_of(right, e)
    assert count > 0
    assert total[0] < 1e-15 * count
    if work.metric == "error_rate":
        assert total[0] == 0
        assert work.metric_of(np.full_like(right, np.nan), e)[0][0] == count


def test_dataclass_fields_of_generators_are_told_apart_from_what_follows():
    fields = {f.name for f in dataclasses.fields(registry.get("adding")) if f.init}
    assert fields == {"batch", "length", "loss", "variant"}


def test_the_catalogue_shows_what_a_task_claims():
    """Claims of every contract that an entry stands under, the nearest and those above."""
    from gradlab.cli.catalogues import catalogue_table

    shown = {name: entry["claims"] for name, entry in catalogue_table("tasks").items()}
    assert shown["copy_memory"] == {"metric": "error_rate", "learnt": "cross_entropy"}
    assert shown["noise"] == {"metric": "mean_loss"}
    for name in GENERATORS:
        entry = registry.get(name)
        expected = {"metric": entry.metric, "learnt": entry.learnt}
        assert shown[name] == expected | ({"criterion": entry.criterion} if entry.criterion else {})
