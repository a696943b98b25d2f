"""``gradlab sweep``: from flags to a spec."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from command import Cli

from gradlab.api import load_spec, open_archive

SMALL = ("--hidden", 4, "--batch", 2, "--length", 5)


def printed(cli: Cli, *arguments: object) -> dict:
    result = cli("sweep", *arguments, "--print-spec")
    assert result.exit_code == 0, result.stderr
    assert not Path("results").exists()
    return tomllib.loads(result.stdout)


def test_lists_and_ranges_are_axes_and_single_values_are_not(cli: Cli) -> None:
    spec = printed(
        cli, "--cell", "lstm", "--radius", "0.5:1.5:21", "--activation", "tanh,relu", "--length", "50,200",
        "--clip", "off,norm:1", "--replicates", 8, "--hidden", 16, "--seed", 3, "--title", "T",
    )  # fmt: skip
    assert spec["sweep"] == {
        "network.spectrum.radius": {"start": 0.5, "stop": 1.5, "num": 21},
        "network.activation": ["tanh", "relu"],
        "task.length": [50, 200],
        "clip": ["off", {"name": "norm", "threshold": 1}],
    }
    assert spec["network"] == {"cell": "lstm", "hidden": 16}
    assert (spec["replicates"], spec["seed"], spec["title"]) == (8, 3, "T")


@pytest.mark.parametrize(
    ("arguments", "section", "expected"),
    [
        (["--radius", "0.9"], "network", {"spectrum": {"name": "ginibre", "radius": 0.9}}),
        (["--norm", "2"], "network", {"spectrum": {"name": "ginibre", "norm": 2}}),
        (["--spectrum", "orthogonal"], "network", {"spectrum": {"name": "orthogonal", "radius": 1.0}}),
        (["--spectrum", "delay_line"], "network", {"spectrum": {"name": "delay_line", "norm": 1.0}}),
        (["--spectrum", "sparse:3", "--norm", "2"], "network", {
            "spectrum": {"name": "sparse", "connections": 3, "norm": 2}}),
        (["--cell", "lstm", "--forget-bias", "1"], "network", {"cell": {"name": "lstm", "forget_bias": 1}}),
        (["--cell", "lstm:chrono=true"], "network", {"cell": {"name": "lstm", "chrono": True}}),
        (["--activation", "leaky_relu:0.2"], "network", {"activation": {"name": "leaky_relu", "slope": 0.2}}),
        (["--dtype", "float32"], "network", {"dtype": "float32"}),
        (["--task", "constant:0.5", "--loss", "unit"], "task", {
            "name": "constant", "value": 0.5, "loss": "unit"}),
        (["--at", "0+-1"], "task", {"name": "noise", "at": [0, -1]}),
        (["--at", "every,final,3"], "sweep", {"task.at": ["every", "final", [3]]}),
        (["--clip", "value:threshold=0.1"], "clip", {"name": "value", "threshold": 0.1}),
        (["--learner", "bptt"], "learner", {"name": "bptt"}),
        (["--radius", "0.1:10:3:log"], "sweep", {
            "network.spectrum.radius": {"start": 0.1, "stop": 10, "num": 3, "logspace": True}}),
        (["--spectrum", "ginibre,delay_line", "--norm", "2"], "sweep", {
            "network.spectrum": [{"name": "ginibre", "norm": 2}, {"name": "delay_line", "norm": 2}]}),
        (["--spectrum", "ginibre,orthogonal", "--radius", "1,2"], "sweep", {
            "network.spectrum": ["ginibre", "orthogonal"], "network.spectrum.radius": [1, 2]}),
        (["--task", "noise,zeros", "--length", "7"], "sweep", {
            "task": [{"name": "noise", "length": 7}, {"name": "zeros", "length": 7}]}),
        (["--radius", "1,2", "--where", "radius < 2"], "sweep", {
            "network.spectrum.radius": [1, 2], "where": "radius < 2"}),
        (["--set", "network.bias.value=0.5"], "network", {"bias": {"name": "constant", "value": 0.5}}),
        (["--radius", "1,2", "--set", "network.spectrum.radius=[4, 5]"], "sweep", {
            "network.spectrum.radius": [4, 5]}),
    ],
)  # fmt: skip
def test_flags_become_the_settings_they_name(
    cli: Cli, arguments: list[str], section: str, expected: dict
) -> None:
    table = printed(cli, *arguments)[section]
    assert (table[0] if isinstance(table, list) else table) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--activation", "tnah"],
         "--activation: expected the name of a known activation, got 'tnah'. Did you mean 'tanh'?"),
        (["--hidden", "x"], "--hidden: expected numbers such as 0.5,1.0 or a range START:STOP:NUM"),
        (["--hidden", "4.5"], "--hidden: expected an integer of at least 1, got 4.5"),
        (["--radius", "0.5:1.5"], "--radius: expected numbers such as"),
        (["--radius", "1:2:3:4"], "A logarithmic range is START:STOP:NUM:log."),
        (["--radius", "1,,2"], "--radius: expected numbers such as"),
        (["--radius", "1,1"], "--radius"),
        (["--radius", "nan"], "--radius: expected a finite number, got nan"),
        (["--radius", "-1"], "--radius: expected a finite number of at least 0, got -1"),
        (["--radius", "1", "--norm", "2"],
         "--norm: expected one of --radius, --norm and --gain, got --radius and --norm"),
        (["--length", "0,5"], "--length: expected an integer of at least 1, got 0"),
        (["--clip", "norm:0"], "--clip.threshold: expected a finite number above 0, got 0"),
        (["--clip", "norm"], "--clip.threshold: expected a value, got nothing"),
        (["--clip", "off:1"], "--clip: expected no settings, got '1'"),
        (["--clip", "norm:treshold=1"], "--clip.treshold: expected a setting of 'norm'"),
        (["--clip", ""], "--clip: expected names separated by commas"),
        (["--forget-bias", "1"], "--forget-bias: expected a setting of 'elman'"),
        (["--spectrum", "delay_line", "--radius", "1"], "--radius: expected 'delay_line' to be scaled"),
        (["--at", "last"], '--at: expected "final", "every" or time steps such as 10 or 10+20, got \'last\''),
        (["--at", "100"], "--at: expected"),
        (["--dtype", "float16"], "--dtype: expected"),
        (["--record", "growth"], "--record: expected names of records, got 'growth'. Did you mean"),
        (["--learner", "bppt"], "--learner: expected the name of a known learner, got 'bppt'"),
        (["--learner", "bptt:3"], "--learner: expected no settings, got '3'"),
        (["--where", "radius < 2"], "where"),
        (["--task", "series:file=none.csv:column=x"], "--task.file: expected a readable CSV file"),
        (["--spectrum", "file:path=none.npy"], "--spectrum.path"),
    ],
)  # fmt: skip
def test_wrong_flags_are_named_as_the_user_wrote_them(cli: Cli, arguments: list[str], message: str) -> None:
    result = cli("sweep", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert all(line.startswith("Error: ") for line in result.stderr.splitlines())
    assert not Path("results").exists()


def test_layers_and_both_directions(cli: Cli) -> None:
    spec = printed(cli, "--layers", "1,2,3", "--bidirectional")
    assert spec["network"] == {"bidirectional": True}
    assert spec["sweep"] == {"network.layers": [1, 2, 3]}
    assert "bidirectional" not in printed(cli, "--layers", "2")["network"]
    assert "--layers: expected an integer of at least 1" in cli("sweep", "--layers", "0").stderr


def test_problems_of_several_flags_are_told_at_once(cli: Cli) -> None:
    result = cli("sweep", "--hidden", "x", "--clip", "nrom:1", "--norm", 1, "--gain", 1)
    assert [line.split(":")[1] for line in result.stderr.splitlines()] == [" --hidden", " --clip", " --gain"]


def wrong_flags(result: object) -> list[str]:
    """Return the flags that the messages of a command name, in order."""
    assert result.exit_code == 2  # type: ignore[attr-defined]
    return [line.split(":")[1].strip() for line in result.stderr.splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (["--activation", "tahn", "--radius", "-1"], ["--activation", "--radius"]),
        (["--batch", "x", "--hidden", "0", "--seed", "-1"], ["--batch", "--hidden", "--seed"]),
        (["--task", "nosie", "--length", "-1"], ["--task", "--length"]),
        (["--record", "growth_rate,,loss", "--hidden", "0"], ["--record", "--hidden"]),
        (["--memory", "lots", "--record", "growth"], ["--memory", "--record"]),
        (["--radius", "1", "--norm", "1", "--hidden", "0"], ["--norm", "--hidden"]),
        (["--clip", "nrom", "--set", "network.nope=3"], ["--clip", "network.nope"]),
        (["--batch", "0", "--set", "task.length=0"], ["--batch", "task.length"]),
    ],
)  # fmt: skip
def test_unreadable_flags_and_wrong_values_are_told_together(
    cli: Cli, arguments: list[str], flags: list[str]
) -> None:
    result = cli("sweep", *arguments)
    found = wrong_flags(result)
    assert sorted(found) == sorted(flags), result.stderr
    assert not Path("results").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cell", "lsmt", "--forget-bias", "1"],  # the default cell has no such bias
        ["--cell", "lsmt", "--set", "network.cell.forget_bias=1"],
        ["--cell", "lsmt,elman", "--where", "cell == 'elman'"],
        ["--activation", "tahn", "--set", "network.activation=relu"],
        ["--spectrum", "ortogonal", "--radius", "1"],
        ["--radius", "x", "--spectrum", "orthogonal", "--norm", "1"],
    ],
)
def test_what_an_unreadable_flag_may_have_meant_is_not_held_against_the_others(
    cli: Cli, arguments: list[str]
) -> None:
    assert wrong_flags(cli("sweep", *arguments)) == [arguments[0]]


def test_a_sweep_runs_and_keeps_the_spec_it_ran_beside_the_data(cli: Cli) -> None:
    arguments = (*SMALL, "--radius", "0.5,2", "--clip", "off,norm:1", "--replicates", 2, "--no-figures")
    result = cli("sweep", *arguments, "--workers", 1, "--json")
    assert result.exit_code == 0, result.stderr
    out = Path(json.loads(result.stdout)["archive"])
    assert out.parent == Path("results")
    assert out.name.startswith("sweep-")
    assert dict(open_archive(out).sizes) == {"radius": 2, "clip": 2, "replicate": 2, "lag": 5}
    assert (out / "spec.toml").read_text().startswith("# gradlab sweep --hidden 4 ")
    assert load_spec(out / "spec.toml").to_dict() == load_spec(out / "spec.resolved.toml").to_dict()

    again = cli("sweep", *arguments, "--workers", 1, "--json", "--title", "now with a title")
    assert json.loads(again.stdout)["archive"] == str(out)
    assert json.loads(again.stdout)["kept"] == 8
    other = cli("sweep", *arguments, "--workers", 1, "--json", "--seed", 1)
    assert json.loads(other.stdout)["archive"] != str(out)


def test_a_newline_in_a_flag_cannot_leave_the_comment_of_the_spec(cli: Cli) -> None:
    spec = printed(cli, *SMALL, "--title", "a\nseed = 7")
    assert spec["title"] == "a\nseed = 7"
    assert "seed" not in spec
