"""Reviews, trips, texts, digits, waves and the held-out end of a series."""

from __future__ import annotations

import builtins
import math

import numpy as np
import pytest
from engine import task

from gradlab.core.errors import UserMistake
from gradlab.tasks import digits, sentiment, slots
from gradlab.tasks._examples import CHUNK

PARITY = {"not": 1, "never": 1}


def words_of(e, b, words):
    """Return the words of a sentence up to its end."""
    there = e.inputs[:, :, b].any(axis=1)
    return [words[i] for i in e.inputs[there, :, b].argmax(axis=1)]


# --- sentiment ------------------------------------------------------------------------------------------


def verdict(words):
    """Read a review as a person does: the second clause, negation by negation."""
    clause = words[words.index("but") + 1 :]
    adjective = next(word for word in clause if word in (*sentiment.PRAISE, *sentiment.BLAME))
    return ((adjective in sentiment.PRAISE) + sum(PARITY.get(word, 0) for word in clause)) % 2


@pytest.mark.parametrize("length", [15, 22])
def test_reviews_mean_what_a_reader_finds(length):
    e = task("sentiment", length=length).examples("training", 0, 0, 0, 2000)
    sizes = set()
    for b in range(2000):
        words = words_of(e, b, sentiment.WORDS)
        sizes.add(len(words))
        end = len(words) - 1
        assert e.targets[end, b] == verdict(words), words
        assert np.flatnonzero(e.weight[:, b]).tolist() == [end]
        assert all(word in sentiment.FILLERS for word in words[len(words) - (length - 15) :])
    assert sizes == set(range(length - 6, length + 1))
    assert abs(e.targets.sum() / 2000 - 0.5) < 5 * 0.5 / math.sqrt(2000)


def test_there_is_negation_and_double_negation():
    e = task("sentiment").examples("training", 0, 0, 0, 300)
    texts = [" ".join(words_of(e, b, sentiment.WORDS)) for b in range(300)]
    for phrase in (" is not ", " is never not ", " is good", " is not bad"):
        assert any(phrase in text for text in texts), phrase


def test_a_bag_of_words_cannot_be_read():
    """The best vote of each bag on half of the reviews, tried on the other half: no better than stated."""
    work = task("sentiment")
    e = work.examples("training", 0, 0, 0, 40_000)
    bags = e.inputs.sum(axis=0).T
    ignore = [sentiment.WORDS.index(w) for w in (*sentiment.SUBJECTS, *sentiment.ADVERBS)]
    bags[:, ignore] = 0  # they say nothing; fewer bags, more reviews in each
    praise = e.targets.sum(axis=0)
    bag = np.unique(bags, axis=0, return_inverse=True)[1].ravel()
    votes = np.bincount(bag, weights=np.where(praise == 1, 1.0, -1.0) * (np.arange(40_000) < 20_000))
    wrong = ((votes[bag] > 0) != praise)[20_000:].mean()
    stated = work.baselines(0, 0)["bag_of_words"]
    assert stated == 0.4375
    assert abs(wrong - stated) < 0.02
    assert work.baselines(0, 0)["last_adjective"] == 0.5


def test_the_longest_review_must_fit():
    with pytest.raises(UserMistake, match=r"task\.length: expected an integer of at least 15.*got 14"):
        task("sentiment", length=14)


# --- slots ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap", "length"), [(0, 4), (2, 12), (5, 14)])
def test_a_place_is_what_the_verb_before_says(gap, length):
    work = task("slots", gap=gap, length=length)
    e = work.examples("training", 0, 0, 0, 3000)
    seen = set()
    for b in range(3000):
        words, verb, expected, since = words_of(e, b, slots.WORDS), None, [], 0
        for word in words:
            since += 1
            if word in slots.VERBS:
                verb, since = word, 0
            slot = slots.SLOTS.index({"arrive": "destination", "leave": "departure"}[verb or "arrive"])
            expected.append(slot if word in slots.PLACES else 0)
            if word in slots.PLACES:
                seen.add(since - 1)
        assert len(words) == length
        assert e.targets[:, b].tolist() == expected
        assert sum(map(bool, expected)) == 2
    assert seen == set(range(gap + 1))
    assert {int(t) for t in np.unique(e.targets)} == {0, 1, 2}


