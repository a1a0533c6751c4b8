from pathlib import Path

import pandas as pd
import pytest
from calling import call
from plans import PROPOSAL, SCHEDULE

import mixopt
from mixopt.errors import ExportError
from mixopt.exporters.check import check_config
from mixopt.exporters.given_ratios import as_plan, read_given_plan

CASES = Path(__file__).parents[3] / "shared" / "cases"
RATIOS = {"web": 0.7, "code": 0.2, "math": 0.1}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"web": 0.7, "code": 0.2, "math": 0.1}'),
        ("a.json", '{"web": "0.7", "code": 0.2, "math": 0.1}'),
        ("a.json", '{"web": 70, "code": 20, "math": 10}'),
        ("a.json", '{"web": 7e9, "code": 2e9, "math": 1000000000}'),
        ("a.json", '{"seed": 3, "mixture": {"web": 0.7, "code": 0.2, "math": 0.1}}'),
        ("a.json", '{"data": {"ratios": {"web": 0.7, "code": 0.2, "math": 0.1}}}'),
        ("a.json", '[{"domain": "web", "weight": 0.7}, {"domain": "code", "weight": 0.2},'
                   ' {"domain": "math", "weight": 0.1}]'),
        ("a.yaml", "web: 0.7\ncode: 0.2\nmath: 0.1\n"),
        ("a.yml", "train_weights:\n  web: 7\n  code: 2\n  math: 1\n"),
        ("a.yaml", "sources:\n- {name: web, ratio: 0.7}\n- {name: code, ratio: 0.2}\n"
                   "- {name: math, ratio: 0.1}\n"),
        ("a.csv", "domain,ratio\nweb,0.7\ncode,0.2\nmath,0.1\n"),
        ("a.csv", "web,0.7\ncode,0.2\nmath,0.1\n"),
        ("a.csv", "domain;share\nweb;0,7\ncode;0,2\nmath;0,1\n"),
        ("a.csv", "source,files,tokens\nweb,3,7e9\ncode,1,2e9\nmath,9,1e9\n"),
        ("a.csv", "run,web,code,math\nbest,0.7,0.2,0.1\n"),
        ("a.tsv", "web\tcode\tmath\n0.7\t0.2\t0.1\n"),
        ("a.yaml", "web: 70%\ncode: 20 %\nmath: 0.1\n"),
        ("a.csv", "domain;share\nweb;70,0 %\ncode;20,0 %\nmath;10,0 %\n"),
        ("a.csv", 'source,tokens\nweb,"7,000,000"\ncode,"2,000,000"\nmath,"1,000,000"\n'),
        ("a.csv", "\ufeffdomain,ratio\nweb,0.70001\ncode,0.2\nmath,0.1\n"),
        ("a.csv", ",0\nweb,0.7\ncode,0.2\nmath,0.1\n"),
        ("a.csv", "# of June, all data\ndomain,ratio\nweb,0.7\ncode,0.2\nmath,0.1\n"),
        ("a.csv", "# domain,ratio\nweb,0.7\ncode,0.2\nmath,0.1\n"),
        ("a.csv", "domain,ratio\rweb,0.7\rcode,0.2\rmath,0.1\r"),
    ],
)  # fmt: skip
def test_ratios_in_any_plain_form(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    found = read_given_plan(tmp_path / name).ratios
    assert list(found) == list(RATIOS)
    assert all(found[domain] == pytest.approx(ratio, abs=1e-4) for domain, ratio in RATIOS.items())


@pytest.mark.parametrize(("name", "content", "wanted"), [
    ("a.tsv", "web\t0,5\ncode\t0,375\nmath\t0,125\n", (0.5, 0.375, 0.125)),
    ("a.yaml", "web: 62,5%\ncode: 12,125%\nmath: 25,375%\n", (0.625, 0.12125, 0.25375)),
    ("a.yaml", "web: 62,5\ncode: 12,125\nmath: 25,375\n", (0.625, 0.12125, 0.25375)),
    ("a.tsv", "web\t50\ncode\t12,125\nmath\t37,875\n", (0.5, 0.12125, 0.37875)),
    ("a.tsv", "web\t2,500\ncode\t1,500\nmath\t1,000\n", (0.5, 0.3, 0.2)),
    ("a.yaml", "web: '1,000,000'\ncode: '60,000'\nmath: '40,000'\n", (1 / 1.1, 0.6 / 11, 0.4 / 11)),
    ("a.csv", "domain;tokens\nweb;6,000,000\ncode;3,000,000\nmath;1,000,000\n", (0.6, 0.3, 0.1)),
])  # fmt: skip
def test_a_comma_stands_for_decimals_where_the_file_proves_it(tmp_path, name, content, wanted):
    (tmp_path / name).write_text(content)
    assert list(read_given_plan(tmp_path / name).ratios.values()) == pytest.approx(wanted)


def test_a_comma_in_a_name_stays(tmp_path):
    (tmp_path / "a.csv").write_text("domain;share\nweb, old;0,7\ncode;0,3\n")
    assert list(read_given_plan(tmp_path / "a.csv").ratios) == ["web, old", "code"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", '{"web": 0.2, "code": 0.2}', "sum to 0.4, not to 1"),
        ("a.json", '{"web": 1.2, "code": -0.2}', "negative"),
        (
            "a.json",
            '{"web": 0.7, "code": "x"}',
            "a.json: the ratio of 'code' is 'x', not a number; fix",
        ),
        ("a.yaml", "web: yes\ncode: 0.5\n", "the ratio of 'web' is 'yes', not a number"),
        ("a.json", "[0.7, 0.3]", "holds no ratios of domains"),
        ("a.json", '{"web": 0.7', "cannot be read"),
        ("a.yaml", "web: [1\n", "cannot be read"),
        ("a.csv", "run,web,code\na,0.7,0.3\nb,0.5,0.5\n", "holds no ratios of domains"),
        ("a.csv", "domain,ratio\nweb,0.7\nweb,0.3\n", "holds no ratios of domains"),
        ("a.csv", "", "holds no ratios of domains"),
        ("a.csv", "web,0.7\n,0.3\n", "a ratio has no domain; name it"),
        ("a.yaml", "web: 0.7\nnull: 0.3\n", "a ratio has no domain; name it"),
        ("a.json", '{"run": 3, "web": 5e9, "code": 5e9}', "'run' is called as the id"),
        ("a.json", '{"id": 0.4, "loss": 2.1, "en": 0.3}', "'id' is called as the id"),
    ],
)
def test_what_holds_no_ratios_is_told_in_one_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(ExportError, match=words) as caught:
        read_given_plan(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(name) == 1


def test_what_mixopt_wrote_is_read_as_before(tmp_path):
    PROPOSAL.write(tmp_path / "proposal.json")
    assert read_given_plan(tmp_path / "proposal.json") == PROPOSAL
    SCHEDULE.write(tmp_path / "schedule.json")
    assert read_given_plan(tmp_path / "schedule.json") == SCHEDULE
    mixopt.export(PROPOSAL, "json", out=tmp_path / "exported.json")
    found = read_given_plan(tmp_path / "exported.json").ratios
    assert found["web"] == pytest.approx(2 / 3, abs=1e-8)
    with pytest.raises(ExportError, match="does not exist"):
        read_given_plan(tmp_path / "nowhere.json")
    (tmp_path / "damaged.json").write_text('{"ratios": {"web": 1.0}, "predicted": 3}')
    with pytest.raises(ExportError, match="is not a proposal that mixopt wrote"):
        read_given_plan(tmp_path / "damaged.json")


@pytest.mark.parametrize("plan", [RATIOS, mixopt.Mixture(RATIOS), pd.Series(RATIOS)])
def test_ratios_from_python(plan):
    text = mixopt.export(plan, "megatron", paths="/d/{domain}")
    assert text == "0.7 /d/web 0.2 /d/code 0.1 /d/math\n"
    (part,) = check_config(plan, "megatron", text, paths="/d/{domain}")
    assert part.largest < 1e-9
    assert "proposed by mixopt" not in mixopt.export(plan, "gpt-neox", paths="/d/{domain}")
    with pytest.raises(ExportError, match="give a Proposal, a Schedule or ratios by domain"):
        as_plan([0.7, 0.3])


@pytest.mark.skipif(not CASES.is_dir(), reason="the inputs of users in ../shared/cases are missing")
def test_ratios_of_others_from_the_shell(tmp_path):
    given = (CASES / "plain-ratios-export" / "ratios.json", "-f", "megatron")
    paths = ("-p", "web=/d/web_00,/d/web_01", "-p", "code=/d/code", "-p", "math=/d/math")
    printed = call("export", *given, *paths)
    assert printed == "0.35 /d/web_00 0.35 /d/web_01 0.2 /d/code 0.1 /d/math\n"
    out = tmp_path / "blend.txt"
    assert "Written" in call("export", *given, *paths, "-o", out)
    checked = call("export", *given, *paths, "--check", CASES / "many-shards" / "blend.txt")
    assert "web              60.0000%  proposed  70.0000%" in checked
    checked = call(
        "export", *given, *paths, "--check", CASES / "many-shards" / "blend3.txt", code=2
    )
    assert "states no weights" in checked
    levanter = (*given[:2], "levanter", "--check", CASES / "validation-only-source" / "lv.yaml")
    assert "paloma: weight 0 and no domain" in call("export", *levanter)


@pytest.mark.parametrize(
    ("name", "content", "left_out"),
    [
        ("a.csv", "run,web,code\n3,.5,.5\n", "run"),
        ("a.csv", "index,web,code,loss\n17,.5,.5,2.31\n", "index, loss"),
        ("a.json", '{"run": 3, "web": 0.5, "code": 0.5}', "run"),
        ("a.json", '{"seed": 0, "web": 50, "code": 50}', "seed"),
        ("a.json", '{"name": "best", "web": 0.5, "code": 0.5}', "name"),
        ("a.yaml", "tokens: 1000000000\nweb: 0.5\ncode: 0.5\n", "tokens"),
        ("a.csv", "domain,ratio\nweb,0.5\ncode,0.5\ntotal,1.0\n", "the total is left out"),
        ("a.csv", "domain,tokens\nweb,5e9\ncode,5e9\nSum,1e10\n", "the total is left out"),
    ],
)
def test_what_stands_beside_the_ratios_is_left_out_and_said(
    tmp_path, caplog, name, content, left_out
):
    (tmp_path / name).write_text(content)
    assert dict(read_given_plan(tmp_path / name).ratios) == {"web": 0.5, "code": 0.5}
    assert left_out in caplog.text


def test_domains_that_are_called_as_records_are_stay_where_the_sum_proves_it(tmp_path, caplog):
    (tmp_path / "a.yaml").write_text("id: 0.25\nno: 0.25\nall: 0.5\n")
    assert dict(read_given_plan(tmp_path / "a.yaml").ratios) == {"id": 0.25, "no": 0.25, "all": 0.5}
    assert caplog.text == ""
    assert dict(as_plan(mixopt.Mixture({"run": 0.0, "web": 0.5, "code": 0.5})).ratios)["run"] == 0


def test_a_series_of_pandas(tmp_path):
    pd.Series(RATIOS).to_csv(tmp_path / "a.csv")
    assert dict(read_given_plan(tmp_path / "a.csv").ratios) == pytest.approx(RATIOS)


def test_ratios_that_were_rounded_to_two_digits(tmp_path):
    (tmp_path / "a.yaml").write_text("web: .33\ncode: .33\nmath: .33\n")
    assert read_given_plan(tmp_path / "a.yaml").ratios["web"] == pytest.approx(1 / 3)


def test_a_file_in_utf_16(tmp_path):
    (tmp_path / "a.csv").write_text("domain\tratio\nweb\t0.5\ncode\t0.5\n", encoding="utf-16")
    assert dict(read_given_plan(tmp_path / "a.csv").ratios) == {"web": 0.5, "code": 0.5}
