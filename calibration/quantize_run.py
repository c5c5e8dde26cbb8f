"""One quantisation from a float32 file to a checked int8 one: the work behind the verb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx

from differseg.calibration.audit_run import audit
from differseg.calibration.calibrated import Calibrated, Family, family_of
from differseg.calibration.dataset import CalibrationSet
from differseg.calibration.quantize import QuantizeOptions
from differseg.calibration.quantize_page import write_page
from differseg.calibration.search import SearchResult, search
from differseg.calibration.task_score import TaskJudge, TaskScore
from differseg.errors import CheckFailedError, InputError
from differseg.export import rtx
from differseg.export.check import CheckReport, check
from differseg.export.half_simulation import simulated
from differseg.export.modelfile import manifest_of, read_model, serialize, written_whole
from differseg.export.precision import set_manifest
from differseg.export.steps import Announce, Steps, bar, silent
from differseg.export.targets import Target, find_target
from differseg.file_hash import sha256_of
from differseg.manifest import Decision, Manifest


@dataclass(frozen=True)
class QuantizeReport:
    """What a quantisation wrote and found.

    Attributes:
        path: The file, with ``size_bytes`` and ``sha256``.
        reference: Score of the float32 file.
        score: Score of this one, rounding included.
        plain: Score with all that may be in int8; equal to ``score`` where nothing was searched.
        against: What it was judged by.
        images: On how many images.
        kernels: Nodes in int8, of ``candidates`` that may be.
        share: Of the work of the candidates that is in int8; 0..1.
        evaluations: Graphs that were run on the images.
        check: What the target says.
        warnings: What the user should know.
        seconds: Duration of each step.
    """

    path: Path
    size_bytes: int
    sha256: str
    reference: TaskScore
    score: TaskScore
    plain: TaskScore
    against: str
    images: int
    kernels: int
    candidates: int
    share: float
    evaluations: int
    check: CheckReport
    warnings: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Return the report as JSON values; of the nodes only those that a target objects to."""
        checked = self.check.to_plain()
        checked["nodes"] = [verdict for verdict in checked["nodes"] if verdict["level"] != "yes"]
        figures = {
            name: getattr(self, name)
            for name in (
                "size_bytes", "sha256", "against", "images", "kernels", "candidates", "share",
                "evaluations", "seconds",
            )
        }  # fmt: skip
        scores = {name: asdict(getattr(self, name)) for name in ("reference", "score", "plain")}
        drop = self.reference.drop_to(self.score)
        return {
            "path": str(self.path), **figures, **scores, "drop": drop, "check": checked,
            "warnings": list(self.warnings),
        }  # fmt: skip


def run_quantize(options: QuantizeOptions, announce: Announce = silent) -> QuantizeReport:
    """Quantise a file; it appears whole and good, or not at all.

    Args:
        options: What the command line takes.
        announce: Told about every step.

    Raises:
        InputError: Options, a file or images that cannot be used.
        CheckFailedError: Images that are none, a tensor without a range, masks that fall by more
            than ``max_drop``, or a target that refuses the file.
    """
    steps, target = Steps(announce), find_target(options.target)
    family = family_of(target, reduce_range=options.reduce_range)
    model = read_model(options.file)
    manifest = manifest_of(model)
    if manifest is None:
        raise InputError(
            f"quantize: {options.file} has no manifest; export it with 'differseg export'"
        )
    with written_whole(options.out, keep_failed=options.keep_failed) as part:
        with steps("audit") as said:
            audited = audit(options.data, manifest.inputs, options.images, split=options.split)
            audited.require_passed()
            said.append(f"{audited.images} images, {len(audited.findings)} finding(s)")
        images = CalibrationSet.open(
            options.data, manifest.inputs, options.images, split=options.split,
            label_rule=options.label_rule, classes=manifest.classes,
        )  # fmt: skip
        with steps("calibrate") as said:
            calibrated = Calibrated.of(
                model, manifest, images, len(images), method=options.method, like=options.like
            )
            said.append(f"{len(calibrated.scales)} scales, {calibrated.source}")
        with steps("float32") as said:
            judge = TaskJudge(manifest, images.samples(), model)
            said.append(f"IoU {judge.reference.iou:.4f} by {judge.against}")
        with steps("int8") as said:
            found = _choose(
                calibrated, judge, family, options,
                lambda done, total, words: announce(
                    f"int8 {bar(done, total)} {done} of {total} graphs, {words}", None, ""
                ),
            )  # fmt: skip
            said.append(f"drop {judge.reference.drop_to(found.score):.4f}")
            said.append(f"{100 * found.share:.1f} % of the work, {found.evaluations} evaluations")
        _require(judge, found, options)
        result = calibrated.write(family, found.without)
        set_manifest(result, _recorded(result, found, judge, images, options))
        part.write_bytes(serialize(result))
        with steps("check") as said:
            report, skipped = _check(part, target, options)
            said.append(f"{options.target} {'accepts' if report.passed else 'refuses'} the file")
        if not report.passed:
            raise CheckFailedError(_refusal(options, "; ".join(report.reasons()[:3])))
        done = QuantizeReport(
            path=options.out,
            size_bytes=part.stat().st_size,
            sha256=sha256_of(part),
            reference=judge.reference,
            score=found.score,
            plain=found.plain,
            against=judge.against,
            images=len(judge),
            kernels=len(calibrated.placement.kernels) - len(found.without),
            candidates=len(calibrated.placement.kernels),
            share=found.share,
            evaluations=found.evaluations,
            check=report,
            warnings=(*(f.what for f in audited.findings if f.level == "warning"), *skipped),
            seconds=steps.seconds,
        )
        if options.report is not None:
            write_page(done, found, options.max_drop, options.report)
        return done


