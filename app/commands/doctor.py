"""`doctor`: the report, one line a finding."""

from __future__ import annotations

import dataclasses
import json

from app.doctor import Level, examine


def doctor(device: str, model: str, as_json: bool = False) -> int:
    """0 where `run` would work, 1 where something that it needs is broken."""
    findings = examine(device, model)
    broken = sum(f.level is Level.BROKEN for f in findings)
    if as_json:
        print(json.dumps({"ok": not broken, "findings": [dataclasses.asdict(f) for f in findings]}, indent=1))
        return int(broken > 0)
    for f in findings:
        print(f"{f.level:<8} {f.check:<12} {f.text}")
        if f.todo:
            print(f"{'':<8} {'':<12} to do: {f.todo}")
    warnings = sum(f.level is Level.WARNING for f in findings)
    print(f"\n{'`run` will not work' if broken else '`run` will work'}: {broken} broken, {warnings} warnings")
    return int(broken > 0)
