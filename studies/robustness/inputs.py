"""Give mixopt thousands of damaged files of each kind, and count the outcomes.

    python studies/robustness/inputs.py --out OUT --examples 500 --atheris 120

Two generators: hypothesis replaces values and bytes of valid files (seeded, so runs repeat); atheris
mutates bytes towards code that has not been reached (`pip install atheris`; the option is its seconds, 0
to leave it out). Each kind has its own process with at most 4 GiB; a file may take 20 s.
"""

import argparse
import faulthandler
import json
import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

MAX_BYTES = 4 << 30
MAX_SECONDS = 20


class TooLongError(BaseException):
    """A file takes longer than `MAX_SECONDS`."""


def judge(name: str, content: bytes) -> tuple[str, str]:
    """Return the verdict (`accepted`, `refused` or a kind of defect) and the message."""
    import foreign

    def late(*_: object) -> None:
        raise TooLongError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(MAX_SECONDS)
    try:
        refusal = foreign.refusal_of(foreign.TARGETS[name][1], content)
    except TooLongError:
        return "hang", f"over {MAX_SECONDS} s"
    except MemoryError:
        return "memory", "over 4 GiB"
    except BaseException as error:
        return "traceback", f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.alarm(0)
    if refusal is None:
        return "accepted", ""
    return ("refused", "") if foreign.is_one_sentence(refusal) else ("no sentence", refusal[:300])


class Tally:
    """Counts the outcomes for files of one kind."""

    def __init__(self, name: str) -> None:
        self.name, self.counts, self.defects = name, {}, []
        self.slowest = 0.0

    def add(self, content: bytes) -> None:
        began = time.monotonic()
        verdict, message = judge(self.name, content)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.counts[verdict] = self.counts.get(verdict, 0) + 1
        if verdict not in ("accepted", "refused") and len(self.defects) < 50:
            self.defects.append(
                {"verdict": verdict, "message": message, "content": repr(content[:2000])}
            )

    def report(self) -> dict:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"kind": self.name, "counts": self.counts, "slowest s": round(self.slowest, 2),
                "most MB": round(most), "defects": self.defects}  # fmt: skip


def try_with_hypothesis(name: str, examples: int) -> Tally:
    import foreign
    import mutations
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    tally = Tally(name)

    @seed(0)
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.data())
    def check(data: st.DataObject) -> None:
        right = foreign.TARGETS[name][0]()
        tally.add(data.draw(mutations.spoiled(right, structured=name in foreign.STRUCTURED)))

    check()
    return tally


def try_with_atheris(name: str, seconds: int, out: Path) -> None:
    """Fuzz until the time is over; atheris then ends the process, so the report is written early."""
    import atheris

    with atheris.instrument_imports(include=["mixopt", "yaml", "foreign"]):
        import foreign

    corpus = out / "corpus" / name.replace(" ", "-")
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "right").write_bytes(foreign.TARGETS[name][0]())
    tally = Tally(name)
    report = out / f"atheris-{name.replace(' ', '-')}.json"
    began = time.monotonic()

    def one(content: bytes) -> None:
        tally.add(content)
        if sum(tally.counts.values()) % 50 == 0 or time.monotonic() - began > seconds - 1:
            report.write_text(json.dumps(tally.report()))

    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", "-seed=1", "-rss_limit_mb=0", "-timeout=60",
         "-verbosity=0", "-max_len=4096", str(corpus)], one,
    )  # fmt: skip
    atheris.Fuzz()


def work(name: str, examples: int, seconds: int, out: Path) -> None:
    faulthandler.enable()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    os.environ["HF_HUB_OFFLINE"] = "1"
    if seconds:
        try_with_atheris(name, seconds, out)
    else:
        tally = try_with_hypothesis(name, examples)
        (out / f"hypothesis-{name.replace(' ', '-')}.json").write_text(json.dumps(tally.report()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--atheris", type=int, default=0)
    parser.add_argument("--only")
    parser.add_argument("--worker", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.worker:
        work(args.only, args.examples, args.atheris, args.out)
        return
    import foreign

    names = [args.only] if args.only else list(foreign.TARGETS)
    each = max(2, args.atheris // len(names)) if args.atheris else 0
    for name in names:
        for seconds in [0, each] if each else [0]:
            subprocess.run(
                [sys.executable, __file__, "--worker", "--only", name, "--out", str(args.out),
                 "--examples", str(args.examples), "--atheris", str(seconds)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
            )  # fmt: skip
    total: dict[str, int] = {}
    for path in sorted(args.out.glob("*.json")):
        report = json.loads(path.read_text())
        for verdict, count in report["counts"].items():
            total[verdict] = total.get(verdict, 0) + count
        print(f"{path.stem:<34}{report['counts']}  slowest {report['slowest s']} s, "
              f"{report['most MB']} MB")  # fmt: skip
        for defect in report["defects"][:5]:
            print("   ", defect)
    lacking = [
        n for n in names if not (args.out / f"hypothesis-{n.replace(' ', '-')}.json").exists()
    ]
    print(f"\n{sum(total.values())} files: {total}; kinds whose process did not end: {lacking}")


if __name__ == "__main__":
    main()
