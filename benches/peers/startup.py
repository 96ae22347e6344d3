#!/usr/bin/env python3
"""Starting and completing, beside tools that everybody knows, in one run and in turn: wall and processor time.

    cargo build --release
    benches/peers/startup.py [ROUNDS]

`--version` and `--help` beside rg's; completing an id among 1,000 sessions, and a command, beside what the completions of
git (a branch among 1,000) and docker (a command) run for it. Prints milliseconds, and of every round's ratio
ours : theirs minimum, median and maximum. Needs ripgrep and git; docker's command line where there is one.
"""
import json, os, resource, shutil, statistics, subprocess, sys, tempfile, time

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 50
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEPLOYCTL = os.environ.get("DEPLOYCTL", ROOT + "/target/release/deployctl")


def once(command, folder, more):
    """Milliseconds of one run, and of its processor time."""
    used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, cwd=folder, env=os.environ | more, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * wall, 1e3 * (after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime)


def beside(what, ours, theirs, folder, more={}):
    if not shutil.which(theirs[0]):
        return print(f"\n{what}: {theirs[0]} is not installed")
    pairs = []
    for turn in range(ROUNDS + 3):
        pair = [once(command, folder, more) for command in ((ours, theirs) if turn % 2 else (theirs, ours))]
        pairs += [pair if turn % 2 else pair[::-1]] if turn >= 3 else []  # the first are to warm up
    print(f"\n{what} (load {os.getloadavg()[0]:.1f})")
    for n, kind in enumerate(("wall", "CPU")):
        mine, other = (statistics.median(pair[side][n] for pair in pairs) for side in (0, 1))
        ratios = sorted(a[n] / max(b[n], 1e-6) for a, b in pairs)
        print(f"  {kind:5} ours {mine:6.2f} ms, {theirs[0]} {other:6.2f} ms, "
              f"ratio {ratios[0]:.2f} / {statistics.median(ratios):.2f} / {ratios[-1]:.2f}", flush=True)


def completing(*words):
    """What the shells' scripts run when the last word is to be completed."""
    return [DEPLOYCTL, "--", "deployctl", *words]


def sessions(state, count):
    subprocess.run([DEPLOYCTL, "--state", state, "init", "--name", "n"], check=True, capture_output=True)
    people = [{"name": "ada", "key": "k" * 52, "role": "host", "state": "confirmed", "failed": False}] * 5
    for number in range(count):
        session = format(number, "b").replace("0", "k").replace("1", "q").ljust(26, "a")
        folder = f"{state}/sessions/{session}/initiator"
        os.makedirs(folder)
        summary = {"session": session, "party": "initiator", "state": "running", "service": "site", "over": False,
                   "participants": people}
        json.dump({"summary": summary, "live": True}, open(folder + "/status.json", "w"))


def branches(folder, count):
    git = lambda text: subprocess.run(["sh", "-ec", text], cwd=folder, check=True, capture_output=True)
    git("git init -q; git -c user.name=n -c user.email=n@example.org commit -q --allow-empty -m one")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True).stdout
    for number in range(count):
        open(f"{folder}/.git/refs/heads/branch-{number}", "w").write(head)


def main():
    work = tempfile.mkdtemp(prefix="startup.")
    try:
        for flag in ("--version", "--help"):
            beside(flag, [DEPLOYCTL, flag], ["rg", flag], work)
        sessions(work + "/state", 1000)
        os.mkdir(work + "/repository")
        branches(work + "/repository", 1000)
        asked = {"DEPLOYCTL_STATE": work + "/state", "DEPLOYCTL_COMPLETE": "fish"}
        beside("completing one of 1,000: a session, a branch", completing("stop", ""),
               ["git", "for-each-ref", "--format=%(refname:strip=2)", "refs/heads/"], work + "/repository", asked)
        beside("completing a command", completing("s"), ["docker", "__complete", "s"], work, asked)
    finally:
        shutil.rmtree(work)


main()