def test_a_word_alone_does_not_tell_the_slot():
    work = task("slots")
    e = work.examples("training", 0, 0, 0, 20_000)
    words, targets = e.inputs.argmax(axis=1).ravel(), e.targets.ravel()
    table = np.zeros((len(slots.WORDS), 3))
    np.add.at(table, (words, targets), 1)
    wrong = 1 - table.max(axis=1).sum() / table.sum()
    assert abs(wrong - work.baselines(0, 0)["word_alone"]) < 0.003
    shares = np.bincount(targets) / targets.size
    np.testing.assert_allclose(work.chance(), -12 * (shares * np.log(shares)).sum(), rtol=0.002, atol=0)


def test_mistakes_of_slots():
    with pytest.raises(UserMistake, match=r"task\.length: expected an integer of at least 8, .* got 7"):
        task("slots", length=7)
    with pytest.raises(UserMistake, match=r"task\.gap: expected an integer of at least 0"):
        task("slots", gap=-1)


# --- characters -----------------------------------------------------------------------------------------


@pytest.fixture
def text(tmp_path):
    def write(content, **table):
        path = tmp_path / "text.txt"
        path.write_text(content, encoding="utf-8")
        return task("characters", file=str(path), **table)

    return write


def test_the_next_character_is_the_class(text):
    work = text("abcd" * 30, length=6, held_out=0.25)
    e = work.examples("training", 3, 0, 0, 40)
    assert (work.features, work.n_outputs) == (4, 4)
    np.testing.assert_array_equal((e.inputs.argmax(axis=1) + 1) % 4, e.targets)
    np.testing.assert_allclose(e.weight.sum(axis=0), 1.0, rtol=1e-15, atol=0)


def test_the_held_out_end_is_not_trained_on(text):
    work = text("ab" * 90 + "xy" * 10, length=5, held_out=0.1)
    for number in range(20):
        trained = work.examples("training", number, 0, 0, 50)
        judged = work.examples("evaluation", number, 0, 0, 50)
        assert max(trained.inputs.argmax(axis=1).max(), trained.targets.max()) == 1
        assert min(judged.inputs.argmax(axis=1).min(), judged.targets.min()) == 2


def test_evaluation_goes_through_all_places_before_it_returns_to_one(text):
    alphabet = "".join(chr(33 + i) for i in range(60))
    work = text("!" * 540 + alphabet, length=10, held_out=0.1)
    pieces = [work.examples("evaluation", i, 0, 0, samples) for i, samples in enumerate((CHUNK, CHUNK, 50))]
    places = np.concatenate([piece.inputs[0].argmax(axis=0) for piece in pieces])
    for first in range(0, len(places), 50):
        assert sorted(places[first : first + 50]) == list(range(50))


def test_bits_of_unigrams_and_bigrams(text):
    """After a comes b, after b c or d: counted by hand, each count one more than seen."""
    work = text("abab" * 5 + "abab", length=2, held_out=4 / 24)
    bits = work.baselines(0, 0)
    np.testing.assert_allclose(bits["unigram"], 1.0, rtol=1e-15, atol=0)
    after_a, after_b = 11 / 12, 10 / 11
    np.testing.assert_allclose(
        bits["bigram"], -(2 * np.log2(after_a) + np.log2(after_b)) / 3, rtol=1e-14, atol=0
    )
    entropy = -sum(share * math.log(share) for share in (9 / 19, 10 / 19))  # of all but the first of twenty
    np.testing.assert_allclose(work.chance(), entropy, rtol=1e-14, atol=0)


def test_the_metric_is_in_bits(text):
    work = text("abcd" * 30, length=6, held_out=0.25)
    e = work.examples("evaluation", 0, 0, 0, 5)
    total, count = work.metric_of(np.zeros((6, 2, 4, 5)), e)
    assert count == 30
    np.testing.assert_allclose(total / count, 2.0, rtol=1e-14, atol=0)


def test_texts_of_which_nothing_can_be_learnt(text, tmp_path):
    with pytest.raises(UserMistake, match=r"expected a text of at least 2 different characters, got 50"):
        text("a" * 50)
    with pytest.raises(UserMistake, match=r"got an empty file"):
        text("")
    with pytest.raises(UserMistake, match=r"length: expected at most 8: the parts have 91 and 9 characters"):
        text("ab" * 50, length=9, held_out=0.085)
    with pytest.raises(UserMistake, match=r"task\.held_out: expected a finite number above 0 and below 1"):
        text("ab" * 50, held_out=1.0)
    with pytest.raises(UserMistake, match=r"task\.file: expected a readable text file, got .*No such file"):
        task("characters", file=str(tmp_path / "none"))
    with pytest.raises(UserMistake, match=r"task\.file: expected a readable text file, got .*unreadable"):
        task("characters", file="a\0b")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserMistake, match=r"task\.file: expected a readable text file, got .*not UTF-8"):
        task("characters", file=str(tmp_path / "binary"))


