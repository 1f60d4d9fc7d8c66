"""What a wrong run file is told."""

from pathlib import Path
from typing import Any

import pytest

from schemas.config import load_config, parse_config
from schemas.errors import UserError


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"promt": {"template": "x"}}, "promt: no such section; did you mean prompt?"),
        ({"prompt": {"temprature": 1}}, "prompt.temprature: no such setting; did you mean temperature?"),
        (
            {"propose": {"kind": "sample", "m": 2, "nn": 3}},
            "propose.sample.nn: no such setting; did you mean n?",
        ),
        ({"zzz": 1}, "zzz: no such setting"),
        (
            {"annotate": [{"kind": "judge", "prompts": "judge2.txt"}]},
            'annotate.judge.prompts: expected a list: ["judge2.txt"]',
        ),
        ({"judge": {"prompts": "judge2.txt"}}, 'annotate.judge.prompts: expected a list: ["judge2.txt"]'),
        ({"judge": 3}, "annotate"),
        (
            {"annotate": [{"kind": "judge", "vote": 3}]},
            "annotate.judge.vote: no such setting; did you mean votes?",
        ),
        ({"propose": {"n": 6}}, 'propose: needs a `kind`, such as kind = "sample" or "omegaprm"'),
        ({"name": "a b"}, "name: 'a b': letters, digits and . _ - only"),
        ({"fusion": {"accept": 2}}, "fusion.accept: Input should be less than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_told_what_would_help(data: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        parse_config({"name": "r", **data}, "mine.toml")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_before_a_run_file_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "r"\n')
    assert load_config(path).name == "r"
