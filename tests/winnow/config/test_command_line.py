from pathlib import Path

import pytest

from tests.experiments import ROOT
from winnow.config.command_line import load_experiment
from winnow.config.positions import PositionPolicy
from winnow.errors import UserError


def load(*arguments: str):
    return load_experiment("python -m harvest", list(arguments))


def refusal(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def toml(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "a.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_configuration_is_valid(path: Path):
    assert load("--config", str(path)).run.startswith("runs/")


def test_command_line_overrides_single_keys_and_leaves_the_rest(toml):
    path = toml('run = "r"\n[text]\ncontext = 64\ntokens = 1000\n')
    config = load("--config", path, "--text.tokens", "2000", "--harvest.positions.skip_first", "3")
    assert (config.text.context, config.text.tokens) == (64, 2000)
    assert config.harvest.positions == PositionPolicy(skip_first=3)


def test_one_value_may_stand_for_a_list(toml):
    path = toml('run = "r"\n[[train.dictionaries]]\narchitecture = "topk"\nn_latents = 64\nk = 8\n')
    grid = load("--config", path).train.dictionaries[0]
    assert (grid.n_latents, grid.k, grid.seed) == ([64], [8], [0])


def test_the_environment_is_no_source(toml, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RUN", "elsewhere")
    monkeypatch.setenv("SEED", "7")
    config = load("--config", toml('run = "r"'))
    assert (config.run, config.seed) == ("r", 0)


def test_missing_file_names_the_ones_that_exist(toml):
    path = toml('run = "r"')
    absent = str(Path(path).with_name("b.toml"))
    assert refusal("--config", absent) == f"{absent}: no such configuration file; there are {path}"


def test_no_file_at_all():
    assert refusal("--seed", "1") == ("which experiment? give --config FILE, for instance --config configs/demo.toml")


def test_unknown_key_names_the_nearest(toml):
    path = toml('run = "r"\n[text]\ncontex = 64\n')
    assert refusal("--config", path) == f"{path}: text.contex: unknown key; did you mean context?"


def test_unknown_key_in_a_grid(toml):
    path = toml('run = "r"\n[[train.dictionaries]]\narchitecture = "topk"\nn_latent = 64\nk = 8\n')
    assert "train.dictionaries.0.n_latent: unknown key; did you mean n_latents?" in refusal("--config", path)


def test_unknown_option(toml):
    path = toml('run = "r"')
    assert refusal("--config", path, "--text.tokns", "5") == (
        "error parsing CLI: unrecognized arguments: --text.tokns 5; --help lists every key"
    )


def test_wrong_type(toml):
    path = toml('run = "r"\n[text]\ntokens = "many"\n')
    assert refusal("--config", path) == f"{path}: text.tokens: Input should be a valid integer, found 'many'"


def test_broken_toml(toml):
    path = toml("run = \n")
    assert refusal("--config", path).startswith(f"{path}: not valid TOML: Invalid value (at line 1")


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ('architecture = "topk"\nn_latents = 64', "topk needs k"),
        (
            'architecture = "relu"\nn_latents = 64\nl1_coefficient = 1.0\nk = 8',
            "k has no meaning for relu; remove it",
        ),
        ('architecture = "topk"\nn_latents = 4\nk = 8', "k = 8 is more than n_latents = 4"),
        (
            'architecture = "topk"\nn_latents = [64, 64]\nk = 8',
            "list at least one value, each once",
        ),
    ],
)
def test_impossible_grids(toml, grid: str, message: str):
    assert message in refusal("--config", toml(f'run = "r"\n[[train.dictionaries]]\n{grid}\n'))


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ("{ evenly = 2, random = 2 }", "harvest.positions: choose evenly or random, not both"),
        (
            "{ skip_first = 30, evenly = 6 }",
            "harvest.positions: 6 of 2 positions are asked for (text.context = 32, skip_first = 30); "
            "skip or keep fewer",
        ),
        ("{ skip_frst = 3 }", "harvest.positions.skip_frst: unknown key; did you mean skip_first?"),
    ],
)
def test_impossible_positions(toml, positions: str, message: str):
    path = toml(f'run = "r"\n[text]\ncontext = 32\n[harvest]\npositions = {positions}\n')
    assert refusal("--config", path) == f"{path}: {message}"


def test_help_lists_every_key_with_its_default(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        load("--help")
    assert left.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for section in ("model", "text", "harvest", "train", "analyze"):
        assert f"--{section}." in shown
    assert "--harvest.rows_per_shard int activation rows per shard file, at most (default: 262144)" in shown


def test_a_list_option_takes_the_words_that_follow_it(toml):
    path = toml('run = "r"\n')

    def runs(*arguments: str) -> list[str]:
        return vars(load_experiment("analyze", ["--config", path, *arguments], lists={"runs": "others"}))["runs"]

    assert runs("--runs", "runs/a", "runs/b, c", "--seed", "1") == ["runs/a", "runs/b, c"]
    assert runs("--seed", "1", "--runs", "a") == ["a"]
    assert runs() == []
    with pytest.raises(UserError, match=r"^--runs: expected at least one value after it$"):
        runs("--runs", "--seed", "1")