def test_content_counts_and_not_the_path(text, tmp_path):
    work = text("abcd" * 200)
    (tmp_path / "copy").write_text("abcd" * 200, encoding="utf-8")
    assert task("characters", file=str(tmp_path / "copy")).identity() == work.identity()
    other = text("abce" * 200)
    assert other.identity() != work.identity()
    with pytest.raises(UserMistake, match=r"as it was when the spec was read, got another text"):
        work.examples("training", 0, 0, 0)


# --- digits ---------------------------------------------------------------------------------------------


def test_digits_come_pixel_by_pixel():
    from sklearn.datasets import load_digits as load

    work = task("digits", batch=50)
    known = {tuple(image / 16): i for i, image in enumerate(load().data)}
    for role, places in (("training", range(1437)), ("evaluation", range(1437, 1797))):
        e = work.examples(role, 2, 0, 0, 50)
        for b in range(50):
            which = known[tuple(e.inputs[:, 0, b])]
            assert which in places
            assert e.targets[-1, b] == load().target[which]
    chunks = [min(CHUNK, 360 - first) for first in range(0, 360, CHUNK)]
    whole = [work.examples("evaluation", i, 0, 0, size).inputs for i, size in enumerate(chunks)]
    assert len(np.unique(np.concatenate(whole, axis=2)[:, 0], axis=1).T) == 360
    assert abs(work.chance() - math.log(10)) < 0.01


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch):
    """Whoever has it sees what others see."""
    found = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return found(name, *args, **kwargs)

    digits.images.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserMistake, match=r"expected scikit-learn.* no such package\. .*gradlab\[digits\]"):
        task("digits")


# --- waveform -------------------------------------------------------------------------------------------