def _choose(
    calibrated: Calibrated,
    judge: TaskJudge,
    family: Family,
    options: QuantizeOptions,
    progress: Callable[[int, int, str], None],
) -> SearchResult:
    def score(without: frozenset[str]) -> TaskScore:
        return judge.score(runnable(calibrated.write(family, without), family))

    return search(
        calibrated.placement,
        score,
        judge.reference,
        max_drop=options.max_drop,
        seed=options.seed,
        only=None if options.search else calibrated.without,
        log=options.out.with_suffix(".search.jsonl") if options.search else None,
        key=_key(options, calibrated),
        progress=progress,
    )


def _key(options: QuantizeOptions, calibrated: Calibrated) -> str:
    """Return what an evaluation depends on; a log of other evaluations is not taken up."""
    scales = sorted(calibrated.scales.items())
    fixed = (sha256_of(options.file), options.target, options.reduce_range, options.label_rule)
    return repr((fixed, scales, options.images))


def runnable(model: onnx.ModelProto, family: Family) -> onnx.ModelProto:
    """Return what ONNX Runtime shall run to see the rounding of a form."""
    return simulated(model) if family.half else model


def _require(judge: TaskJudge, found: SearchResult, options: QuantizeOptions) -> None:
    drop = judge.reference.drop_to(found.score)
    if drop <= options.max_drop and not found.share:
        raise CheckFailedError(
            _refusal(
                options,
                f"no part of the network can be int8 within --max-drop {options.max_drop:g}; use "
                "float16 ('differseg export --precision fp16')",
            )
        )
    if drop <= options.max_drop:
        return
    advice = "a larger --max-drop" if options.search else "--search, or a larger --max-drop"
    raise CheckFailedError(
        _refusal(
            options,
            f"IoU or boundary F falls by {drop:.4f}, more than --max-drop {options.max_drop:g}; "
            f"try {advice}, more --images, or another --method",
        )
    )


def _recorded(
    model: onnx.ModelProto,
    found: SearchResult,
    judge: TaskJudge,
    images: CalibrationSet,
    options: QuantizeOptions,
) -> Manifest:
    manifest = manifest_of(model)
    assert manifest is not None
    drop = judge.reference.drop_to(found.score)
    chosen = Decision(
        "int8 search" if options.search else "int8 check",
        f"IoU {found.score.iou:.4f}, float32 {judge.reference.iou:.4f}",
        f"largest drop {drop:.4f} of at most {options.max_drop:g}, by {judge.against} on "
        f"{len(judge)} images ({images.fingerprint[:16]}), {found.evaluations} evaluations",
    )
    return replace(manifest, decisions=(*manifest.decisions, chosen))


def _check(part: Path, target: Target, options: QuantizeOptions) -> tuple[CheckReport, list[str]]:
    wanted = options.real and target.engine == "tensorrt"
    real = wanted and rtx.is_available()
    report = check(part, options.target, real)
    missing = f"NVIDIA's parser and builder did not run: install them with: {rtx.INSTALL_HINT}"
    return report, [missing] if wanted and not real else []


def _refusal(options: QuantizeOptions, why: str) -> str:
    if options.keep_failed:
        return f"{options.out}: {why}; the file was kept to be looked at"
    return f"{options.out}: not written: {why}"