def test_there_is_one_wave_for_each_replicate():
    work = task("waveform", length=200, batch=3, drive=0.5)
    e = work.examples("training", 0, 0, 0)
    np.testing.assert_array_equal(e.inputs, 0.5)
    wave = e.targets[:, 0, 0]
    np.testing.assert_array_equal(e.targets[:, 0].T, [wave] * 3)
    np.testing.assert_allclose([wave.mean(), wave.var()], [0, 1], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(work.examples("evaluation", 4, 0, 0).targets, e.targets)
    other = work.examples("training", 0, 0, 1).targets[:, 0, 0]
    assert abs(np.corrcoef(wave, other)[0, 1]) < 0.9


def test_a_wave_is_the_sum_of_its_periods():
    wave = task("waveform", length=240, periods=[60.0, 12.0]).examples("training", 0, 0, 0).targets[:, 0, 0]
    power = np.abs(np.fft.rfft(wave)) ** 2
    assert np.flatnonzero(power > 1e-12 * power.max()).tolist() == [4, 20]
    np.testing.assert_allclose(power[4] / power[20], 5.0, rtol=1e-9, atol=0)  # amplitudes as roots of periods


def test_the_drive_does_not_change_the_wave():
    one, other = (task("waveform", drive=d).examples("training", 0, 0, 0) for d in (0.0, 1.0))
    np.testing.assert_array_equal(one.targets, other.targets)


def test_mistakes_of_waves():
    with pytest.raises(UserMistake, match=r"task\.periods: expected at least one period, got \[\]"):
        task("waveform", periods=[])
    with pytest.raises(
        UserMistake, match=r"task\.periods: expected a finite number above 2 and .*, got 1\.5"
    ):
        task("waveform", periods=[30, 1.5])
    with pytest.raises(
        UserMistake, match=r"of at most 1000000000, got 1e\+300\. .* nor an endless one from none"
    ):
        task("waveform", periods=[1e300])
    assert np.isfinite(task("waveform", periods=[1e9], length=3).examples("training", 0, 0, 0).targets).all()
    with pytest.raises(UserMistake, match=r"task\.length: expected an integer of at least 3"):
        task("waveform", length=2)


# --- series ---------------------------------------------------------------------------------------------


@pytest.fixture
def counted(tmp_path):
    """A series of 0, 1, ... 99: readings tell their own places."""
    path = tmp_path / "r.csv"
    path.write_text("d\n" + "\n".join(str(float(i)) for i in range(100)), encoding="utf-8")
    table = {"file": str(path), "column": "d", "standardise": False}
    return lambda **more: task("series", **{**table, **more})


@pytest.mark.parametrize("at", ["final", "every", (3, -1)])
def test_what_is_asked_for_in_evaluation_is_held_out(counted, at):
    work = counted(length=10, features=3, held_out=0.2, at=at)
    looks = list(work.looks())
    trained = work.examples("training", 0, 0, 0, 2000)
    assert trained.inputs.min() == 0
    assert trained.targets.max() == 79
    judged = work.examples("evaluation", 0, 0, 0, 2000)
    asked = judged.targets[looks]
    assert (asked.min(), asked.max()) == (80, 99)
    for e in (trained, judged):
        np.testing.assert_array_equal(e.targets[:, 0], e.inputs[:, -1] + 1)
        np.testing.assert_array_equal(np.diff(e.inputs, axis=1), 1.0)
        np.testing.assert_array_equal(np.diff(e.inputs, axis=0), 1.0)


def test_the_last_value_is_off_by_one_step(counted):
    work = counted(length=10, features=3, at="every")
    assert work.baselines(0, 0) == {"last_value": 1.0}
    final = counted(length=10, features=3)
    # Sequences of training end anywhere from the tenth window, whose target is 12, to the last before 80.
    np.testing.assert_allclose(final.chance(), np.var(np.arange(12, 80)), rtol=1e-14, atol=0)


def test_chance_is_the_loss_in_training_of_who_says_the_mean(counted):
    work = counted(length=10, features=3, at="every", batch=4000)
    targets = work.examples("training", 0, 0, 0).targets[:, 0]
    said = ((targets - targets.mean()) ** 2).mean() * len(work.looks())
    np.testing.assert_allclose(work.chance(), said, rtol=0.03, atol=0)


@pytest.mark.parametrize("held_out", [0.98, 0.99])
def test_a_record_that_is_all_held_out_is_told_as_such(counted, held_out):
    work = counted(length=10, features=3, held_out=held_out, standardise=True)
    with pytest.raises(UserMistake, match="held_out: expected a sequence in each part"):
        work.check_training()


def test_trained_networks_see_readings_standardised_by_what_they_may_know(counted):
    work = counted(length=10, features=2, standardise=True, held_out=0.2)
    e = work.examples("training", 0, 0, 0, 2000)
    spread = np.arange(80).std()
    np.testing.assert_allclose(e.inputs.min(), -39.5 / spread, rtol=1e-14, atol=0)
    np.testing.assert_allclose(e.targets.max(), 39.5 / spread, rtol=1e-14, atol=0)


def test_the_ordinary_share_held_out_leaves_keys_and_probes_as_they_were(counted):
    work, other = counted(length=10), counted(length=10, held_out=0.3)
    assert "held_out" not in work.identity()
    assert other.identity()["held_out"] == 0.3
    assert work.input_identity() == other.input_identity()
    np.testing.assert_array_equal(work.inputs(0, 10, 0, 0), other.inputs(0, 10, 0, 0))


def test_a_series_too_short_for_two_parts(counted):
    work = counted(length=30, at="every")  # good enough for a probe
    with pytest.raises(UserMistake, match=r"held_out: expected a sequence in each part, got too few .* held"):
        work.check_training()
    with pytest.raises(UserMistake, match=r"got too few readings before what is held out, 20 of 100"):
        counted(length=20, held_out=0.8).check_training()
    assert math.isnan(work.chance())
    assert work.baselines(0, 0) == {}


def test_a_mark_of_the_byte_order_is_no_character(tmp_path):
    words = "abcab cabba " * 20
    plain, marked = tmp_path / "plain.txt", tmp_path / "marked.txt"
    plain.write_text(words, encoding="utf-8")
    marked.write_text(words, encoding="utf-8-sig")
    one, other = (task("characters", file=str(path), length=5) for path in (plain, marked))
    assert one.sizes() == other.sizes() == (4, 4)
    assert one.digest == other.digest


def test_chance_of_characters_is_the_entropy_of_what_is_trained_on(tmp_path):
    (tmp_path / "text").write_text("aaab" * 30)
    work = task("characters", file=str(tmp_path / "text"), length=5, held_out=0.1)
    shares = np.unique(list("aaab" * 27)[1:], return_counts=True)[1] / 107
    np.testing.assert_allclose(work.chance(), -(shares * np.log(shares)).sum(), rtol=1e-14, atol=0)
